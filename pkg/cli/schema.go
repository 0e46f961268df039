package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/spec"
)

func schemaCommand() *command {
	return &command{
		name: "schema", group: build, run: runSchema,
		summary: "Print the JSON schema of machine definitions",
		about: []string{
			"Editors complete and check domain/NAME.yaml with it. For those that use yaml-language-server, write the schema to " +
				"a file and name it in the definition's first line: # yaml-language-server: $schema=../schema.json",
		},
		examples: []example{{"vmctl schema > schema.json", ""}},
	}
}

func runSchema(_ context.Context, c *call, _ *urfave.Context) error {
	return c.print(string(spec.Schema()))
}

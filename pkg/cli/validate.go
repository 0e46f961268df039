package cli

import (
	"context"
	"errors"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/project"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func validateCommand() *command {
	return &command{
		name: "validate", group: build, takes: anyMachines, definitions: true, run: runValidate,
		summary: "Check machine definitions",
		about: []string{
			"Reads the definitions of the machines named, or all of the project, and shows every error with its place. " +
				"Neither libvirt nor nix is asked.",
		},
		examples: []example{{"vmctl validate", "the whole project"}, {"vmctl validate example", ""}},
		json: `{
  "valid": ["tiny"],
  "problems": [
    {
      "file": "domain/example.yaml",
      "line": 2,
      "column": 1,
      "path": "memry",
      "message": "there is no key memry",
      "hint": "did you mean memory?",
      "source": "memry: 1GiB",
      "width": 5
    }
  ]
}`,
	}
}

// validateResult is what validate tells.
type validateResult struct {
	Valid    []string       `json:"valid"`
	Problems []spec.Problem `json:"problems"`
}

func runValidate(_ context.Context, c *call, _ *urfave.Context) error {
	p, err := c.project()
	if err != nil {
		return err
	}
	valid, failed := validate(p, unique(c.line.args))
	c.progress.Close()
	if c.json() {
		r := validateResult{Valid: []string{}, Problems: []spec.Problem{}}
		for _, m := range valid {
			r.Valid = append(r.Valid, m.Name)
		}
		if report := (*spec.Error)(nil); errors.As(failed, &report) {
			r.Problems = report.Problems
		}
		if err := ui.JSON(c.streams, r); err != nil {
			return err
		}
		return failed
	}
	for _, m := range valid {
		if err := c.print(filepath.Join("domain", m.Name+".yaml") + " is valid\n"); err != nil {
			return err
		}
	}
	if len(valid) == 0 && failed == nil {
		return noMachines(p)
	}
	return failed
}

// validate gives the machines that are right and one report of what is wrong.
func validate(p *project.Project, names []string) ([]*spec.Machine, error) {
	if len(names) == 0 {
		return p.LoadAll()
	}
	var valid []*spec.Machine
	var failed []error
	for _, name := range names {
		m, err := p.Load(name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		valid = append(valid, m)
	}
	return valid, spec.Join(failed...)
}

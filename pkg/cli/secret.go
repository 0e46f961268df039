package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func secretCommand() *command {
	return &command{
		name: "secret", group: look, summary: "See which secrets machines have, and hand over changed ones",
		about: []string{
			"A machine's secrets come from where its definition says: a file, an environment variable, a command, sops or age. They are read when " +
				"vmctl boots the machine, and travel on a small disk that only the running guest has. The guest copies them to /run/credstore, where " +
				"systemd finds what units ask for with LoadCredential=, before its services start, and gives the disk back; then it is overwritten and removed.",
			"In the guest this is done by vmctl's NixOS module, or by its script: install images/module/credentials.sh of vmctl's sources, run it early in the boot " +
				"(before sysinit.target), and when a disk with the serial vmctl-creds appears. With secrets-by: fw_cfg the guest needs nothing of vmctl's: they lie " +
				"in files that QEMU reads as it starts, and that are overwritten and removed at once; systemd (252 and newer) imports them before its first unit.",
			"/run is memory: a guest that reboots by itself, or that the host starts (autostart), has none of them until vmctl secret push or " +
				"vmctl restart; by fw_cfg it has them again after a reboot, and after autostart not. A secret with persist: true is kept in the guest for that, encrypted with " +
				"systemd-creds where it has that, with a key that is on the same disk unless the machine has a TPM.",
		},
		verbs: []*command{secretListCommand(), secretPushCommand()},
		examples: []example{
			{"vmctl secret list example", ""},
			{"vmctl secret push example", "hand all of them over again"},
		},
	}
}

func secretListCommand() *command {
	return &command{
		name: "list", takes: oneMachine, run: runSecretList,
		summary:  "List a machine's secrets and where they come from",
		about:    []string{"Lists the secrets of the machine's definition, never what they are. No source is read, and no host is asked."},
		examples: []example{{"vmctl secret list example", ""}},
		json: `{
  "name": "example",
  "identity": true,
  "secrets": [
    { "name": "db", "source": "sops secrets.yaml#db.password", "persist": false }
  ]
}`,
	}
}

// secretsResult is what secret list tells.
type secretsResult struct {
	Name     string         `json:"name"`
	Identity bool           `json:"identity"`
	Secrets  []secretResult `json:"secrets"`
}

type secretResult struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Persist bool   `json:"persist"`
}

func runSecretList(_ context.Context, c *call, _ *urfave.Context) error {
	t, err := c.declared(c.line.args[0])
	if err != nil {
		return err
	}
	result := secretsResult{Name: t.name, Identity: t.machine.Identity, Secrets: []secretResult{}}
	table := ui.NewTable(ui.Column{Title: "SECRET", Keep: true}, ui.Column{Title: "FROM"}, ui.Column{Title: "KEPT IN"})
	for _, s := range t.machine.Secrets {
		result.Secrets = append(result.Secrets, secretResult{s.Name, s.Source(), s.Persist})
		kept := "memory"
		if s.Persist {
			kept = "guest's disk"
		}
		table.Row(s.Name, s.Source(), kept)
	}
	if t.machine.Identity {
		table.Row(hostKeyName, "vmctl key "+t.name, "guest's disk")
	}
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, result)
	}
	if table.Len() == 0 {
		c.say(t.name + " has no secrets")
		return nil
	}
	return table.Write(c.streams)
}

// secretsNamed are the secrets of the machine that were named.
func secretsNamed(t *target, names []string) ([]spec.Secret, error) {
	var all []string
	byName := map[string]spec.Secret{}
	for _, s := range t.machine.Secrets {
		all = append(all, s.Name)
		byName[s.Name] = s
	}
	var chosen []spec.Secret
	for _, name := range names {
		s, ok := byName[name]
		if !ok {
			return nil, fault.New(fault.NotFound, "%s has no secret %q", t.name, name).
				WithHint("%s", nearest(name, all, "did you mean %s?", "vmctl secret list "+t.name+" shows them"))
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}

// completeSecrets are machines, then the secrets of the one that is named.
func completeSecrets(c *call, given []string) []string {
	if len(given) == 0 {
		return c.machineNames()
	}
	t, err := c.declared(given[0])
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range t.machine.Secrets {
		names = append(names, s.Name)
	}
	return names
}

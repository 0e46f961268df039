package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/secret"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func keyCommand() *command {
	return &command{
		name: "key", group: look, takes: ownWords, run: runKey,
		summary: "Print a machine's public ssh host key and age recipient",
		about: []string{
			"Prints the public halves of the key that vmctl makes for a machine with identity: true, and makes it if there is none: the ssh host key, which agenix takes, " +
				"and the age recipient that follows from it as ssh-to-age has it, which sops takes. What is encrypted to one of them can be decrypted in the guest from its first boot on: " +
				"the key is handed over before services start, as /etc/ssh/ssh_host_ed25519_key.",
			"The private key is kept in vmctl's state directory (~/.local/state/vmctl/keys), encrypted with age to an identity beside it, or to the one in the file that VMCTL_AGE_IDENTITY names. " +
				"That protects a copy of the one without the other; somebody who can read your files has both, unless --set-passphrase locks the identity: then up, start and " +
				"secret push ask for the passphrase when they need the key. In scripts VMCTL_PASSPHRASE_FILE names a file whose first line it is.",
		},
		args: &arguments{
			usage: "NAME", one: "the name of a machine", least: 0, most: 1, hint: "vmctl list shows the machines",
			check: spec.CheckName,
			complete: func(c *call, given []string) []string {
				if len(given) > 0 {
					return nil
				}
				return c.machineNames()
			},
		},
		options: []option{
			{name: "rotate", help: "make a new key; what is encrypted to the old one alone is lost to the machine"},
			{name: "operator", help: "print the age recipient of vmctl itself, to which secrets with age: can be encrypted"},
			{name: "set-passphrase", help: "lock vmctl's own identity with a passphrase, or with another one"},
			{name: "remove-passphrase", help: "keep vmctl's own identity without a passphrase"},
			{name: "passphrase-file", kind: isText, value: "FILE", help: "take the new passphrase from the first line of a file"},
		},
		examples: []example{
			{"vmctl key example", ""},
			{"vmctl key --set-passphrase", "lock vmctl's identity, or change what locks it"},
			{`vmctl key example | grep ^age1`, "the recipient for .sops.yaml"},
			{"vmctl key --operator", "the recipient for age -r"},
		},
		json: `{
  "name": "example",
  "ssh": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA…",
  "age": "age1qyqszqgp…",
  "fingerprint": "SHA256:…",
  "file": "/home/me/.local/state/vmctl/keys/example-1f0c8a52.age"
}`,
	}
}

// keyResult is what key tells.
type keyResult struct {
	Name string `json:"name"`
	secret.Public
	File string `json:"file"`
}

func runKey(ctx context.Context, c *call, in *urfave.Context) error {
	keys, err := c.keys(ctx)
	if err != nil {
		return err
	}
	if in.Bool("set-passphrase") || in.Bool("remove-passphrase") || in.String("passphrase-file") != "" {
		return c.changePassphrase(ctx, keys, in)
	}
	if in.Bool("operator") {
		return c.operatorKey(keys, in.Bool("rotate"))
	}
	if len(c.line.args) == 0 {
		return c.line.explain(usagef("key needs the name of a machine").WithHint("%s", c.whichMachine(false)))
	}
	t, err := c.declared(c.line.args[0])
	if err != nil {
		return err
	}
	obtain := keys.Make
	if in.Bool("rotate") {
		obtain = keys.Rotate
	}
	c.secrets.guard()
	key, err := obtain(t.project.Dir, t.name)
	if err != nil {
		return err
	}
	key.Wipe()
	c.progress.Close()
	switch {
	case !t.machine.Identity:
		c.say("the machine does not get this key: write identity: true in " + t.project.Path(t.name))
	case in.Bool("rotate"):
		c.say("it gets the new key at its next boot, or at once: vmctl secret push " + t.name)
	}
	if c.json() {
		return ui.JSON(c.streams, keyResult{t.name, key.Public, keys.File(t.project.Dir, t.name)})
	}
	return c.print(key.HostKey + "\n" + key.Recipient + "\n")
}

// operatorKey prints what others encrypt to for vmctl.
func (c *call) operatorKey(keys secret.Keys, rotate bool) error {
	switch {
	case len(c.line.args) > 0:
		return c.line.explain(usagef("--operator is about no machine").WithHint("leave out %s", c.line.args[0]))
	case rotate:
		return c.line.explain(usagef("the operator's identity cannot be rotated: all keys are encrypted to it").WithHint("name another one in VMCTL_AGE_IDENTITY"))
	}
	recipient, err := keys.OperatorRecipient()
	if err != nil {
		return err
	}
	c.progress.Close()
	return c.print(recipient + "\n")
}

package cli

import (
	"context"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/secret"
	"vmctl/pkg/ui"
)

// passphraseVariable names a file whose first line is the passphrase, for scripts. A
// passphrase is never an argument or a variable: others could see those.
const passphraseVariable = "VMCTL_PASSPHRASE_FILE"

// keys are where the machines' own keys are.
func (c *call) keys(ctx context.Context) (secret.Keys, error) {
	dirs, err := c.dirs()
	return secret.Keys{
		Dir: filepath.Join(dirs.State, "keys"), Getenv: c.deps.getenv, Ask: c.askPassphrase(ctx), Ring: &c.secrets.ring, Work: c.deps.PassphraseWork,
	}, err
}

// askPassphrase takes passphrases from the file that a variable names, else asks.
func (c *call) askPassphrase(ctx context.Context) secret.Ask {
	return func(file string) ([]byte, error) {
		if from := c.deps.getenv(passphraseVariable); from != "" {
			return secret.ReadPassphrase(from)
		}
		return c.typed(ctx, "passphrase of "+file, passphraseVariable+"=FILE")
	}
}

// typed asks a person for a passphrase; instead says what gives it where nobody is there.
func (c *call) typed(ctx context.Context, question, instead string) ([]byte, error) {
	c.progress.Pause()
	defer c.progress.Resume()
	passphrase, err := ui.Passphrase(ctx, c.streams, question)
	if fault.Is(err, fault.Refused) {
		return nil, fault.New(fault.Refused, "%w", err).WithHint("run it in a terminal, or give a file whose first line is the passphrase: %s", instead)
	}
	return passphrase, err
}

// changePassphrase locks vmctl's own identity, or unlocks it for good.
func (c *call) changePassphrase(ctx context.Context, keys secret.Keys, in *urfave.Context) error {
	if len(c.line.args) > 0 {
		return c.line.explain(usagef("the passphrase is that of vmctl's own identity, and of no machine").WithHint("leave out %s", c.line.args[0]))
	}
	set, remove, from := in.Bool("set-passphrase"), in.Bool("remove-passphrase"), in.String("passphrase-file")
	switch {
	case set && remove:
		return c.line.explain(usagef("--set-passphrase and --remove-passphrase exclude each other").WithHint("leave one out"))
	case in.Bool("rotate"), in.Bool("operator"):
		return c.line.explain(usagef("a passphrase is set or removed by itself").WithHint("leave out the other flags"))
	case !set && from != "":
		return c.line.explain(usagef("--passphrase-file is for --set-passphrase").WithHint("the passphrase that is there already comes from a terminal, or %s", passphraseVariable))
	}
	c.secrets.guard()
	if remove {
		had, err := keys.RemovePassphrase()
		switch {
		case err != nil:
			return err
		case had:
			c.say("vmctl's identity has no passphrase any more: whoever can read " + keys.Dir + " has the keys of all machines")
		default:
			c.say("vmctl's identity has no passphrase")
		}
		return nil
	}
	passphrase, err := c.newPassphrase(ctx, keys, from)
	defer secret.Wipe(passphrase)
	if err != nil {
		return err
	}
	if err := keys.SetPassphrase(passphrase); err != nil {
		return err
	}
	c.say("vmctl's identity is locked with the passphrase, which nobody can find out again; it is asked for when a machine gets its key, and for secrets by age")
	return nil
}

// newPassphrase is what to lock with: from a file, or typed twice.
func (c *call) newPassphrase(ctx context.Context, keys secret.Keys, from string) ([]byte, error) {
	// What is not the user's to change is said before anything is asked.
	if _, err := keys.Locked(); err != nil {
		return nil, err
	}
	if from != "" {
		dir, err := c.deps.Getwd()
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(from) {
			from = filepath.Join(dir, from)
		}
		return secret.ReadPassphrase(from)
	}
	passphrase, err := c.typed(ctx, "new passphrase", "--passphrase-file FILE")
	if err != nil {
		return nil, err
	}
	again, err := c.typed(ctx, "once more", "--passphrase-file FILE")
	defer secret.Wipe(again)
	switch {
	case err != nil:
		return passphrase, err
	case len(passphrase) == 0:
		return nil, fault.New(fault.Usage, "the passphrase is empty").WithHint("vmctl key --remove-passphrase takes one away")
	case string(again) != string(passphrase):
		return passphrase, fault.New(fault.Usage, "the two passphrases differ").WithHint("try again")
	}
	return passphrase, nil
}

package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/secret"
	"vmctl/pkg/spec"
)

// hostKeyName is how the machine's own key is called among what it is handed. No secret
// can have that name.
const hostKeyName = "host key"

// runningTakes is how long a guest that has booted may take to take what it is handed.
const runningTakes = 30 * time.Second

// delivery is what the machine is handed at a boot; nil when that is nothing.
func (c *call) delivery(t *target) *engine.Delivery {
	m := t.machine
	switch {
	case m == nil || len(m.Secrets) == 0 && !m.Identity:
		return nil
	case m.SecretsBy != spec.CarrierFirmware:
		return c.packed(t, m.Secrets, m.Identity, true)
	}
	d := &engine.Delivery{Names: namesOf(m.Secrets, m.Identity, hostKeyName), Credentials: namesOf(m.Secrets, m.Identity, spec.TmpfilesCredential)}
	d.Read = func(ctx context.Context) ([][]byte, error) {
		return c.readSecrets(ctx, t, m.Secrets, m.Identity, &secret.Credentials{})
	}
	return d
}

// packed is a delivery of some of the machine's secrets on a disk; complete, of all it has.
func (c *call) packed(t *target, secrets []spec.Secret, key, complete bool) *engine.Delivery {
	return &engine.Delivery{Names: namesOf(secrets, key, hostKeyName), Read: func(ctx context.Context) ([][]byte, error) {
		return c.readSecrets(ctx, t, secrets, key, secret.NewPack(complete))
	}}
}

// namesOf are the names of secrets, with another one for the host key behind them.
func namesOf(secrets []spec.Secret, key bool, keyName string) []string {
	var names []string
	for _, s := range secrets {
		names = append(names, s.Name)
	}
	if key {
		names = append(names, keyName)
	}
	return names
}

// collection takes in what was read: a Pack, or Credentials.
type collection interface {
	Add(s spec.Secret, value []byte)
	AddHostKey(machine string, key *secret.HostKey)
	Bytes() ([][]byte, error)
	Wipe()
}

// readSecrets reads and collects secrets. From here to the end of the command the process
// leaves no core dump.
func (c *call) readSecrets(ctx context.Context, t *target, secrets []spec.Secret, key bool, into collection) ([][]byte, error) {
	c.secrets.guard()
	keys, err := c.keys(ctx)
	if err != nil {
		return nil, err
	}
	reader := secret.Reader{
		Dir: t.project.Dir, Getenv: c.secretEnv,
		Warn: func(text string) { c.note(t.name, errors.New(text)) },
		Ask:  c.askPassphrase(ctx),
		Keys: []secret.Identities{keys.Operator, keys.Of(t.project.Dir, t.name)},
	}
	for _, s := range secrets {
		value, err := reader.Read(ctx, s)
		if err != nil {
			into.Wipe()
			return nil, err
		}
		into.Add(s, value)
		secret.Wipe(value)
	}
	if key {
		own, err := keys.Make(t.project.Dir, t.name)
		if err != nil {
			into.Wipe()
			return nil, err
		}
		into.AddHostKey(t.name, own)
		own.Wipe()
	}
	return into.Bytes()
}

// hideSecrets takes the variables that hold a machine's secrets out of the environment,
// before a program is started that they are none of the business of.
func (c *call) hideSecrets(m *spec.Machine) {
	if m == nil || c.deps.Unsetenv == nil {
		return
	}
	for _, s := range m.Secrets {
		if s.Env != "" {
			c.secrets.hide(s.Env, c.deps)
		}
	}
}

// secretEnv is the environment with what was hidden.
func (c *call) secretEnv(name string) string {
	if value, hidden := c.secrets.value(name); hidden {
		return value
	}
	return c.deps.getenv(name)
}

// watched is a guest that is being handed secrets, or none.
type watched struct {
	e          *engine.Engine
	name       string
	delivering bool
}

// deliver begins the wait for the guest to take its secrets; the function it gives waits
// for the end. Without secrets there is nothing to wait for.
func (w watched) deliver(ctx context.Context, ready <-chan struct{}, limit time.Duration) func() error {
	if !w.delivering {
		return func() error { return nil }
	}
	ended := make(chan error, 1)
	go func() { ended <- w.e.Deliver(ctx, w.name, ready, limit) }()
	return func() error { return <-ended }
}

// wait waits until the guest is ready and has its secrets. What is wrong with the guest
// itself is told first.
func (c *call) wait(ctx context.Context, w watched, o guest.Options) (guest.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan struct{})
	taken := w.deliver(ctx, ready, 0)
	outcome, err := guest.Wait(ctx, w.e.Host, w.name, o)
	if err != nil {
		cancel()
		return outcome, errors.Join(err, withoutInterruption(taken()))
	}
	close(ready)
	return outcome, taken()
}

// withoutInterruption leaves out what only says that the wait was ended.
func withoutInterruption(err error) error {
	if fault.Is(err, fault.Interrupted) {
		return nil
	}
	return err
}

// lost says which secrets a machine that is started without its definition does not get.
func (c *call) lost(t *target, d *engine.Domain) {
	if t.machine != nil || d == nil || d.Record == nil || len(d.Record.Secrets) == 0 {
		return
	}
	c.note(t.name, fault.New(fault.Other, "%s starts without %s: its definition, which says where they come from, is not here",
		t.name, join(slices.Clone(d.Record.Secrets), ", ")))
}

// forgetful tells of an autostart that will be without secrets.
func (c *call) forgetful(t *target, p *engine.Plan) {
	if !t.machine.Autostart || p.Empty() {
		return
	}
	var lost []string
	for _, s := range t.machine.Secrets {
		if !s.Persist {
			lost = append(lost, s.Name)
		}
	}
	if len(lost) > 0 {
		c.note(t.name, fault.New(fault.Other, "when the host boots, %s starts without %s until vmctl secret push or restart: "+
			"only secrets with persist: true are kept in the guest", t.name, join(lost, ", ")))
	}
}

// handed is what is declared, with what the machine is handed at a boot.
func (c *call) handed(t *target, found *foundImage) engine.Wanted {
	w := t.wanted(found)
	w.Delivery = c.delivery(t)
	w.System = strings.HasPrefix(found.built.Attr, "nixosConfigurations.")
	return w
}

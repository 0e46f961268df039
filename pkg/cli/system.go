package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/ssh"
)

// systemGuest is a running NixOS guest whose system is to be changed.
type systemGuest struct {
	*reachable
	t *target
	e *engine.Engine
	// network says that ssh gets in, which is then what has to work afterwards, too.
	network bool
	state   guest.SystemState
}

// systemOptions are the flags that apply and rollback share.
type systemOptions struct {
	mode    guest.Mode
	reboot  bool
	timeout time.Duration
}

func systemFlags() []option {
	return []option{
		{name: "boot", help: "only let the guest boot it next"},
		{name: "test", help: "use it until the guest is rebooted: what boots next stays as it is"},
		{name: "reboot", help: "restart the guest afterwards when its kernel or initrd has changed"},
		{name: "timeout", kind: isDuration, value: "TIME", preset: "5m", help: "how long the guest may take to be ready again before it goes back; 0 is no limit"},
	}
}

func parseSystem(in *urfave.Context) (systemOptions, error) {
	o := systemOptions{mode: guest.ModeSwitch, reboot: in.Bool("reboot"), timeout: in.Duration("timeout")}
	switch {
	case in.Bool("boot") && in.Bool("test"):
		return o, usagef("--boot and --test cannot go together").WithHint("leave both out to use it now and from then on")
	case in.Bool("test") && o.reboot:
		return o, usagef("--test and --reboot cannot go together: a reboot ends what --test tries").WithHint("leave --test out")
	case in.Bool("boot"):
		o.mode = guest.ModeBoot
	case in.Bool("test"):
		o.mode = guest.ModeTest
	}
	return o, nil
}

// systemGuest finds a running machine of this project, the ways into it, and how its system
// stands. With an error there is one, too, where the guest's agent gets in and ssh does not.
func (c *call) systemGuest(ctx context.Context, t *target) (*systemGuest, error) {
	e, err := c.engine(ctx, t.uri, t.project)
	if err != nil {
		return nil, err
	}
	if _, err := e.Managed(ctx, t.name); err != nil {
		return nil, c.known(ctx, t, e, err)
	}
	m, err := c.reachable(ctx, t.name)
	if err != nil {
		return nil, err
	}
	g := &systemGuest{reachable: m, t: t, e: e}
	login, failed := g.login(ctx, "")
	if failed == nil {
		login.Batch = true
		if g.network = login.Works(ctx); !g.network {
			failed = g.noLogin(ctx, login)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	state, err := g.look(ctx, "")
	switch {
	case err != nil && failed != nil:
		return nil, failed
	case err != nil:
		return nil, err
	}
	if err := state.Able(t.name); err != nil {
		return nil, err
	}
	g.state = state
	return g, failed
}

// noLogin says why ssh does not get in without asking.
func (g *systemGuest) noLogin(ctx context.Context, login *guest.SSH) error {
	if err := login.Explain(ctx); err != nil {
		return err
	}
	return fault.New(fault.Refused, "ssh to %s as %s does not work without a password, and the system is copied over it", g.name, login.User).
		WithHint("vmctl ssh %s shows why; let a key of yours log in (NixOS: users.users.%s.openssh.authorizedKeys.keys)", g.name, login.User)
}

// overSSH is a way into the guest as root by ssh, found anew each time.
func (g *systemGuest) overSSH(ctx context.Context) (guest.Runner, error) {
	login, err := g.login(ctx, "")
	if err != nil {
		return nil, err
	}
	login.Batch, login.Ask = true, false
	if login.User != rootUser {
		return guest.AsRoot(login), nil
	}
	return login, nil
}

// byAgent is the way through the guest's agent, where one answers.
func (g *systemGuest) byAgent(ctx context.Context) (guest.Runner, error) {
	has, err := g.hasAgent(ctx)
	if err == nil && !has {
		err = fault.New(fault.Refused, "no guest agent answers in %s", g.name)
	}
	return g.agent(), err
}

// in is the way that works now.
func (g *systemGuest) in(ctx context.Context) (guest.Runner, error) {
	if g.network {
		return g.overSSH(ctx)
	}
	return g.byAgent(ctx)
}

// asked asks the guest what changes nothing: through its agent where one answers, which is
// quicker than a login, else the way that works.
func asked[T any](ctx context.Context, g *systemGuest, ask func(in guest.Runner) (T, error)) (T, error) {
	if in, err := g.byAgent(ctx); err == nil {
		if answer, err := ask(in); err == nil || ctx.Err() != nil {
			return answer, err
		}
	}
	in, err := g.in(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return ask(in)
}

// look asks how the guest's system stands, and what another one would change.
func (g *systemGuest) look(ctx context.Context, system string) (guest.SystemState, error) {
	return asked(ctx, g, func(in guest.Runner) (guest.SystemState, error) { return guest.Look(ctx, in, system) })
}

// change brings the guest to a system that it has, and to its old one when that does not do.
func (g *systemGuest) change(ctx context.Context, system string, generation int, mode guest.Mode, timeout time.Duration, r *systemResult) error {
	change := guest.Change{
		Machine: g.name, System: system, Generation: generation, Mode: mode, Limit: timeout, Sink: g.c.progress,
		Network: g.overSSH, Spare: g.byAgent,
		Running: func(ctx context.Context) (bool, error) {
			d, err := g.host.Domains.Domain(ctx, g.name)
			return err == nil && d.State.Active(), err
		},
		Ready: func(ctx context.Context) (err error) {
			r.Ready, err = g.c.waitReady(ctx, g.expected(), timeout)
			return err
		},
	}
	if !g.network {
		change.Network, change.Spare = g.byAgent, nil
	}
	log, err := change.Run(ctx)
	for line := range strings.Lines(log) {
		g.c.log.Debug("activation", "machine", g.name, "line", strings.TrimSpace(line))
	}
	return err
}

// expected is the guest as it is waited for.
func (g *systemGuest) expected() expected {
	record := g.record()
	x := expected{
		attachment: &attachment{host: g.host, name: g.name}, watched: watched{g.e, g.name, false},
		ports: record.Ports, network: record.Network,
	}
	if g.t.machine != nil {
		x.ready = g.t.machine.Ready
	}
	return x
}

func (g *systemGuest) result(o systemOptions, system string) *systemResult {
	return &systemResult{
		Name: g.name, Host: g.host.URI, Mode: o.mode, System: system, Previous: g.state.Current, Generation: g.state.Generation,
		Differences: []string{}, Waiting: []string{}, FailedUnits: []string{},
	}
}

// done says that the guest has the system in the way that is asked for.
func (g *systemGuest) done(o systemOptions, system string) bool {
	runs, boots := g.state.Current == system, g.state.Profile == system
	switch o.mode {
	case guest.ModeBoot:
		return boots
	case guest.ModeTest:
		return runs
	default:
		return runs && boots
	}
}

// compare tells what changes from the system that runs. That this cannot be told keeps
// nobody from changing it.
func (g *systemGuest) compare(ctx context.Context, system string, r *systemResult) {
	lines, err := asked(ctx, g, func(in guest.Runner) ([]string, error) { return guest.Differences(ctx, in, g.state.Current, system) })
	if err != nil {
		g.c.log.Debug("compare systems", "machine", g.name, "error", err)
		return
	}
	r.Differences = append(r.Differences, lines...)
}

// sshConfigFile writes what nix's ssh needs to get into the guest, which it calls by its
// host key's alias: a host may have the machine's name. at is a host that it has to reach,
// too, or nil.
func (g *systemGuest) sshConfigFile(ctx context.Context, at *builder.There) (file string, user string, remove func(), err error) {
	login, err := g.login(ctx, "")
	if err != nil {
		return "", "", nil, err
	}
	login.Batch, login.Ask = true, false
	var others []*ssh.Host
	if at != nil {
		others = append(others, at.Host)
	}
	dir, err := os.MkdirTemp("", "vmctl-ssh-")
	if err != nil {
		return "", "", nil, fault.New(fault.Other, "ssh's configuration cannot be written: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) }
	file = filepath.Join(dir, "config")
	if strings.ContainsAny(file, " \t\n") {
		err = fault.New(fault.Other, "nix cannot pass on the path of temporary files: %s has blanks in it", file).WithHint("set TMPDIR to a plain path")
	} else if err = os.WriteFile(file, []byte(login.Config(others...)), 0o600); err != nil {
		err = fault.New(fault.Other, "ssh's configuration cannot be written: %w", err)
	}
	if err != nil {
		remove()
	}
	return file, login.User, remove, err
}

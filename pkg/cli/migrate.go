package cli

import (
	"context"
	"errors"
	"time"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func migrateCommand() *command {
	return &command{
		name: "migrate", group: lifecycle, takes: ownWords, run: runMigrate, definitions: true,
		args: &arguments{
			usage: "NAME HOST", one: "a machine and a host", least: 2, most: 2,
			hint: "vmctl migrate example server", complete: migrateWords,
		},
		summary: "Move a machine to another host",
		about: []string{
			"Moves a machine with all its disks from the host that it is on to HOST, a name of vmctl host list or a URI. Its image is " +
				"placed there first, unless it is there, so that only what the machine has written moves; its data volumes move with it, " +
				"and the keys of those that are encrypted. What it leaves behind is removed when it runs there.",
			"A running guest is moved live, without being stopped, when both hosts can; else it is stopped, its disks are copied " +
				"through this computer, and it is started again. --live and --cold decide that. What cannot come through is refused before anything is changed.",
			"A failure or Ctrl-C leaves the machine where it was. After a kill -9 exactly one host has it: the same command again goes on " +
				"from there, vmctl up and down on the first host say where it is, and --give-up takes back what was begun.",
			"A live move goes from host to host on the TCP ports 49152 to 49215. It is encrypted by TLS where vmctl sees, on this machine or by ssh, that QEMU has certificates on both hosts: " +
				"ca-cert.pem, and cert and key of server and client, in /etc/pki/qemu or where migrate_tls_x509_cert_dir in qemu.conf says. Else it is not, which is said; --tls then refuses. It needs system connections on both sides.",
		},
		options: []option{
			{name: "live", help: "move the guest while it runs, or refuse"},
			{name: "cold", help: "stop the guest, copy its disks, and start it there"},
			{name: "dry-run", help: "only say what would be done"},
			{name: "address", kind: isText, value: "ADDRESS", help: "the address at which the machine's host reaches HOST, for a live move; without it the one in HOST's URI"},
			{name: "tls", help: "encrypt a live move by TLS, with the certificates that QEMU has on both hosts, or refuse"},
			{name: "no-tls", help: "do not encrypt a live move, also where both hosts have certificates"},
			{name: "give-up", help: "take back a move that was cut short: the machine stays where it is. Only for a HOST that is gone for good, or on which it has not arrived"},
			{name: "stop-timeout", kind: isDuration, value: "TIME", preset: "60s", help: "how long the guest may take to power off before it is switched off"},
			{name: "force", help: "switch the guest off at once, as pulling the plug does"},
			{name: "no-wait", help: "do not wait until a guest that was started there is ready"},
			{name: "timeout", kind: isDuration, value: "TIME", preset: "5m", help: "how long such a guest may take to become ready; 0 is no limit"},
		},
		examples: []example{
			{"vmctl migrate example server", "from the host of its definition"},
			{"vmctl -H server migrate example qemu:///system", "and back here"},
			{"vmctl migrate --dry-run example server", ""},
		},
		json: `{
  "name": "example",
  "from": "qemu:///system",
  "to": "qemu+ssh://root@server/system",
  "way": "live",
  "why": "both hosts can",
  "there": false,
  "started": false,
  "ready": "",
  "operations": [
    {
      "host": "server",
      "action": "create volume",
      "resource": "example.0e7a….root.qcow2",
      "cause": "10GiB on nix-1b2c…",
      "destructive": false,
      "when": "now"
    }
  ],
  "notes": []
}`,
	}
}

// migrateResult is what migrate tells.
type migrateResult struct {
	Name string     `json:"name"`
	From string     `json:"from"`
	To   string     `json:"to"`
	Way  engine.Way `json:"way"`
	Why  string     `json:"why"`
	// There says that the machine was on the other host already, and nothing was left to do.
	There bool `json:"there"`
	// Started says that the guest was booted there, Ready how it showed that it is ready.
	Started    bool            `json:"started"`
	Ready      string          `json:"ready"`
	Operations []engine.MoveOp `json:"operations"`
	Notes      []string        `json:"notes"`
}

func newMigrateResult(p *engine.MovePlan) *migrateResult {
	return &migrateResult{Name: p.Machine, From: p.From, To: p.To, Way: p.Way, Why: p.Why, Operations: p.Ops, Notes: p.Notes}
}

// migrateWords completes a machine, then a host.
func migrateWords(c *call, given []string) []string {
	if len(given) == 0 {
		return completeMachine(c, given)
	}
	return hostWords(c, nil)
}

func runMigrate(ctx context.Context, c *call, in *urfave.Context) error {
	name, word := c.line.args[0], c.line.args[1]
	if err := spec.CheckName(name); err != nil {
		return err
	}
	if in.Bool("live") && in.Bool("cold") {
		return usagef("--live and --cold ask for different things").WithHint("leave one of them out; without both the hosts decide")
	}
	if in.Bool("tls") && in.Bool("cold") {
		return usagef("--tls is for live moves: a cold one takes the connections to both hosts").WithHint("leave one of them out")
	}
	if in.Bool("tls") && in.Bool("no-tls") {
		return usagef("--tls and --no-tls ask for different things").WithHint("leave one of them out; without both the certificates decide")
	}
	to, err := c.namedHost(word, true)
	if err != nil {
		return err
	}
	t, from, err := c.open(ctx, name)
	if err != nil {
		return err
	}
	if in.Bool("give-up") {
		return c.giveUp(ctx, t, from, to)
	}
	m, err := c.moveTo(ctx, t, from, to)
	if err != nil {
		return err
	}
	o := c.moveOptions(ctx, t, m, in)
	if in.Bool("dry-run") {
		plan, err := m.Plan(ctx, o)
		if err != nil {
			return err
		}
		return c.showMove(plan)
	}
	return c.migrate(ctx, t, m, o, parseWaiting(in))
}

func (c *call) migrate(ctx context.Context, t *target, m *engine.Move, o engine.MoveOptions, w waiting) error {
	began := time.Now()
	c.secrets.guard() // the keys of its encrypted volumes pass through here
	moved, err := m.Run(ctx, o)
	if moved == nil {
		return errors.Join(err, c.deliverAgain(ctx, m, o.Start, w.timeout))
	}
	result := newMigrateResult(moved.Plan)
	result.There, result.Started = moved.There, moved.Started
	if moved.Started {
		err = errors.Join(err, c.followThere(ctx, t, m, moved, w, &result.Ready))
	}
	c.progress.Close()
	if c.json() {
		if broken := ui.JSON(c.streams, result); err == nil {
			err = broken
		}
		return err
	}
	if err == nil {
		c.sayMoved(t, m, moved, result.Ready, time.Since(began))
	}
	return err
}

// deliverAgain waits until a guest that was stopped for a move, and booted again where it was, has taken its secrets.
func (c *call) deliverAgain(ctx context.Context, m *engine.Move, start engine.StartOptions, limit time.Duration) error {
	if !m.Restarted() || start.Delivery == nil {
		return nil
	}
	return watched{m.From, m.Name, true}.deliver(ctx, nil, limit)()
}

// followThere waits until a guest that was started on the other host is ready.
func (c *call) followThere(ctx context.Context, t *target, m *engine.Move, moved *engine.Moved, w waiting, ready *string) error {
	x := expected{
		attachment: &attachment{host: m.To.Host, name: t.name}, watched: watched{m.To, t.name, moved.Delivering}, started: true,
	}
	if t.machine != nil {
		x.ready = t.machine.Ready
	}
	if d, err := m.To.Managed(ctx, t.name); err == nil {
		c.lost(t, d)
		x.network, x.ports = d.Record.Network, d.Record.Ports
	}
	_, err := c.follow(ctx, x, w, ready)
	return err
}

// giveUp takes back a move that was cut short.
func (c *call) giveUp(ctx context.Context, t *target, from *engine.Engine, to string) error {
	d, err := from.Managed(ctx, t.name)
	if err != nil {
		return c.known(ctx, t, from, err)
	}
	note := d.Record.Moving
	switch {
	case note == nil:
		c.sayDone("%s is not on its way anywhere", t.name)
		return nil
	case note.To != to:
		return fault.New(fault.Refused, "%s is on its way to %s, not to %s", t.name, note.To, to).
			WithHint("%s migrate --give-up %s %s", c.onHost(), t.name, ansi.ShellWord(note.To))
	}
	m := c.moveFrom(t.name, from, to)
	if m.To, err = c.engine(ctx, to, t.project); err != nil {
		c.note(t.name, err)
		m.To = nil
	}
	start := engine.StartOptions{Delivery: c.delivery(t)}
	if err := errors.Join(m.GiveUp(ctx, start), c.deliverAgain(ctx, m, start, runningTakes)); err != nil {
		return err
	}
	c.sayDone("%s stays on %s", t.name, m.FromName)
	return nil
}

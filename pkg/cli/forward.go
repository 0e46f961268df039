package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func forwardCommand() *command {
	return &command{
		name: "forward", group: inside, takes: ownWords, run: runForward,
		args: &arguments{
			usage: "NAME [ADDRESS:]LOCAL:GUEST...", one: "the name of a machine and a forward, such as 8080:80", least: 2, most: -1,
			hint: "vmctl forward example 8080:80", complete: completeMachine,
		},
		summary: "Lead ports of this machine to ports of a guest",
		about: []string{
			"Leads TCP ports of this machine through ssh to the guest, until Ctrl-C. auto for LOCAL takes a free port. Without an address " +
				"only this machine itself can connect. What the guest listens on for itself alone is reached as well.",
			"Forwards that stay belong into ports: in the definition.",
		},
		options:  []option{{name: "user", short: "l", kind: isText, value: "USER", help: "log in as this user, whatever the definition says"}},
		examples: []example{{"vmctl forward example 8080:80", ""}, {"vmctl forward db auto:5432 -o json", "a free port, for a script to read"}},
		json: `{
  "name": "example",
  "forwards": [
    { "address": "127.0.0.1", "local": 8080, "guest": 80 }
  ]
}`,
	}
}

// forwarded is one forward. Local is on this machine.
type forwarded struct {
	Address string `json:"address"`
	Local   uint16 `json:"local"`
	Guest   uint16 `json:"guest"`
}

func (f forwarded) listen() string {
	return net.JoinHostPort(f.Address, fmt.Sprint(f.Local))
}

// forwardResult is what forward tells as soon as it works.
type forwardResult struct {
	Name     string      `json:"name"`
	Forwards []forwarded `json:"forwards"`
}

func parseForward(word string) (forwarded, error) {
	p, err := spec.ParsePort(word)
	if err != nil {
		return forwarded{}, usagef("%q is not a forward", word).WithHint("write [ADDRESS:]LOCAL:GUEST, such as 8080:80 or auto:80")
	}
	if p.Protocol != spec.TCP {
		return forwarded{}, usagef("%q: ssh forwards tcp alone", word).WithHint("forward it in the definition: ports: [%q]", word)
	}
	return forwarded{p.Address.String(), p.Host, p.Guest}, nil
}

func runForward(ctx context.Context, c *call, in *urfave.Context) error {
	user := in.String("user")
	if err := checkUser(user); err != nil {
		return err
	}
	result := forwardResult{Name: c.line.args[0]}
	for _, word := range c.line.args[1:] {
		f, err := parseForward(word)
		if err != nil {
			return err
		}
		result.Forwards = append(result.Forwards, f)
	}
	m, err := c.reachable(ctx, result.Name)
	if err != nil {
		return err
	}
	login, err := m.login(ctx, user)
	if err != nil {
		return err
	}
	if err := freeLocal(ctx, result.Forwards); err != nil {
		return err
	}
	return m.forward(ctx, login, result)
}

// freeLocal chooses the ports that are to be chosen, and finds those that are taken
// before ssh does.
func freeLocal(ctx context.Context, all []forwarded) error {
	var config net.ListenConfig
	for i, f := range all {
		// Held until all are known, so that no two are the same.
		l, err := config.Listen(ctx, "tcp", f.listen())
		if err != nil {
			return fault.New(fault.Refused, "cannot listen on %s: %s", f.listen(), refusedPort(err)).
				WithHint("take another port; auto:%d takes a free one", f.Guest)
		}
		defer func() { _ = l.Close() }()
		if address, err := netip.ParseAddrPort(l.Addr().String()); err == nil {
			all[i].Local = address.Port()
		}
	}
	return nil
}

// refusedPort is why an address cannot be listened on, for people.
func refusedPort(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "something else listens there"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 are not for this user"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the address is none of this machine's"
	}
	return err.Error()
}

func (m *reachable) forward(ctx context.Context, login *guest.SSH, result forwardResult) error {
	c := m.c
	flags := []string{
		"-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15",
		// ssh runs it as soon as it listens.
		"-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo ready",
	}
	for _, f := range result.Forwards {
		address := f.Address
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
		flags = append(flags, "-L", fmt.Sprintf("%s:%d:localhost:%d", address, f.Local, f.Guest))
	}
	var told error
	ready := &signalWriter{once: sync.OnceFunc(func() { told = c.tellForward(result) })}
	for again := false; ; again = true {
		c.progress.Pause()
		status, err := login.Attach(ctx, guest.Streams{Out: ready, Err: c.deps.Diagnostics}, flags)
		c.progress.Resume()
		switch {
		case ctx.Err() != nil:
			return errLeft
		case err != nil || told != nil:
			return errors.Join(err, told)
		case status == guest.SSHFailed && !again && m.renewed(ctx, login.Known):
			continue
		case status == guest.SSHFailed:
			if err := login.Explain(ctx); err != nil {
				return err
			}
		}
		return fault.New(fault.Unreachable, "the forwarding to %s has ended: ssh was cut off, or could not log in as %s", m.name, login.User).
			WithHint("vmctl ssh %s shows whether a login works", m.name)
	}
}

// tellForward says that the forwards work.
func (c *call) tellForward(result forwardResult) error {
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, result)
	}
	var b strings.Builder
	for _, f := range result.Forwards {
		fmt.Fprintf(&b, "%s → %s:%d\n", f.listen(), result.Name, f.Guest)
	}
	err := c.print(b.String())
	c.say("forwarding until Ctrl-C")
	return err
}

// signalWriter calls once when something is written.
type signalWriter struct{ once func() }

func (w *signalWriter) Write(p []byte) (int, error) {
	w.once()
	return len(p), nil
}

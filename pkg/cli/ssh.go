package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/spec"
)

func sshCommand() *command {
	return &command{
		name: "ssh", group: inside, takes: ownWords, args: machineAndCommand(), run: runSSH,
		summary: "Log in to a machine, or run a command there, by ssh",
		about: []string{
			"Runs your own ssh, with your keys, your agent and your settings, and ends with its exit status. Where to connect to is found out each time: " +
				"a forwarded port, or the address that the DHCP server or the guest agent tells; and through the libvirt host where that is reached by ssh.",
			"The machine's host key is asked of its guest agent, over libvirt, so there is nothing to confirm. Where no agent answers, ssh asks, and " +
				"in a script refuses. A key that has changed is refused, unless the agent confirms it.",
			"As with ssh, a shell in the guest reads the command. The user, the key and the port come from ssh: in the definition.",
		},
		options: []option{
			{name: "user", short: "l", kind: isText, value: "USER", help: "log in as this user, whatever the definition says"},
			{name: "tty", short: "t", help: "give the command a terminal, as for editors"},
			{name: "new-key", help: "forget the host key that is known for the machine, and learn it again"},
		},
		examples: []example{
			{"vmctl ssh example", "a shell"},
			{"vmctl ssh example journalctl -fu nginx", ""},
			{"tar c . | vmctl ssh web tar xC /srv", ""},
		},
	}
}

func runSSH(ctx context.Context, c *call, in *urfave.Context) error {
	if err := c.noJSON("vmctl exec -o json %s COMMAND", c.line.args[0]); err != nil {
		return err
	}
	user := in.String("user")
	if err := checkUser(user); err != nil {
		return err
	}
	m, err := c.reachable(ctx, c.line.args[0])
	if err != nil {
		return err
	}
	if in.Bool("new-key") {
		known, err := m.known()
		if err == nil {
			err = known.Forget()
		}
		if err != nil {
			return err
		}
	}
	login, err := m.login(ctx, user)
	if err != nil {
		return err
	}
	var flags []string
	if in.Bool("tty") {
		flags = append(flags, "-t")
	}
	return m.attach(ctx, login, flags, c.line.args[1:])
}

// checkUser refuses what is no name of a user; the empty one is none given.
func checkUser(user string) error {
	if user == "" || spec.CheckUser(user) {
		return nil
	}
	return usagef("--user: %q is not the name of an account", user).WithHint("write it as in the guest, such as --user admin")
}

// attach runs ssh in the foreground, and once more when the machine's new host key is
// confirmed by its agent: ssh has not read any input by then.
func (m *reachable) attach(ctx context.Context, login *guest.SSH, flags, words []string) error {
	c := m.c
	for again := false; ; again = true {
		c.progress.Pause()
		status, err := login.Attach(ctx, guest.Streams{In: c.streams.In, Out: c.deps.Terminal, Err: c.deps.Diagnostics}, flags, words...)
		c.progress.Resume()
		switch {
		case err != nil && ctx.Err() != nil:
			return fault.New(fault.Interrupted, "interrupted; %s runs on", m.name)
		case err != nil || status != guest.SSHFailed:
			return sshEnd(status, err)
		case !again && m.renewed(ctx, login.Known):
		default:
			return sshEnd(status, login.Explain(ctx))
		}
	}
}

func sshEnd(status int, err error) error {
	if err != nil {
		return err
	}
	return statusOf(status)
}

package cli

import (
	"context"
	"os"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
)

// sshProxyCommand is what ssh runs for machines of vmctl ssh-config: only when it
// connects is it known where the machine is.
func sshProxyCommand() *command {
	return &command{
		name: "ssh-proxy", group: other, takes: oneMachine, hidden: true, run: runSSHProxy,
		summary: "Join standard input and output to a machine's ssh server",
		options: []option{{name: "port", kind: isCount, value: "PORT", help: "the port in the guest", preset: "22"}},
	}
}

func runSSHProxy(ctx context.Context, c *call, in *urfave.Context) error {
	m, err := c.reachable(ctx, c.line.args[0])
	if err != nil {
		return err
	}
	if port := in.Int("port"); port > 0 && port <= 65535 {
		m.ssh.Port = uint16(port)
	}
	route, err := m.route(ctx, m.ssh.Port)
	if err != nil {
		return err
	}
	known, err := m.known()
	if err != nil {
		return err
	}
	// ssh reads the file after the server's first line has come through here.
	if err := m.vouch(ctx, known); err != nil {
		return err
	}
	input, ok := c.streams.In.(*os.File)
	if !ok {
		return fault.New(fault.Usage, "ssh-proxy works for ssh alone").WithHint("vmctl ssh %s", m.name)
	}
	c.progress.Close()
	if route.Jump == nil {
		c.close() // the connection to libvirt is not needed any more; a jump goes along with it
	}
	return route.Connect(ctx, input, c.deps.Terminal)
}

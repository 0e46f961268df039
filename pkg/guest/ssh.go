package guest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
	"vmctl/pkg/ssh"
)

// Streams are what a program in the foreground reads and writes.
type Streams = proc.Streams

// SSHFailed is ssh's exit status when it did not come to run anything.
const SSHFailed = ssh.Failed

// Route is how to get to a port of a guest over the network.
type Route struct {
	// Address and Port are where to connect to, from this machine or from the jump host.
	Address netip.Addr
	Port    uint16
	// Jump is the libvirt host to go through; nil for none.
	Jump *ssh.Host
}

// String is the address and the port.
func (r Route) String() string { return netip.AddrPortFrom(r.Address, r.Port).String() }

// SSH logs in to a guest with the person's own ssh.
type SSH struct {
	Machine string
	Route   Route
	User    string
	// Key is a file with a private key; empty leaves the choice to ssh.
	Key   string
	Known Known
	// Ask lets ssh ask a person about a host key that nobody knows. Batch keeps it from asking
	// for anything, and from waiting for a guest that has fallen silent.
	Ask, Batch bool
	// Err takes what ssh itself says.
	Err io.Writer
}

// options are what every call of ssh gets. Values that could be taken for options stand
// behind the option that they belong to.
func (s *SSH) options() []string {
	strict := "yes"
	if s.Ask {
		strict = "ask"
	}
	o := []string{
		"-o", "HostKeyAlias=" + s.Known.Alias,
		"-o", "UserKnownHostsFile=" + configValue(s.Known.Path),
		"-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=" + strict,
		"-o", "CheckHostIP=no", "-o", "UpdateHostKeys=no", "-o", "HashKnownHosts=no",
		"-p", strconv.Itoa(int(s.Route.Port)), "-l", s.User,
	}
	if s.Key != "" {
		o = append(o, "-i", s.Key)
	}
	if s.Batch {
		o = append(o, "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
	}
	if s.Route.Jump != nil {
		o = append(o, "-o", "ProxyCommand="+strings.ReplaceAll(ssh.Quote(s.Route.Jump.Through(s.Route.String())...), "%", "%%"))
	} else {
		// A ProxyCommand of the person's for all hosts does not know this address.
		o = append(o, "-o", "ProxyCommand=none")
	}
	return o
}

// configValue is a file name as an option's value: blanks need quotes, and % is ssh's own.
func configValue(path string) string {
	return `"` + strings.ReplaceAll(path, "%", "%%") + `"`
}

// Args are ssh's arguments for a login, or for a command that the guest's shell reads.
func (s *SSH) Args(flags []string, words ...string) []string {
	args := append(s.options(), flags...)
	// ssh looks for options behind the address, too; a second -- would be the command's.
	args = append(args, s.Route.Address.String())
	if len(words) > 0 {
		args = append(append(args, "--"), words...)
	}
	return args
}

// Config is a file of ssh's configuration that says the same as the options, for programs that
// start ssh by themselves: the guest is called by its host key's alias there. others are hosts
// that they are to reach as well. What it does not say comes from the person's own.
func (s *SSH) Config(others ...*ssh.Host) string {
	var b strings.Builder
	section := func(host string, options []string) {
		fmt.Fprintf(&b, "Host %s\n", host)
		include := "" // comes last: ssh obeys the first value that it finds
		for i := 0; i+1 < len(options); i += 2 {
			key, value, _ := strings.Cut(options[i+1], "=")
			switch options[i] {
			case "-p":
				key, value = "Port", options[i+1]
			case "-l":
				key, value = "User", options[i+1]
			case "-i":
				key, value = "IdentityFile", configValue(options[i+1])
			case "-F":
				include = fmt.Sprintf("    Include %s\n", options[i+1])
				continue
			}
			fmt.Fprintf(&b, "    %s %s\n", key, value)
		}
		b.WriteString(include)
	}
	section(s.Known.Alias, append([]string{"-o", "HostName=" + s.Route.Address.String()}, s.options()...))
	for _, h := range others {
		section(h.Name, h.Options())
	}
	b.WriteString("Match all\n    Include ~/.ssh/config\n    Include /etc/ssh/ssh_config\n")
	return b.String()
}

// Attach runs ssh in the foreground and gives its exit status.
func (s *SSH) Attach(ctx context.Context, streams Streams, flags []string, words ...string) (int, error) {
	status, err := proc.Attach(ctx, proc.Cmd{Path: "ssh", Args: s.Args(flags, words...)}, streams)
	return status, noSSH(err)
}

// Run implements Runner.
func (s *SSH) Run(ctx context.Context, c Command) (int, error) {
	diag := c.Stderr
	if diag == nil {
		diag = s.Err
	}
	flags := []string{"-T"}
	if c.Stdin == nil {
		flags = append(flags, "-n")
	}
	status, err := s.Attach(ctx, proc.Streams{In: c.Stdin, Out: c.Stdout, Err: diag}, flags, ssh.Quote(c.Argv...))
	if err != nil {
		return 0, err
	}
	if status == SSHFailed {
		return status, s.Explain(ctx)
	}
	return status, nil
}

// Explain says why ssh ended with exit status 255 without having run anything, or gives
// nil: ssh itself has said why, or the program in the guest ended like this.
func (s *SSH) Explain(ctx context.Context) error {
	switch s.why(ctx) {
	case keyChanged:
		return fault.New(fault.Refused, "the ssh host key of %s is not the one that is known for it: the machine was made anew, or another one answers in its place", s.Machine).
			WithHint("if you know that it was made anew: vmctl ssh --new-key %s", s.Machine)
	case keyUnknown:
		return fault.New(fault.Refused, "the ssh host key of %s is not known, and nobody vouches for it", s.Machine).
			WithHint("its guest agent would: wait until it has booted, or install qemu-guest-agent in it; on a terminal ssh asks: vmctl ssh %s", s.Machine)
	case notAnswering:
		return fault.New(fault.Unreachable, "no ssh server answers in %s at %s", s.Machine, s.Route).
			WithHint("vmctl logs %[1]s shows whether it has booted; vmctl exec %[1]s COMMAND needs no network", s.Machine)
	default:
		return nil
	}
}

// Works tries whether a login needs no person: no password, and no host key to decide on.
func (s *SSH) Works(ctx context.Context) bool {
	quiet := *s
	quiet.Ask = false
	_, err := proc.Run(ctx, proc.Cmd{Path: "ssh", Args: quiet.Args([]string{"-o", "BatchMode=yes", "-o", "ConnectTimeout=5"}, "true")})
	return err == nil
}

type reason uint8

const (
	other reason = iota
	keyChanged
	keyUnknown
	notAnswering
)

// why asks ssh once more, for its complaint alone: it does not get as far as to log in.
func (s *SSH) why(ctx context.Context) reason {
	if s.Route.Jump == nil {
		dialer := net.Dialer{Timeout: closeTime}
		c, err := dialer.DialContext(ctx, "tcp", s.Route.String())
		if err != nil {
			return notAnswering
		}
		_ = c.Close()
	}
	probe := *s
	probe.Ask = false
	_, err := proc.Run(ctx, proc.Cmd{
		Path: "ssh", Env: []string{"LC_ALL=C"},
		Args: probe.Args([]string{"-o", "BatchMode=yes", "-o", "PreferredAuthentications=none", "-o", "LogLevel=INFO", "-o", "ConnectTimeout=5"}, "exit"),
	})
	failure, ok := err.(*proc.Error) //nolint:errorlint // proc promises it
	switch {
	case !ok:
		return other
	case strings.Contains(failure.Stderr, "IDENTIFICATION HAS CHANGED"):
		return keyChanged
	case strings.Contains(failure.Stderr, "host key is known for"):
		return keyUnknown
	}
	return other
}

func noSSH(err error) error {
	if failure, ok := err.(*proc.Error); ok && strings.Contains(failure.Error(), proc.ErrNotFound.Error()) { //nolint:errorlint // proc promises it
		return fault.New(fault.Other, "ssh is not installed here, or not in PATH").
			WithHint("Debian and Ubuntu: apt install openssh-client; or use vmctl exec, which needs none")
	}
	return err
}

// Connect joins standard input and output to the route, for ssh's ProxyCommand.
func (r Route) Connect(ctx context.Context, in *os.File, out io.Writer) error {
	if r.Jump != nil {
		argv := r.Jump.Through(r.String())
		status, err := proc.Attach(ctx, proc.Cmd{Path: argv[0], Args: argv[1:]}, proc.Streams{In: in, Out: out, Err: os.Stderr})
		if err == nil && status != 0 {
			err = fault.New(fault.Unreachable, "ssh could not go through %s", r.Jump.Name)
		}
		return noSSH(err)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", r.String())
	if err != nil {
		return fault.New(fault.Unreachable, "nothing answers at %s: %w", r, err)
	}
	defer func() { _ = c.Close() }()
	go func() {
		_, _ = io.Copy(c, in)
		if half, ok := c.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_, err = io.Copy(out, c)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

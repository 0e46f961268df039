// Package ssh reaches libvirt hosts with the person's own ssh: its agent, its
// configuration and its known hosts. What one command does on a host goes over one
// connection, for which the person is asked once.
package ssh

import (
	"context"
	"net"
	"net/url"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
)

// Failed is ssh's exit status when it did not come to run anything.
const Failed = 255

// Host is a libvirt host that is reached by ssh.
type Host struct {
	// User, Port and Key are empty where ssh's own configuration decides.
	User, Name, Port, Key string
	// Config is the file of a Shared connection; empty for none.
	Config string
}

// Of reads the way to the host out of a libvirt URI. It is nil for hosts that are not
// reached by ssh.
func Of(uri string) *Host {
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	_, transport, _ := strings.Cut(u.Scheme, "+")
	if transport != "ssh" && transport != "libssh" && transport != "libssh2" {
		return nil
	}
	h := &Host{User: u.User.Username(), Name: u.Hostname(), Port: u.Port(), Key: u.Query().Get("keyfile")}
	for _, word := range []string{h.User, h.Name, h.Key} {
		if strings.HasPrefix(word, "-") {
			return nil
		}
	}
	return h
}

// Argv is an ssh command line: flags of its own, and words that the host's shell reads.
func (h *Host) Argv(flags []string, words ...string) []string {
	argv := append([]string{"ssh"}, h.Options()...)
	argv = append(append(argv, flags...), "--", h.Name)
	return append(argv, words...)
}

// Options are ssh's flags that lead to the host, without its name.
func (h *Host) Options() []string {
	var o []string
	if h.Config != "" {
		o = append(o, "-F", h.Config)
	}
	if h.User != "" {
		o = append(o, "-l", h.User)
	}
	if h.Port != "" {
		o = append(o, "-p", h.Port)
	}
	if h.Key != "" {
		o = append(o, "-i", h.Key)
	}
	return o
}

// Through is the command that joins its standard input and output to an address as the
// host sees it.
func (h *Host) Through(to string) []string {
	return h.Argv([]string{"-o", "ClearAllForwardings=yes", "-W", to})
}

// Run runs a script of sh on the host, which takes nothing from a terminal, and gives
// what it printed. A script that fails is a *proc.Error; a host that is not reached is
// fault.Unreachable.
func (h *Host) Run(ctx context.Context, script string) (string, error) {
	argv := h.Argv([]string{"-T", "-n", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes"}, Quote("sh", "-c", script))
	res, err := proc.Run(ctx, proc.Cmd{Path: argv[0], Args: argv[1:], Env: []string{"LC_ALL=C"}})
	if failed, ok := err.(*proc.Error); ok && failed.ExitCode == Failed { //nolint:errorlint // proc promises it
		return "", fault.New(fault.Unreachable, "ssh to %s failed: %w", h.Name, err)
	}
	return string(res.Stdout), err
}

// RunHere runs a script on this machine, as Run does on a host.
func RunHere(ctx context.Context, script string) (string, error) {
	res, err := proc.Run(ctx, proc.Cmd{Path: "sh", Args: []string{"-c", script}, Env: []string{"LC_ALL=C"}})
	return string(res.Stdout), err
}

// plain are the characters that need no quotes.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,"

// Quote joins words so that a POSIX shell reads them back as they are.
func Quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if word == "" || strings.Trim(word, plain) != "" {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// Dial connects to an address as the host sees it. The connection ends with ctx.
func (h *Host) Dial(ctx context.Context, to string) net.Conn {
	near, far := net.Pipe()
	argv := h.Argv([]string{"-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes", "-W", to})
	go func() {
		// What goes wrong shows as a connection that ends without a word.
		_, _ = proc.Attach(ctx, proc.Cmd{Path: argv[0], Args: argv[1:]}, proc.Streams{In: far, Out: far})
		_ = far.Close()
	}()
	return near
}

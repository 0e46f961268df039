package cli

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/progress"
	"vmctl/pkg/ssh"
	"vmctl/pkg/state"
	"vmctl/pkg/ui"
)

// Deps is what commands need of the outside. Nothing in it does anything before it is
// called, so a command pays only for what it uses. Tests put fakes in.
type Deps struct {
	// Version is vmctl's own.
	Version string
	Streams *ui.Streams
	// Terminal is standard output itself, for the console, which must see whether it
	// is a terminal.
	Terminal io.Writer
	// Diagnostics is standard error itself, for programs that run in the foreground.
	Diagnostics io.Writer
	// Getwd gives the current directory.
	Getwd func() (string, error)
	// Now gives the time.
	Now func() time.Time
	// Unsetenv takes a variable out of the environment of programs that are started; nil
	// leaves all in.
	Unsetenv func(name string)
	// PassphraseWork is how hard it is to try out passphrases (scrypt's factor); 0 is age's own.
	PassphraseWork int
	// Root says that the user is root.
	Root bool
	// Token tells this client's uploads to a host from those of others.
	Token func(dirs state.Dirs, hostURI string) engine.Token
	// OpenHost connects to libvirt; ssh is the program for hosts that are reached by it, silent
	// is told when the host keeps somebody waiting.
	OpenHost func(ctx context.Context, uri, ssh string, silent func(bool)) (*engine.Host, io.Closer, error)
	// Asleep says that a host is the user's own libvirt and does not run; nil is never.
	Asleep func(ctx context.Context, uri string) bool
	// Certified says that QEMU, on a host that is reached by ssh or here, is seen to have
	// certificates for live moves; nil sees none.
	Certified func(ctx context.Context, host *ssh.Host) bool
	// Images builds flakes.
	Images func(dirs state.Dirs, sink progress.Sink, log *slog.Logger) Images
}

// System are the dependencies of the real program, whose PATH leads nowhere else when the
// directory is another one.
func System(version string) *Deps {
	leaveProjectOut()
	streams := ui.System()
	return &Deps{
		Version:  version,
		Streams:  streams,
		Terminal: os.Stdout, Diagnostics: os.Stderr,
		Getwd:    os.Getwd,
		Now:      time.Now,
		Unsetenv: func(name string) { _ = os.Unsetenv(name) }, // fails for names that cannot be
		Root:     os.Geteuid() == 0,
		OpenHost: func(ctx context.Context, uri, ssh string, silent func(bool)) (*engine.Host, io.Closer, error) {
			return libvirt.Open(ctx, uri, libvirt.WithSSH(ssh), libvirt.WithSilence(silent))
		},
		Asleep:    func(ctx context.Context, uri string) bool { return libvirt.Asleep(ctx, uri, streams.Getenv) },
		Certified: certified,
		Images:    systemImages,
		Token:     systemToken,
	}
}

// leaveProjectOut takes what is relative out of PATH, an empty entry too: what lies in a project is not
// run by accident, by libvirt, ssh, nix or a shell that they start either.
func leaveProjectOut() {
	entries := filepath.SplitList(os.Getenv("PATH"))
	kept := slices.DeleteFunc(slices.Clone(entries), func(dir string) bool { return !filepath.IsAbs(dir) })
	switch {
	case len(kept) == len(entries):
	case len(kept) == 0: // an empty one is the directory itself
		_ = os.Unsetenv("PATH") // fails for names that cannot be
	default:
		_ = os.Setenv("PATH", strings.Join(kept, string(filepath.ListSeparator)))
	}
}

func systemToken(dirs state.Dirs, hostURI string) engine.Token {
	hostname, _ := os.Hostname() // its absence does not make two clients one
	return engine.Token{Client: dirs.Client(hostname, hostURI), Run: strings.ToLower(rand.Text()[:8])}
}

func (d *Deps) getenv(name string) string { return d.Streams.Getenv(name) }

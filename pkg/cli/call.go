package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/project"
	"vmctl/pkg/secret"
	"vmctl/pkg/state"
	"vmctl/pkg/ui"
)

// call is one run of one command: what the global flags say, and what was opened on
// the way.
type call struct {
	deps     *Deps
	line     *line
	streams  *ui.Streams
	progress ui.Progress
	log      *slog.Logger

	hosts openHosts
	// ssh is the connection that all ssh of the command share.
	ssh *sharedSSH
	// flakes are what the command line names machines by, if not by their names.
	flakes map[string]namedFlake
	// hidden are variables that hold secrets, and were taken out of the environment.
	hidden map[string]string
	// guarding begins what keeps secrets out of core dumps, and unguard ends it; nil
	// without secrets.
	guarding sync.Once
	unguard  func()
	// ring has the identities that were unlocked.
	ring secret.Ring
}

func newCall(deps *Deps, l *line) *call {
	c := &call{deps: deps, line: l, streams: deps.Streams, flakes: map[string]namedFlake{}, hidden: map[string]string{}, ssh: &sharedSSH{}}
	mode, err := ui.ParseMode(c.global("progress"))
	if err != nil || c.global("quiet") != "" {
		mode = ui.ModeQuiet
	}
	verbose := c.global("verbose") != ""
	c.progress = ui.NewProgress(deps.Streams, mode, verbose)
	c.log = slog.New(slog.DiscardHandler)
	if verbose {
		// Through the display, which knows when a line may be written.
		c.log = slog.New(slog.NewTextHandler(logLines{c.progress}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return c
}

// global is a global flag's value, empty without one.
func (c *call) global(name string) string { return written(c.line.global, name) }

func (c *call) json() bool { return c.global("output") == outputJSON }

// guard keeps the process from leaving a core dump, from here to the end of the command:
// there are secrets in its memory.
func (c *call) guard() { c.guarding.Do(func() { c.unguard = secret.Guard() }) }

// close ends what was opened.
func (c *call) close() {
	if c.unguard != nil {
		c.unguard()
	}
	for uri, closer := range c.hosts.all() {
		if err := closer.Close(); err != nil {
			c.log.Debug("close connection", "uri", uri, "error", err)
		}
	}
	c.ssh.shared.Close()
}

// print writes a result to standard output.
func (c *call) print(text string) error {
	_, err := io.WriteString(c.streams.Out, text)
	return err
}

// say tells a person on standard error how something ended; nobody reads it under
// --quiet.
func (c *call) say(text string) {
	if c.global("quiet") == "" && !c.json() {
		// It may quote a domain's metadata, which others can write.
		_, _ = io.WriteString(c.streams.Err, ansi.Plain(text)+"\n")
	}
}

// project is the project, which has to be there.
func (c *call) project() (*project.Project, error) {
	dir := c.global("project")
	if !filepath.IsAbs(dir) {
		cwd, err := c.deps.Getwd()
		if err != nil {
			return nil, fault.New(fault.NotFound, "the current directory cannot be read: %w", err).
				WithHint("cd to the project, or name it: -C DIR")
		}
		dir = filepath.Join(cwd, dir)
	}
	p, err := project.Find(dir)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// projectOrNone is the project, or nil where there is none and none was asked for.
func (c *call) projectOrNone() (*project.Project, error) {
	p, err := c.project()
	if c.global("project") == "" && fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return p, err
}

// engine works on a host, for a project or for none (nil).
func (c *call) engine(ctx context.Context, uri string, p *project.Project) (*engine.Engine, error) {
	host, err := c.host(ctx, uri)
	if err != nil {
		return nil, err
	}
	e := &engine.Engine{
		Host: host, Version: c.deps.Version, Sink: c.progress, Log: c.log,
		Locker: locker{c, host.URI}, PortFree: portFree,
	}
	if dirs, err := c.dirs(); err == nil {
		e.Token = c.deps.Token(dirs, host.URI)
	}
	if p != nil {
		e.Project = p.Dir
	}
	return e, nil
}

// dirs are the directories in which vmctl keeps things; it refuses those that others
// could write to.
func (c *call) dirs() (state.Dirs, error) {
	dirs, err := state.Find(c.deps.getenv)
	if err == nil {
		err = dirs.Check()
	}
	return dirs, err
}

// locker asks for the directories only when something is locked: looking at things
// works without a home directory.
type locker struct {
	c   *call
	uri string
}

func (l locker) Lock(ctx context.Context, name string) (func(), error) {
	dirs, err := l.c.dirs()
	if err != nil {
		return nil, err
	}
	return dirs.Locks(l.uri, l.c.progress).Lock(ctx, name)
}

// logLines makes log lines events.
type logLines struct{ sink progress.Sink }

func (w logLines) Write(p []byte) (int, error) {
	for text := range strings.Lines(string(p)) {
		w.sink.Emit(progress.Event{ID: "vmctl/log", Status: progress.Log, Text: strings.TrimRight(text, "\n")})
	}
	return len(p), nil
}

// machineErrors are what went wrong with several machines; the first one decides the code.
type machineErrors []error

func (e machineErrors) Error() string         { return errors.Join(e...).Error() }
func (e machineErrors) Unwrap() []error       { return e }
func (e machineErrors) FaultKind() fault.Kind { return fault.KindOf(e[0]) }

// each does something for each machine. One that fails does not keep the others from
// their turn; an interruption does.
func each(ctx context.Context, names []string, do func(name string) error) error {
	var failed machineErrors
	for _, name := range names {
		if err := do(name); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return failed
}

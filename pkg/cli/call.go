package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/image"
	"vmctl/pkg/progress"
	"vmctl/pkg/project"
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
	// lines says that standard error is lines of JSON, which a program reads.
	lines bool

	hosts openHosts
	// ssh is the connection that all ssh of the command share.
	ssh *sharedSSH
	// flakes are what the command line names machines by, if not by their names.
	flakes  map[string]namedFlake
	secrets *hiddenSecrets
	spaces  *lockSpaces
	// dirs are found and checked once, when they are first needed.
	dirs func() (state.Dirs, error)
	// endTurn lets the next of several machines have its turn; nil where there is one.
	endTurn func()
	// building bounds how many images are made at once: evaluating NixOS takes a gigabyte.
	building chan struct{}
	// ahead are the images' files that are being read.
	ahead *readFiles
	// saying is held while a person is told something, beneath the progress.
	saying *sync.Mutex
}

func newCall(deps *Deps, l *line) *call {
	c := &call{
		deps: deps, line: l, streams: deps.Streams, flakes: map[string]namedFlake{},
		hosts: newHosts(), secrets: &hiddenSecrets{values: map[string]string{}}, spaces: &lockSpaces{locks: map[string]*state.Locks{}},
		dirs:     sync.OnceValues(func() (state.Dirs, error) { return findDirs(deps) }),
		building: make(chan struct{}, runtime.NumCPU()), saying: &sync.Mutex{}, ssh: &sharedSSH{},
		ahead: &readFiles{files: map[string]*image.Ahead{}},
	}
	mode, err := ui.ParseMode(c.global("progress"))
	if err != nil || c.global("quiet") != "" {
		mode = ui.ModeQuiet
	}
	c.lines = mode == ui.ModeJSON
	verbose := c.global("verbose") != ""
	c.progress = &notedOnce{Progress: ui.NewProgress(deps.Streams, mode, verbose), said: map[string]bool{}}
	c.log = slog.New(slog.DiscardHandler)
	if verbose {
		// Through the display, which knows when a line may be written.
		c.log = slog.New(slog.NewTextHandler(logLines{c.progress}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return c
}

// global is a global flag's value, empty without one.
func (c *call) global(name string) string { return written(c.line.global, name) }

// noJSON refuses -o json of a verb that hands on what others print.
func (c *call) noJSON(hint string, args ...any) error {
	if !c.json() {
		return nil
	}
	return usagef("%s has no JSON output", c.line.verb.path()).WithHint(hint, args...)
}

func (c *call) json() bool { return c.global("output") == outputJSON }

// close ends what was opened.
func (c *call) close() {
	c.secrets.close()
	var closing sync.WaitGroup // a host that hangs is waited for, shortly
	for uri, closer := range c.hosts.all() {
		closing.Go(func() {
			if err := closer.Close(); err != nil {
				c.log.Debug("close connection", "uri", uri, "error", err)
			}
		})
	}
	closing.Wait()
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
	switch {
	case c.global("quiet") != "" || c.json():
	case c.lines:
		ui.SayJSON(c.streams, text)
	default:
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

// findDirs finds the directories in which vmctl keeps things; it refuses those that others
// could write to.
func findDirs(deps *Deps) (state.Dirs, error) {
	dirs, err := state.Find(deps.getenv)
	if err == nil {
		err = dirs.Check()
	}
	return dirs, err
}

// lockSpaces are the locks that a command may hold, by host.
type lockSpaces struct {
	mu    sync.Mutex
	locks map[string]*state.Locks
}

// locks are those of a host, the same for all machines of the command.
func (c *call) locks(dirs state.Dirs, space string) *state.Locks {
	c.spaces.mu.Lock()
	defer c.spaces.mu.Unlock()
	if c.spaces.locks[space] == nil {
		c.spaces.locks[space] = dirs.Locks(space, c.progress)
	}
	return c.spaces.locks[space]
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
	return l.c.locks(dirs, l.uri).Lock(ctx, name)
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

// failures are the errors among them, as one.
func failures(errs []error) error {
	failed := machineErrors(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
	if len(failed) == 0 {
		return nil
	}
	return failed
}

// each does something for each of several, one after the other. One that fails does not
// keep the others from their turn; an interruption does.
func each(ctx context.Context, names []string, do func(name string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, do(name))
		if ctx.Err() != nil {
			break
		}
	}
	return failures(errs)
}

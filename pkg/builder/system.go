package builder

import (
	"context"
	"fmt"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
	"vmctl/pkg/progress"
)

// EvaluateSystem says what the system in a flake's image would be, and the image: of the
// Result, System, OutPath and Drv are set, and none of them need exist. A flake that has not
// changed since it was asked is not evaluated, unless refresh is set. The errors are those of Build, and
// Refused for a flake whose image is of no configuration.
func (b *Builder) EvaluateSystem(ctx context.Context, ref Ref, refresh bool) (Result, error) {
	return b.tellEvaluation(ref, func() (Result, error) { return b.evaluateSystem(ctx, ref, refresh) })
}

func (b *Builder) evaluateSystem(ctx context.Context, ref Ref, refresh bool) (Result, error) {
	ref, goal, err := configured(ref)
	if err != nil {
		return Result{}, err
	}
	entry, before := b.cacheEntry(ref), b.sources(ctx, ref)
	if !refresh {
		if e, ok := entry.unchanged(before); ok && e.System != "" {
			return e.result(), nil
		}
	}
	if err := ctx.Err(); err != nil {
		return Result{}, b.processError(ctx, err)
	}
	x, err := b.examine(ctx, ref, goal, refresh)
	if err != nil {
		return Result{}, err
	}
	t := newTracker(b.sink, ref)
	out, err := b.run(ctx, t, b.argv("eval", noEvalCache(), x.wrapper+"#updates"))
	if err != nil {
		return Result{}, b.failure(ctx, ref, t, err)
	}
	said, err := parseUpdates(out.Stdout)
	if err != nil {
		return Result{}, fault.New(fault.Build, "nix says what %s builds to in a way vmctl cannot read", ref.subject())
	}
	res := Result{
		System: said.System.Out, OutPath: said.Image.Out, Drv: said.Image.Drv,
		Attr: x.attr.String(), Spec: x.Spec, Left: x.Left, Origin: x.origin,
	}
	if !x.unlocked {
		entry.store(before, b.fingerprint(ctx, ref), res, 0)
	}
	return res, nil
}

// configured understands a Ref that must lead to a configuration.
func configured(ref Ref) (Ref, goal, error) {
	ref, err := ref.check()
	if err != nil {
		return ref, goal{}, err
	}
	g, err := parseGoal(ref.Attr)
	if err == nil && g.name == "" && g.path != nil {
		err = fault.New(fault.Refused, "%s of %s is no NixOS configuration, so there is no system to build", g.path, ref.subject()).
			WithHint("name one in the definition: image: %s#NAME", ref.display())
	}
	return ref, g, err
}

// BuildSystem builds the system in a flake's image, and not the image. rootDir is as for
// Build. It gives the system's store path.
func (b *Builder) BuildSystem(ctx context.Context, ref Ref, rootDir string, refresh bool) (string, error) {
	return b.tellBuild(ref, "", func() (string, error) { return b.buildSystem(ctx, ref, rootDir, refresh) })
}

// BuildSystemThere is BuildSystem on another machine, as BuildThere is Build. The system
// stays there, kept by a link of the machine's until LetGo.
func (b *Builder) BuildSystemThere(ctx context.Context, ref Ref, at There, refresh bool) (string, error) {
	return b.tellBuild(ref, " on "+at.Host.Name, func() (string, error) {
		ref, x, err := b.examineSystem(ctx, ref, refresh)
		if err != nil {
			return "", err
		}
		res, err := b.realiseThere(ctx, ref, x, x.wrapper+"#system", at)
		if err != nil {
			return "", err
		}
		return res.OutPath, at.hold(ctx, res.OutPath)
	})
}

// tellBuild shows how a build of a system goes.
func (b *Builder) tellBuild(ref Ref, where string, build func() (string, error)) (string, error) {
	show := b.show(ref, "build", where)
	path, err := build()
	if err = show.end(err, false, path); err != nil {
		return "", err
	}
	return path, nil
}

// examineSystem is examine for a Ref that must lead to a configuration.
func (b *Builder) examineSystem(ctx context.Context, ref Ref, refresh bool) (Ref, examined, error) {
	ref, goal, err := configured(ref)
	if err != nil {
		return ref, examined{}, err
	}
	x, err := b.examine(ctx, ref, goal, refresh)
	return ref, x, err
}

func (b *Builder) buildSystem(ctx context.Context, ref Ref, rootDir string, refresh bool) (string, error) {
	ref, x, err := b.examineSystem(ctx, ref, refresh)
	if err != nil {
		return "", err
	}
	link, err := newRoot(rootDir)
	if err != nil {
		return "", err
	}
	args := []string{"--no-link"}
	if link != "" {
		args = []string{"--out-link", link}
	}
	t := newTracker(b.sink, ref)
	out, err := b.run(ctx, t, b.argv("build", append(args, noEvalCache()...), x.wrapper+"#system"))
	if err != nil {
		return "", b.failure(ctx, ref, t, err)
	}
	_, path, err := parseBuilt(out.Stdout)
	if err != nil {
		return "", fault.New(fault.Build, "nix built %s, but %w", ref.subject(), err)
	}
	return path, settleRoot(rootDir, link, path)
}

// Target is another machine's nix store, which is reached by ssh.
type Target struct {
	// Host is what ssh calls the machine, Config a file of ssh's configuration that says
	// how to get there. Its path has no blanks in it: nix could not pass it on.
	Host, Config string
	// Sudo lets nix there work as root, where the login is not.
	Sudo bool
	// From is where the path is; nil is here. Config says how to get there, too.
	From *There
	// Machine is what people call it.
	Machine string
}

// sshOptions is the environment variable that tells nix's ssh.
func (t Target) sshOptions() string { return "NIX_SSHOPTS=-F " + t.Config }

// Copied is what a copy came to.
type Copied struct {
	// Paths are the store paths that were not there yet, Bytes what they take.
	Paths int   `json:"paths"`
	Bytes int64 `json:"bytes"`
}

// Copy copies a store path with all that it needs to another store, where it must not
// exist yet. Nothing keeps it there.
func (b *Builder) Copy(ctx context.Context, path string, to Target) (Copied, error) {
	ref := Ref{Flake: path, Display: path, TaskID: to.Machine + "/copy"}
	event := progress.Event{ID: ref.TaskID, Text: "copy the system to " + to.Machine}
	b.sink.Emit(event)
	t := newTracker(progress.Func(func(e progress.Event) {
		if e.Text = event.Text; e.Detail == "evaluating the flake" {
			e.Detail = ""
		}
		b.sink.Emit(e)
	}), ref)
	cmd := proc.Cmd{
		Path: b.nix, Args: b.copyArgv(path, to), OnStderr: t.line,
		Env: append(b.environ(), to.sshOptions()),
	}
	b.log.DebugContext(ctx, "run", "cmd", cmd)
	_, err := proc.Run(ctx, cmd)
	done := Copied{Paths: len(t.copies), Bytes: b.sizes(ctx, t.copies, to)}
	if err != nil {
		err = b.copyError(ctx, to, t, err)
		event.Status, event.Err = progress.Failed, err
		b.sink.Emit(event)
		return done, err
	}
	event.Status, event.Detail = progress.Done, done.String()
	b.sink.Emit(event)
	return done, nil
}

// sizes is what store paths take together, 0 where nix does not say: older ones tell of no
// bytes while they copy.
func (b *Builder) sizes(ctx context.Context, paths []string, to Target) (sum int64) {
	const most = 5000 // a command line takes no more
	if len(paths) == 0 || len(paths) > most {
		return 0
	}
	args := append([]string{"--extra-experimental-features", "nix-command", "path-info", "--size"}, b.settings...)
	if to.From != nil {
		args = append(args, "--store", to.From.store())
	}
	res, err := proc.Run(ctx, proc.Cmd{Path: b.nix, Args: append(append(args, "--"), paths...), Env: append(b.environ(), to.sshOptions())})
	if err != nil {
		return 0
	}
	return parseSizes(string(res.Stdout))
}

// String is the copy for people.
func (c Copied) String() string {
	switch c.Paths {
	case 0:
		return "all of it was there"
	case 1:
		return "1 store path, " + mebibytes(c.Bytes)
	}
	return fmt.Sprintf("%d store paths, %s", c.Paths, mebibytes(c.Bytes))
}

// copyArgv is nix's command line for a copy. The older of nix's two protocols is the one
// that every version speaks, and it needs no daemon there.
func (b *Builder) copyArgv(path string, to Target) []string {
	program := "nix-store"
	if to.Sudo {
		program = "sudo%20-n%20nix-store"
	}
	argv := append([]string{"--extra-experimental-features", "nix-command", "copy"}, b.settings...)
	if to.From != nil {
		argv = append(argv, "--from", to.From.store())
	}
	return append(argv, "--no-check-sigs", "--to", "ssh://"+to.Host+"?remote-program="+program, "--log-format", "internal-json", "--", path)
}

// copyError is one sentence about a copy that broke.
func (b *Builder) copyError(ctx context.Context, to Target, t *tracker, err error) error {
	if ctx.Err() != nil {
		return b.processError(ctx, err)
	}
	said := strings.Join(append(t.plain, t.raw()), "\n")
	switch {
	case strings.Contains(said, "No space left on device"):
		return fault.New(fault.Refused, "the system does not fit into %s: its disk is full", to.Machine).
			WithHint("make disk: larger and run vmctl up %[1]s, or remove what is no longer used: vmctl exec %[1]s nix-collect-garbage -d", to.Machine)
	case strings.Contains(said, "sudo:"):
		return fault.New(fault.Refused, "the login to %s may not become root without a password", to.Machine).
			WithHint("let it use sudo without one (NixOS: security.sudo.wheelNeedsPassword = false), or write ssh: {user: root} in the definition")
	case strings.Contains(said, "nix-store: command not found"), strings.Contains(said, "nix-store: not found"):
		return fault.New(fault.Refused, "%s has no nix: its system cannot be changed while it runs", to.Machine)
	}
	why := "nix does not say why"
	if p, ok := t.cause(); ok {
		why = oneSentence(p.text)
	}
	f := fault.New(fault.Other, "the system could not be copied to %s: %s", to.Machine, why).
		WithHint("vmctl ssh %s shows whether it can be reached; what was copied is kept, and the next run goes on from there", to.Machine)
	if len(t.plain) > 0 {
		f = f.WithDetails(strings.Join(t.plain[max(0, len(t.plain)-10):], "\n"))
	}
	return f
}

package builder

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
	"vmctl/pkg/progress"
)

// New makes a Builder.
func New(o Options) *Builder {
	b := &Builder{nix: o.Nix, cacheDir: o.CacheDir, env: o.Env, log: o.Log, sink: o.Sink}
	if b.nix == "" {
		b.nix = "nix"
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.sink == nil {
		b.sink = progress.Discard
	}
	for _, key := range slices.Sorted(maps.Keys(o.Settings)) {
		b.settings = append(b.settings, "--option", key, o.Settings[key])
	}
	return b
}

// environ is what keeps nix and git from colours, pagers, translations and
// questions, and from running what a repository names as its monitor of files (core.fsmonitor); the
// caller's own changes come last.
func (b *Builder) environ() []string {
	own, err := strconv.Atoi(os.Getenv("GIT_CONFIG_COUNT"))
	if err != nil || own < 0 {
		own = 0
	}
	last := strconv.Itoa(own)
	return append([]string{
		"GIT_CONFIG_COUNT=" + strconv.Itoa(own+1), "GIT_CONFIG_KEY_" + last + "=core.fsmonitor", "GIT_CONFIG_VALUE_" + last + "=false",
		"TERM=dumb", "NO_COLOR=1", "PAGER=cat", "NIX_PAGER=cat", "GIT_PAGER=cat",
		"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C.UTF-8", "LANGUAGE=",
	}, b.env...)
}

// argv is a nix command line: the verb of one or two words, its own arguments, what never
// changes, and the installables where nothing is an option any more. --log-format stands
// last because nix obeys the last flag that chooses a format.
func (b *Builder) argv(verb string, args []string, installables ...string) []string {
	argv := append([]string{"--extra-experimental-features", "nix-command flakes"}, strings.Fields(verb)...)
	if verb != "copy" { // it gives nothing
		argv = append(argv, "--json")
	}
	argv = append(argv, "--no-accept-flake-config", "--no-write-lock-file", "--no-warn-dirty")
	argv = append(argv, b.settings...)
	argv = append(argv, args...)
	argv = append(argv, "--log-format", "internal-json", "--")
	return append(argv, installables...)
}

// run starts nix and feeds its events to the tracker.
func (b *Builder) run(ctx context.Context, t *tracker, argv []string) (proc.Result, error) {
	cmd := proc.Cmd{Path: b.nix, Args: argv, Env: b.environ(), OnStderr: t.line}
	b.log.DebugContext(ctx, "run", "cmd", cmd)
	res, err := proc.Run(ctx, cmd)
	if err != nil {
		b.log.DebugContext(ctx, "nix did not succeed", "error", err)
	}
	return res, err
}

// names are the flake's configurations, by name alone: none of them is evaluated.
func (b *Builder) names(ctx context.Context, ref Ref) ([]string, error) {
	t := newTracker(progress.Discard, ref)
	argv := b.argv("eval", []string{"--apply", "builtins.attrNames"}, ref.Flake+"#"+configurations)
	res, err := b.run(ctx, t, argv)
	if err != nil {
		if t.lacksAttribute() {
			return nil, nil
		}
		return nil, b.failure(ctx, ref, t, err)
	}
	names, err := parseNames(res.Stdout)
	if err != nil {
		return nil, fault.New(fault.Build, "nix listed the configurations of %s in a way vmctl cannot read: %w", ref.subject(), err)
	}
	return names, nil
}

// tracked asks git whether it tracks a file.
func (b *Builder) tracked(ctx context.Context, root, file string) bool {
	_, err := proc.Run(ctx, proc.Cmd{
		Path: "git", Args: []string{"-C", root, "ls-files", "--error-unmatch", "--", file}, Env: b.environ(),
	})
	return err == nil
}

// processError is for what went wrong around nix rather than in it.
func (b *Builder) processError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &fault.Error{Kind: fault.Timeout, Msg: "nix took too long and was stopped", Cause: err}
	case errors.Is(err, context.Canceled), ctx.Err() != nil:
		return &fault.Error{Kind: fault.Interrupted, Msg: "interrupted while nix was at work", Cause: err}
	case errors.Is(err, proc.ErrNotFound):
		return fault.New(fault.Build, "nix is needed to build an image: %w", err).
			WithHint("install nix (https://nixos.org/download, or `sudo apt install nix-bin` on Debian and Ubuntu), " +
				"or give a finished qcow2 file as image:")
	}
	return fault.New(fault.Build, "%w", err)
}

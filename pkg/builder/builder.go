// Package builder takes a flake to an image file by running the real nix. It
// shows nix's events as progress, turns a failure into one error with the cause
// first, keeps results alive with GC roots, and starts no process at all when
// nothing has changed.
//
// It must not look into the image (that is pkg/image's business), and never
// writes into the user's tree.
package builder

import (
	"log/slog"

	"vmctl/pkg/progress"
)

// Options are what a Builder works with. The zero value works.
type Options struct {
	// Nix is the nix program: a name looked up in PATH, or a path. Empty is "nix".
	Nix string
	// CacheDir is where is remembered what flakes built to; empty remembers nothing.
	CacheDir string
	// Env changes the environment of nix and git, as proc.Cmd.Env does.
	Env []string
	// Settings are nix.conf settings that go to nix as --option, such as "sandbox".
	Settings map[string]string
	// Log takes every command line; nil logs nothing.
	Log *slog.Logger
	// Sink takes progress; nil shows nothing.
	Sink progress.Sink
}

// Builder builds images. It is safe for concurrent use.
type Builder struct {
	nix      string
	cacheDir string
	env      []string
	settings []string
	log      *slog.Logger
	sink     progress.Sink
}

// Ref says what to build.
type Ref struct {
	// Flake is the absolute directory of a flake, or a flake URL such as github:owner/repo.
	Flake string
	// Attr is what follows # in the definition. Empty chooses; a name without dots is
	// nixosConfigurations.<name>.config.system.build.qcow2; one with dots is taken as it is.
	Attr string
	// Machine is the machine's name; with an empty Attr it takes part in the choice.
	Machine string
	// Display is the flake as the person wrote it, for messages; empty is Flake.
	Display string
	// TaskID is the ID of the progress events; empty is "build".
	TaskID string
	// Sources is what Look saw of the flake; nil lets Build look itself.
	Sources *Sources
}

// Result is a built image.
type Result struct {
	// Path is the image file; OutPath the store path it lies in.
	Path, OutPath string
	// Drv is the derivation, Attr the attribute path that was built.
	Drv, Attr string
	// Cached says that nothing had changed and no nix process was needed.
	Cached bool
}

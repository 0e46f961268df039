// Package builder takes a flake to an image file by running the real nix. It
// shows nix's events as progress, turns a failure into one error with the cause
// first, keeps results alive with GC roots, and starts no process at all when
// nothing has changed.
//
// It must not look into the image (that is pkg/image's business), and never
// writes into the user's tree.
package builder

import (
	"context"
	"encoding/json"
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
	// Attr is what follows # in the definition; parseGoal says what it may be. Empty chooses.
	Attr string
	// Machine is the machine's name; with an empty Attr it takes part in the choice.
	Machine string
	// Display is the flake as the person wrote it, for messages; empty is Flake.
	Display string
	// Firmware is what the machine boots with, "bios" or "efi", where the definition says
	// it; empty leaves it to the flake. An image that vmctl's module makes depends on it.
	Firmware string
	// NoKVM builds the image also where nix sees no KVM, by slow emulation.
	NoKVM bool
	// TaskID is the ID of the progress events; empty is "build".
	TaskID string
	// Sources is what Look saw of the flake; nil lets Build look itself.
	Sources *Sources
	// Ask is asked before nix is for what is not known yet, by Build and BuildThere; what it
	// refuses is not built. nil asks nobody.
	Ask func(ctx context.Context) error

	// done is what errors say could not be done with the flake; empty is "built".
	done string
}

// Origin says which state of a flake something was built from.
type Origin struct {
	// URL is the flake with everything that fixes its content.
	URL string `json:"url"`
	// Rev is the commit, empty when there is none or files differ from it: then Dirty is set.
	Rev   string `json:"rev"`
	Dirty bool   `json:"dirty"`
	// NarHash is the hash of its files.
	NarHash string `json:"narHash"`
	// Modified is when it was last changed, in seconds since 1970; 0 is unknown.
	Modified int64 `json:"modified"`
}

// Result is a built image.
type Result struct {
	// Path is the image file; OutPath the store path it lies in.
	Path, OutPath string
	// System is the store path of the system in the image, where it was asked for.
	System string
	// Drv is the derivation, Attr the attribute path that was built; of a plain
	// configuration, which vmctl makes an image of, its path.
	Drv, Attr string
	// Arch is the architecture that its derivation names, in libvirt's words; empty is unknown.
	// What is built for another one names that which builds.
	Arch string
	// Spec is the machine that the configuration describes, its vmctl.spec; nil when what
	// was built is no configuration.
	Spec json.RawMessage
	// Left are the mount points that are not in the image, because their file systems are
	// on disks that only the configuration's own machine has.
	Left []string
	// Origin is what the flake was.
	Origin Origin
	// Cached says that nothing had changed and no nix process was needed.
	Cached bool

	kept func() error
}

// Kept waits until nix keeps the result from its garbage collection. Of a cached result
// that takes a nix process, which runs beside what the caller does meanwhile: nothing may
// depend on the image before, nor the root directory be touched.
func (r Result) Kept() error {
	if r.kept == nil {
		return nil
	}
	return r.kept()
}

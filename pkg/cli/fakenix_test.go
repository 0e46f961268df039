package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"vmctl/pkg/builder"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

// fakeNix builds a flake by copying the disk.qcow2 in its directory into a store of
// the script's own, with the garbage collection root that nix would make.
type fakeNix struct {
	mu    sync.Mutex
	store string
	sink  progress.Sink
	built int
	// last is what flakes were built to.
	last map[string]builder.Result
}

func (n *fakeNix) tell(sink progress.Sink) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sink = sink
}

func (n *fakeNix) Version(context.Context) (builder.Version, error) {
	if _, err := os.Stat(filepath.Join(n.store, "..", "missing")); err == nil {
		return builder.Version{}, fault.New(fault.NotFound, "there is no program nix").WithHint("install nix: https://nixos.org/download")
	}
	return builder.Version{Text: "nix (Nix) 2.18.1", Flavour: builder.Nix, Major: 2, Minor: 18}, nil
}

func (n *fakeNix) Look(context.Context, builder.Ref) *builder.Sources { return nil }

func (n *fakeNix) Build(ctx context.Context, ref builder.Ref, rootDir string, _ bool) (builder.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	data, out, err := n.outcome(ref)
	if err != nil {
		return builder.Result{}, err
	}
	path := filepath.Join(out, "nixos.qcow2")
	_, gone := os.Stat(path)
	if gone != nil {
		if ref.Ask != nil {
			if err := ref.Ask(ctx); err != nil {
				return builder.Result{}, err
			}
		}
		n.built++
		if err := os.MkdirAll(out, 0o755); err != nil {
			return builder.Result{}, err
		}
		if err := os.WriteFile(path, data, 0o444); err != nil {
			return builder.Result{}, err
		}
	}
	if rootDir == "" {
		return n.result(ref, path, out, gone == nil), nil
	}
	if err := os.MkdirAll(rootDir, 0o700); err != nil {
		return builder.Result{}, err
	}
	link := filepath.Join(rootDir, "image-"+filepath.Base(out))
	_ = os.Symlink(out, link)
	if err := os.WriteFile(link+".ok", nil, 0o600); err != nil {
		return builder.Result{}, err
	}
	return n.result(ref, path, out, gone == nil), nil
}

func (n *fakeNix) result(ref builder.Ref, path, out string, cached bool) builder.Result {
	n.sink.Emit(progress.Event{ID: ref.TaskID, Text: "build " + ref.Display, Status: progress.Done})
	res := builder.Result{Path: path, OutPath: out, Attr: "nixosConfigurations." + ref.Machine + ".config.system.build.qcow2", Cached: cached}
	// What the configuration says of its machine, if it says anything.
	if said, err := os.ReadFile(filepath.Join(ref.Flake, "spec.json")); err == nil {
		res.Spec, res.Left = said, []string{"/home"}
	}
	n.last[ref.Flake+"#"+ref.Attr] = res
	return res
}

func (n *fakeNix) Recall(ref builder.Ref) (builder.Result, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	res, ok := n.last[ref.Flake+"#"+ref.Attr]
	return res, ok
}

// Offers are the words of the file offers beside the flake.
func (n *fakeNix) Offers(_ context.Context, ref builder.Ref) ([]string, error) {
	words, err := os.ReadFile(filepath.Join(ref.Flake, "offers"))
	if err != nil {
		return nil, fault.New(fault.Build, "%s could not be built: syntax error", ref.Display)
	}
	return strings.Fields(string(words)), nil
}

// outcome is what a flake would build to: the file, and where it would lie.
func (n *fakeNix) outcome(ref builder.Ref) ([]byte, string, error) {
	if _, err := os.Stat(ref.Flake); err != nil {
		return nil, "", fault.New(fault.NotFound, "there is no directory %s to build the image from", ref.Display).
			WithHint("create it with a flake.nix, or correct image: in the definition")
	}
	data, err := os.ReadFile(filepath.Join(ref.Flake, "disk.qcow2"))
	if err != nil {
		return nil, "", fault.New(fault.Build, "%s does not build", ref.Display).WithHint("see all of it: nix log")
	}
	// 32 letters that nix uses too.
	hash := fmt.Sprintf("%x", sha256.Sum256(data))[:32]
	hash = strings.ReplaceAll(hash, "e", "z")
	out := filepath.Join(n.store, hash+"-image")
	return data, out, nil
}

func (n *fakeNix) Evaluate(_ context.Context, ref builder.Ref, _ bool) (builder.Result, error) {
	_, out, err := n.outcome(ref)
	return builder.Result{OutPath: out, Attr: "nixosConfigurations." + ref.Machine + ".config.system.build.qcow2", Origin: builder.Origin{Rev: "0123456789abcdef", Dirty: true}}, err
}

func (n *fakeNix) BuildThere(context.Context, builder.Ref, builder.There, bool) (builder.Result, builder.Seen, error) {
	return builder.Result{}, builder.Seen{}, fault.New(fault.Build, "the nix of the scripts builds nowhere else")
}

func (n *fakeNix) EvaluateSystem(ctx context.Context, ref builder.Ref, refresh bool) (builder.Result, error) {
	res, err := n.Evaluate(ctx, ref, refresh)
	res.System = strings.TrimSuffix(res.OutPath, "-image") + "-nixos-system"
	return res, err
}

// BuildSystem has nothing to build it with.
func (n *fakeNix) BuildSystem(_ context.Context, ref builder.Ref, _ string, _ bool) (string, error) {
	return "", fault.New(fault.Build, "the system of %s does not build", ref.Display)
}

func (n *fakeNix) BuildSystemThere(ctx context.Context, ref builder.Ref, _ builder.There, refresh bool) (string, error) {
	return n.BuildSystem(ctx, ref, "", refresh)
}

func (n *fakeNix) Copy(context.Context, string, builder.Target) (builder.Copied, error) {
	return builder.Copied{}, fault.New(fault.Other, "nothing is copied")
}

package cli

import (
	"context"
	"crypto/sha256"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/image"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func buildCommand() *command {
	return &command{
		name: "build", group: build, takes: oneMachine, run: runBuild,
		summary: "Build a machine's image and print its path",
		about: []string{
			"Builds the image with nix, or finds that it is built already; downloads, unpacks and converts one that is not nix's; checks it, and prints the path of the image file and nothing else. " +
				"No libvirt host is needed. The image is kept from nix's garbage collection until vmctl down.",
		},
		options: imageOptions(),
		examples: []example{
			{"vmctl build example", ""},
			{`qemu-img info "$(vmctl build example)"`, "look at the image"},
		},
		json: `{
  "name": "example",
  "path": "/nix/store/8d4f…-nixos-disk-image/nixos.qcow2",
  "id": "nix-8d4fjrwy8yn6vqkq6ikdzzhqjm8w0hjp-15250d8b5a9fecf9",
  "format": "qcow2",
  "size": 4294967296,
  "fileSize": 1503657984,
  "attr": "nixosConfigurations.example.config.system.build.qcow2",
  "drv": "/nix/store/p1c4…-nixos-disk-image.drv",
  "cached": true,
  "digest": "sha256:9f2c…",
  "origin": ` + originJSON + `
}`,
	}
}

// buildResult is what build tells. Sizes are in bytes; attr and drv are empty for a
// file, which nobody builds.
type buildResult struct {
	Name     string    `json:"name"`
	Path     string    `json:"path"`
	ID       string    `json:"id"`
	Format   string    `json:"format"`
	Size     spec.Size `json:"size"`
	FileSize spec.Size `json:"fileSize"`
	Attr     string    `json:"attr"`
	Drv      string    `json:"drv"`
	Cached   bool      `json:"cached"`
	// Digest is of the file's bytes. Origin is where it came from, as far as it is known.
	Digest string        `json:"digest"`
	Origin engine.Origin `json:"origin"`
}

func runBuild(ctx context.Context, c *call, in *urfave.Context) error {
	t, err := c.declared(c.line.args[0])
	if err != nil {
		return err
	}
	t.noKVM = in.Bool("no-kvm")
	found, err := c.findImage(ctx, t, imageUse{session: !c.deps.Root, refresh: in.Bool("refresh")})
	if err != nil {
		return err
	}
	defer found.done()
	if err := c.keepBuild(t, found); err != nil {
		return err
	}
	if !c.json() {
		c.progress.Close()
		return c.print(found.image.Path + "\n")
	}
	digest, err := c.digest(ctx, t, found)
	if err != nil {
		return err
	}
	c.progress.Close()
	return ui.JSON(c.streams, buildResult{
		Name: t.name, Path: found.image.Path, ID: found.image.ID, Format: found.image.Format,
		Size: found.image.Size, FileSize: found.image.FileSize,
		Attr: found.built.Attr, Drv: found.built.Drv, Cached: found.built.Cached,
		Digest: digest, Origin: found.image.Origin,
	})
}

// digest is that of an image file's bytes. One that nix built is named by its store path
// and was not read for that: it is read now, once.
func (c *call) digest(ctx context.Context, t *target, f *foundImage) (string, error) {
	if sum, ok := strings.CutPrefix(f.image.ID, "sha256-"); ok && len(sum) == sha256.Size*2 {
		return "sha256:" + sum, nil
	}
	dirs, err := c.dirs()
	if err != nil {
		return "", err
	}
	read, err := image.Open(ctx, f.image.Path, image.Options{Cache: dirs.Cache, Progress: c.progress, Now: c.deps.Now, Task: t.name + "/digest"})
	if err != nil {
		return "", err
	}
	return "sha256:" + strings.TrimPrefix(read.ID, "sha256-"), nil
}

package image

import (
	"context"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

// FromBuild gives the image of a file that nix built, as FromStore does, whatever it is: one
// that is packed, or in a format that QEMU is not shown, is first made into one in
// opts.Cache, as Obtain does with any file.
func FromBuild(ctx context.Context, path, outPath string, session bool, opts Options) (engine.Image, error) {
	m := material{subject: subjectOf(path), at: path}
	// What is wrong with the file, FromStore says.
	if is, err := m.kind(); err == nil && (is.packed() || is.converted()) {
		return Obtain(ctx, spec.Image{Kind: spec.ImageFile, Ref: path}, path, opts)
	}
	return FromStore(ctx, path, outPath, opts.Source, session)
}

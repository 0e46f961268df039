package cli

import (
	"encoding/json"
	"strings"
	"time"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
	"vmctl/pkg/state"
)

// abandonTime bounds the question whether a machine is there after an up that failed.
const abandonTime = 5 * time.Second

// noteOrigin says in the image where it came from, and writes that down for image list
// and inspect when it is news.
func (c *call) noteOrigin(dirs state.Dirs, t *target, f *foundImage) {
	notes := dirs.Images()
	note := readImageNote(notes, f.image.ID)
	known, origin := note.Origin, originOf(t, f)
	isFlake := t.machine.Image.Kind == spec.ImageFlake
	same := known.Flake == origin.Flake && known.Attr == origin.Attr && known.Digest == origin.Digest
	switch {
	case known.Known() && same && (f.built.Cached || !isFlake):
		origin = known // nobody made it anew
	case known.Known() && known.Drv == origin.Drv && isFlake:
		origin.Made = known.Made // of other sources, and the same all the same
	case !f.built.Cached:
		origin.Made = c.deps.Now().UTC().Truncate(time.Second)
	}
	f.image.Origin = origin
	now := imageNote{Origin: origin, Path: f.image.Path, OutPath: f.built.OutPath, Format: f.image.Format, Capacity: f.image.Size}
	if now == note {
		notes.Tidy(f.image.ID)
		return
	}
	data, err := json.Marshal(now)
	if err == nil {
		err = notes.Write(f.image.ID, append(data, '\n'))
	}
	if err != nil {
		c.log.Debug("note where an image came from", "error", err)
	}
}

// flakeOrigin is what nix says of where a machine's image came from.
func flakeOrigin(t *target, built builder.Result) engine.Origin {
	return engine.Origin{
		Source: t.machine.Image.String(), Flake: t.flake().Flake, Attr: built.Attr, Drv: built.Drv,
		Rev: built.Origin.Rev, Dirty: built.Origin.Dirty, NarHash: built.Origin.NarHash,
	}
}

// originOf is where a machine's image came from, without the time.
func originOf(t *target, f *foundImage) engine.Origin {
	if t.machine.Image.Kind == spec.ImageFlake {
		return flakeOrigin(t, f.built)
	}
	o := engine.Origin{Source: f.image.Source}
	if sum, ok := strings.CutPrefix(f.image.ID, "sha256-"); ok {
		sum, _, _ = strings.Cut(sum, "-") // of what was converted, behind it to what
		o.Digest = "sha256:" + sum
	}
	return o
}

package builder

import (
	"context"
	"encoding/json"
	"slices"

	"vmctl/pkg/fault"
)

// The ways in which a configuration becomes an image, in the words of wrapper/outputs.nix,
// but for one that makes its own, as system.build.qcow2.
const (
	// kindWrapped is one that vmctl's module makes an image of.
	kindWrapped = "wrapped"
	// kindNone is one that neither makes an image nor can be extended.
	kindNone = "none"
	// kindAbsent is none at all.
	kindAbsent = "absent"
)

// answer is what the wrapper says of a flake.
type answer struct {
	// Names are the configurations there are, Name the one that is meant.
	Names []string
	Name  string
	Kind  string
	Spec  json.RawMessage
	Left  []string
}

// examined is what has to be known of a flake before it is built.
type examined struct {
	answer
	// installable is what nix builds, attr what it is called to people.
	installable string
	attr        attrPath
	// wrapper is the URL of vmctl's flake around it; empty when it was not needed.
	wrapper string
	origin  Origin
	// unlocked says that inputs were resolved anew, so that the same files may build to
	// something else tomorrow.
	unlocked bool
}

// examine asks nix what state the flake is in, then what of it is to be built. The
// first answer fixes a flake elsewhere for the second: a branch may move.
func (b *Builder) examine(ctx context.Context, ref Ref, g goal, refresh bool) (examined, error) {
	x := examined{}
	source, err := b.metadata(ctx, ref, refresh, &x)
	if err != nil {
		return x, err
	}
	if g.name == "" && g.path != nil && !ref.NoKVM {
		x.attr, x.installable = g.path, source+"#"+g.path.String()
		return x, nil
	}
	wrapper, err := b.wrap(ref, source, g)
	if err != nil {
		return x, err
	}
	x.wrapper = wrapper
	if g.name == "" && g.path != nil {
		x.attr, x.installable = g.path, wrapper+"#image"
		return x, nil
	}
	if err := b.ask(ctx, ref, wrapper, &x.answer); err != nil {
		return x, err
	}
	if err := x.refuse(ref, g); err != nil {
		return x, err
	}
	switch {
	case g.path != nil:
		x.attr = g.path
	case x.Kind == kindWrapped:
		x.attr = attrPath{configurations, x.Name}
	default:
		x.attr = image(x.Name)
	}
	x.installable = source + "#" + x.attr.String()
	if ref.NoKVM || g.path == nil && x.Kind == kindWrapped {
		x.installable = wrapper + "#image"
	}
	return x, nil
}

// refuse says why there is nothing to build.
func (a answer) refuse(ref Ref, g goal) error {
	slices.Sort(a.Names)
	switch {
	case a.Kind == kindAbsent && g.name != "":
		return missing(g.name, a.Names, ref)
	case a.Kind == kindAbsent:
		return undecided(a.Names, ref)
	case !validName(a.Name):
		return unusable(a.Name, ref)
	case a.Kind == kindNone && g.path == nil:
		return noImage(image(a.Name), ref)
	}
	return nil
}

// metadata asks what a flake is, and gives the URL under which the rest is asked.
func (b *Builder) metadata(ctx context.Context, ref Ref, refresh bool, x *examined) (string, error) {
	t := newTracker(b.sink, ref)
	var args []string
	if refresh && !ref.local() {
		args = []string{"--refresh"}
	}
	res, err := b.run(ctx, t, b.argv("flake metadata", args, ref.Flake))
	if err != nil {
		return "", b.failure(ctx, ref, t, err)
	}
	origin, fixed, err := parseFlake(res.Stdout)
	if err != nil {
		return "", fault.New(fault.Build, "nix describes the flake %s in a way vmctl cannot read: %w", ref.subject(), err)
	}
	x.unlocked, x.origin = t.unlocked, origin
	if ref.local() || !fixed || origin.URL == "" {
		return ref.Flake, nil
	}
	return origin.URL, nil
}

// ask evaluates the wrapper: once for the choice, the machine and what kind it is.
func (b *Builder) ask(ctx context.Context, ref Ref, wrapper string, into *answer) error {
	t := newTracker(b.sink, ref)
	res, err := b.run(ctx, t, b.argv("eval", noEvalCache(), wrapper+"#vmctl"))
	if err != nil {
		return b.failure(ctx, ref, t, err)
	}
	if *into, err = parseAnswer(res.Stdout); err != nil {
		return fault.New(fault.Build, "nix describes the configurations of %s in a way vmctl cannot read: %w", ref.subject(), err)
	}
	return nil
}

// Offers are the configurations of a flake, by name alone: none of them is evaluated.
func (b *Builder) Offers(ctx context.Context, ref Ref) ([]string, error) {
	ref.done = "read"
	ref, err := ref.check()
	if err != nil {
		return nil, err
	}
	show := b.show(ref, "read", "")
	names, err := b.names(ctx, ref)
	if err != nil {
		return nil, show.end(err, false, "")
	}
	slices.Sort(names)
	return names, show.end(nil, false, "")
}

package builder

import (
	"context"

	"vmctl/pkg/fault"
)

// outcome is a function of nix that says what a derivation would build to.
const outcome = "d: { drv = d.drvPath; out = (d.out or d).outPath; }"

// Evaluate says what Build would give, and builds nothing: of the Result, Path is not set,
// and OutPath need not exist. A flake that has not changed since it was built is not
// evaluated, unless refresh is set. The errors are those of Build.
func (b *Builder) Evaluate(ctx context.Context, ref Ref, refresh bool) (Result, error) {
	return b.tellEvaluation(ref, func() (Result, error) { return b.evaluate(ctx, ref, refresh) })
}

// tellEvaluation shows how an evaluation goes.
func (b *Builder) tellEvaluation(ref Ref, evaluate func() (Result, error)) (Result, error) {
	show := b.show(ref, "evaluate", "")
	res, err := evaluate()
	if err = show.end(err, res.Cached, ""); err != nil {
		return Result{}, err
	}
	return res, nil
}

func (b *Builder) evaluate(ctx context.Context, ref Ref, refresh bool) (Result, error) {
	ref, err := ref.check()
	if err != nil {
		return Result{}, err
	}
	goal, err := parseGoal(ref.Attr)
	if err != nil {
		return Result{}, err
	}
	if !refresh {
		if e, ok := b.cacheEntry(ref).unchanged(b.sources(ctx, ref)); ok {
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
	out, err := b.run(ctx, t, b.argv("eval", append(noEvalCache(), "--apply", outcome), x.installable))
	if err != nil {
		if ctx.Err() == nil && t.lacksAttribute() {
			return Result{}, b.lacks(ctx, ref, x.attr)
		}
		return Result{}, b.failure(ctx, ref, t, err)
	}
	drv, path, err := parseOutcome(out.Stdout)
	if err != nil {
		return Result{}, fault.New(fault.Build, "nix says what %s builds to in a way vmctl cannot read: %w", ref.subject(), err)
	}
	return Result{
		Drv: drv, OutPath: path, Attr: x.attr.String(), Spec: x.Spec, Left: x.Left, Origin: x.origin,
	}, nil
}

package builder

import (
	"context"
	"sync"
)

// Sources are what decides what a flake evaluates to, as they were at one moment.
type Sources struct{ seen func() fingerprint }

// Look begins to look at a flake's sources, which takes some milliseconds that can pass
// while something else is waited for; Build uses what was seen when it is in Ref.Sources.
// What is wrong with the flake, Build says. Looking ends with ctx.
func (b *Builder) Look(ctx context.Context, ref Ref) *Sources {
	ref, err := ref.check()
	if err != nil {
		return nil
	}
	seen := make(chan fingerprint, 1)
	go func() { seen <- b.fingerprint(ctx, ref) }()
	return &Sources{seen: sync.OnceValue(func() fingerprint { return <-seen })}
}

// sources is what was seen before, or is to be seen now.
func (b *Builder) sources(ctx context.Context, ref Ref) fingerprint {
	if ref.Sources != nil {
		return ref.Sources.seen()
	}
	return b.fingerprint(ctx, ref)
}

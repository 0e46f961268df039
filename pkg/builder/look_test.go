package builder

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLook: what was seen before counts, and what changed since is never remembered
// as what was seen.
func TestLook(t *testing.T) {
	l := newLab(t, counter())
	l.git("init")
	looked := func() Ref {
		ref := l.ref()
		ref.Sources = l.Look(t.Context(), ref)
		ref.Sources.seen()
		return ref
	}
	build := func(ref Ref) Result {
		res, err := l.build(ref)
		require.NoError(t, err)
		return res
	}
	first := build(looked())
	assert.False(t, first.Cached)
	assert.True(t, build(looked()).Cached)

	ref := looked()
	l.write(flakeDir+"/value", "2")
	ref.Sources.seen()
	l.write(flakeDir+"/value", "3")
	build(ref)
	last := build(looked())
	assert.NotEqual(t, first.OutPath, last.OutPath)
	assert.True(t, build(looked()).Cached)
}

func TestLookAtNothing(t *testing.T) {
	l := newLab(t, counter())
	ref := l.ref()
	ref.Flake += "-missing"
	assert.Nil(t, l.Look(t.Context(), ref), "Build says what is wrong")
}

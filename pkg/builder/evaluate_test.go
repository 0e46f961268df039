package builder

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

func TestEvaluateBuildsNothing(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	l.git("init")
	res, err := l.Evaluate(t.Context(), l.ref(), false)
	require.NoError(t, err)
	assert.NoFileExists(t, res.OutPath)
	assert.Empty(t, res.Path)

	built, err := l.build(l.ref())
	require.NoError(t, err)
	assert.Equal(t, res.OutPath, built.OutPath)
	assert.Equal(t, res.Drv, built.Drv)
	assert.Equal(t, res.Attr, built.Attr)

	runs := l.runs()
	again, err := l.Evaluate(t.Context(), l.ref(), false)
	require.NoError(t, err)
	assert.Equal(t, runs, l.runs(), "nothing has changed: nix is not asked")
	assert.Equal(t, built.OutPath, again.OutPath)
	assert.True(t, again.Cached)
	again, err = l.Evaluate(t.Context(), l.ref(), true)
	require.NoError(t, err)
	assert.Greater(t, l.runs(), runs, "refresh asks all the same")
	assert.False(t, again.Cached)

	l.write(filepath.Join(flakeDir, "flake.nix"), flakeOf(map[string]string{"build-qcow2": drv("image", goodScript+"\n# changed")}))
	changed, err := l.Evaluate(t.Context(), l.ref(), false)
	require.NoError(t, err)
	assert.NotEqual(t, built.OutPath, changed.OutPath)
	assert.NoFileExists(t, changed.OutPath)
}

func TestEvaluateFailsAsBuildDoes(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	ref := l.ref()
	ref.Attr = "misspelt"
	_, err := l.Evaluate(t.Context(), ref, false)
	require.Error(t, err)
	assert.Equal(t, fault.NotFound, fault.KindOf(err))
	assert.Equal(t, "evaluate images/test", l.recorder.events[0].Text)
	assert.Equal(t, progress.Failed, l.recorder.events[len(l.recorder.events)-1].Status)
	l.write(filepath.Join(flakeDir, "flake.nix"), "{ outputs = ")
	_, err = l.Evaluate(t.Context(), l.ref(), false)
	require.Error(t, err)
	assert.Equal(t, fault.Build, fault.KindOf(err))
}

package project_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/project"
)

// Whoever makes /tmp/domain must not decide what a command below /tmp runs.
func TestProjectsOfOthersAreNotFoundByChance(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a directory another user's; the end-to-end tests do it for both")
	}
	const other = 12345
	p := newProject(t, nil)
	deep := filepath.Join(p.Dir, "mine", "deep")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	definitions := filepath.Join(p.Dir, "domain")
	for _, theirs := range []string{p.Dir, definitions} {
		require.NoError(t, os.Lchown(theirs, other, other))
		_, err := project.Find(deep)
		require.ErrorContains(t, err, p.Dir+" is another user's")
		assert.Equal(t, fault.NotFound, fault.KindOf(err), "commands that need no project go on")
		assert.Contains(t, fault.HintOf(err), "-C "+p.Dir)

		found, err := project.Find(p.Dir)
		require.NoError(t, err, "who goes there or names it has chosen it")
		assert.Equal(t, p, found)
		t.Setenv("SUDO_UID", "12345")
		found, err = project.Find(deep)
		require.NoError(t, err, "root by sudo is who they were")
		assert.Equal(t, p, found)
		t.Setenv("SUDO_UID", "12346")
		_, err = project.Find(deep)
		require.Error(t, err)
		require.NoError(t, os.Lchown(theirs, 0, 0))
	}

	// One that is further up is found, as if theirs were not there.
	require.NoError(t, os.MkdirAll(filepath.Join(p.Dir, "mine", "domain"), 0o755))
	require.NoError(t, os.Lchown(filepath.Join(p.Dir, "mine", "domain"), other, other))
	found, err := project.Find(deep)
	require.NoError(t, err)
	assert.Equal(t, p, found)

	// A link to somewhere else is whose who made it.
	require.NoError(t, os.Rename(definitions, filepath.Join(p.Dir, "real")))
	require.NoError(t, os.Symlink("real", definitions))
	require.NoError(t, os.Lchown(definitions, other, other))
	_, err = project.Find(deep)
	require.Error(t, err)
}

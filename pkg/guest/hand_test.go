package guest_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/testenv"
)

// memory is a directory in memory.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vmctl-test-")
	if err != nil {
		testenv.Missing(t, "no /dev/shm")
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestHand(t *testing.T) {
	a, dir, out := newLocalAgent(t), memory(t), filepath.Join(t.TempDir(), "taken")
	pack := make([]byte, 300<<10)
	_, _ = rand.Read(pack)
	place, err := a.agent().Place(t.Context(), dir)
	require.NoError(t, err)
	require.NoError(t, place.Hand(t.Context(), `stat -c %a "$(dirname "$1")" >`+out+`.mode; cp "$1" `+out, pack))
	got, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(pack, got))
	mode, err := os.ReadFile(out + ".mode")
	require.NoError(t, err)
	assert.Equal(t, "700\n", string(mode))
	require.NoError(t, place.Remove(t.Context()))
	assert.Empty(t, names(t, dir), "nothing stays")
	assert.Empty(t, a.files, "no file stays open")
}

func TestAPlaceIsInMemory(t *testing.T) {
	a := newLocalAgent(t)
	_, err := a.agent().Place(t.Context(), t.TempDir()+"/absent")
	require.ErrorContains(t, err, "is not in memory")
	assert.Equal(t, fault.Refused, fault.KindOf(err))
	a.off["guest-exec"] = true
	_, err = a.agent().Place(t.Context(), memory(t))
	require.ErrorContains(t, err, "does not allow guest-exec")
	assert.Equal(t, fault.Refused, fault.KindOf(err))
}

func TestHandSaysWhatFailed(t *testing.T) {
	a, dir := newLocalAgent(t), memory(t)
	place, err := a.agent().Place(t.Context(), dir)
	require.NoError(t, err)
	err = place.Hand(t.Context(), `echo "no room" >&2; exit 3`, []byte(secretWord))
	require.ErrorContains(t, err, "no room")
	assert.NotContains(t, err.Error(), secretWord)
	a.off["guest-file-write"] = true
	err = place.Hand(t.Context(), "true", []byte(secretWord))
	require.ErrorContains(t, err, "does not allow guest-file-write")
	require.NoError(t, place.Remove(t.Context()))
	assert.Empty(t, names(t, dir))
}

const secretWord = "correct horse battery staple"

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

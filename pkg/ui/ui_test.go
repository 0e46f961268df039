package ui

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	if os.Getenv("VMCTL_UI_TEST_PIPE") != "" {
		os.Exit(writeUntilBroken())
	}
	if os.Getenv("VMCTL_UI_TEST_TERMINAL") != "" {
		os.Exit(showEverything())
	}
	goleak.VerifyTestMain(m)
}

// golden compares with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run the test with -update")
	assert.Equal(t, string(want), got)
}

// pipes gives streams that are pipes, and what was written to them.
func pipes() (s *Streams, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return Fixed(&bytes.Buffer{}, out, errs, 0), out, errs
}

// terminal gives streams that are a terminal of that width.
func terminal(columns int) (s *Streams, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return Fixed(&bytes.Buffer{}, out, errs, columns), out, errs
}

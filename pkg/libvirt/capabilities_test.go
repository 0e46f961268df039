package libvirt

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// What libvirt says of the host's CPU is what the kernel says.
func TestHostFeatures(t *testing.T) {
	_, closer, err := Open(t.Context(), testenv.Host(t))
	require.NoError(t, err)
	c := closer.(*conn)
	defer func() { require.NoError(t, c.Close()) }()
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(cpuinfo), "\nflags")
	line, _, _ := strings.Cut(rest, "\n")
	for _, feature := range []string{"sse2", "aes", "svm", "vmx"} {
		has, err := hasFeature(c.l, feature)
		require.NoError(t, err)
		assert.Equal(t, strings.Contains(line+" ", " "+feature+" "), has, feature)
	}
}

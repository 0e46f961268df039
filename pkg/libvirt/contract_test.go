package libvirt_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/testenv"
)

// node is an empty host of libvirt's test driver. A file of its own makes it private
// to the connection; test:///default would be shared by the whole process.
const node = `<node><cpu><mhz>1000</mhz><model>vmctl</model><active>2</active><nodes>1</nodes></cpu><memory>8000000</memory></node>`

func open(t *testing.T, uri string, options ...libvirt.Option) (*engine.Host, io.Closer) {
	t.Helper()
	h, c, err := libvirt.Open(t.Context(), uri, options...)
	require.NoError(t, err, "hint: %s", fault.HintOf(err))
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return h, c
}

func openTest(t *testing.T) *engine.Host {
	t.Helper()
	file := filepath.Join(t.TempDir(), "node.xml")
	require.NoError(t, os.WriteFile(file, []byte(node), 0o600))
	h, _ := open(t, "test://"+file)
	return h
}

func TestTestDriverKeepsTheContract(t *testing.T) {
	enginetest.Run(t, openTest, enginetest.Features{})
}

func TestLibvirtKeepsTheContract(t *testing.T) { realContract(t, testenv.Host(t)) }

func realContract(t *testing.T, uri string) {
	enginetest.Run(t, func(t *testing.T) *engine.Host {
		clean(t, uri)
		t.Cleanup(func() { clean(t, uri) })
		h, _ := open(t, uri)
		return h
	}, enginetest.Features{Content: true, Guests: true, Files: true})
}

// sessionVar says that this is the test binary run as the unprivileged user.
const sessionVar = "VMCTL_TEST_SESSION"

func TestSessionKeepsTheContract(t *testing.T) {
	testenv.Host(t)
	if os.Getenv(sessionVar) != "" {
		h, _ := open(t, testenv.Session)
		require.True(t, h.Session)
		require.True(t, h.Local)
		p, err := h.Pools.Pool(t.Context())
		require.NoError(t, err)
		require.Equal(t, testenv.TesterHome()+"/.local/share/libvirt/images/vmctl", p.Target)
		realContract(t, testenv.Session)
		return
	}
	cmd := testenv.AsTester(exec.Command(forTester(t), "-test.run=^TestSessionKeepsTheContract$", "-test.v"))
	cmd.Env = append(cmd.Env, sessionVar+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestSessionKeepsTheContract/Guest")
}

// forTester copies the test binary, which go test keeps where other users cannot reach it.
func forTester(t *testing.T) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	copied := filepath.Join(testenv.Dir(t, "tester"), "libvirt.test")
	require.NoError(t, os.WriteFile(copied, self, 0o755))
	testenv.Give(t, filepath.Dir(copied))
	return copied
}

// clean makes the private host empty again.
func clean(t *testing.T, uri string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // also in cleanups
	defer cancel()
	require.NoError(t, libvirt.Empty(ctx, uri), fmt.Sprint("emptying ", uri))
}

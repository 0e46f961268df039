package libvirt_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/testenv"
)

// noopVar makes the test binary do what an up does that finds nothing to do, and no more.
const noopVar = "VMCTL_TEST_NOOP"

// noop observes one machine as the engine does.
func noop() int {
	ctx := context.Background()
	h, c, err := libvirt.Open(ctx, os.Getenv(noopVar))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\nhint: %s\n", err, fault.HintOf(err))
		return 1
	}
	defer func() { _ = c.Close() }()
	_, err = h.Domains.Domain(ctx, enginetest.Machine)
	if err == nil {
		_, err = h.Pools.Pool(ctx)
	}
	if err == nil {
		_, err = h.Volumes.Volume(ctx, engine.RootVolume(enginetest.Machine))
	}
	if err != nil {
		return 1
	}
	return 0
}

// BenchmarkNoop compares whole processes: one that observes a machine, and virsh
// domstate. It reports the ratio.
func BenchmarkNoop(b *testing.B) {
	uri := testenv.Host(b)
	testenv.Tool(b, "virsh")
	h := machineOn(b, uri)
	defer func() { _ = h.Domains.DestroyDomain(context.Background(), enginetest.Machine) }()
	self, err := os.Executable()
	require.NoError(b, err)
	run := func(cmd *exec.Cmd) time.Duration {
		start := time.Now()
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s", out)
		return time.Since(start)
	}
	var ours, virsh time.Duration
	for b.Loop() {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), noopVar+"="+uri)
		ours += run(cmd)
		virsh += run(exec.Command("virsh", "-c", uri, "domstate", enginetest.Machine))
	}
	b.ReportMetric(float64(ours)/float64(virsh), "×virsh")
	b.ReportMetric(float64(virsh.Milliseconds())/float64(b.N), "virsh-ms")
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ours-ms")
}

// machineOn makes the contract's machine on an emptied host and starts it.
func machineOn(tb testing.TB, uri string, options ...libvirt.Option) *engine.Host {
	tb.Helper()
	ctx := context.Background()
	require.NoError(tb, libvirt.Empty(ctx, uri))
	h, c, err := libvirt.Open(ctx, uri, options...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, c.Close()) })
	d, err := enginetest.Prepare(ctx, h, true)
	require.NoError(tb, err)
	require.NoError(tb, h.Domains.DefineDomain(ctx, d))
	require.NoError(tb, h.Domains.StartDomain(ctx, enginetest.Machine, false))
	return h
}

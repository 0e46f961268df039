package libvirt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/testenv"
)

// defineMany defines domains that are foreign, or have the UUIDs of machines.
func defineMany(t *testing.T, n int, ours bool) {
	t.Helper()
	dir := testenv.Dir(t, "")
	var script strings.Builder
	for i := range n {
		name, id := fmt.Sprintf("many-%d", i), uuid.NewString()
		if ours {
			id = engine.UUID(name)
		}
		file := filepath.Join(dir, name)
		xml := fmt.Sprintf("<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>", name, id)
		require.NoError(t, os.WriteFile(file, []byte(xml), 0o644))
		fmt.Fprintf(&script, "define %s;", file)
	}
	virsh(t, script.String())
}

// goodbye is REMOTE_PROC_CONNECT_CLOSE.
const goodbye = 2

// How many calls a list takes does not grow with the number of domains, but for those
// whose records are wanted.
func TestCallsOfAList(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	t.Cleanup(func() { clean(t, uri) })
	link := testenv.RPC(t, testenv.Shape{})
	list := func(reading engine.Reading, domains int) int {
		t.Helper()
		link.Reset()
		h, c, err := libvirt.Open(t.Context(), link.URI())
		require.NoError(t, err)
		all, err := h.Domains.ListDomains(t.Context(), reading)
		require.NoError(t, err)
		require.Len(t, all, domains)
		require.NoError(t, c.Close())
		t.Log(link.Procedures())
		// The goodbye of the connection before may arrive after the reset.
		return link.Calls() - link.Procedures()[goodbye]
	}
	const most = 7 // connecting takes five of them
	assert.LessOrEqual(t, list(engine.Briefly, 0), most)
	defineMany(t, 30, false)
	assert.LessOrEqual(t, list(engine.Briefly, 30), most)
	assert.LessOrEqual(t, list(engine.WithRecords, 30), most, "no record of a foreign domain is read")
	clean(t, uri)
	defineMany(t, 30, true)
	assert.LessOrEqual(t, list(engine.Briefly, 30), most)
	assert.LessOrEqual(t, list(engine.WithRecords, 30), most+30)
}

// A connection that breaks in the middle of a list is said to be lost, and the next one works.
func TestListThatIsCut(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	t.Cleanup(func() { clean(t, uri) })
	defineMany(t, 10, true)
	link := testenv.RPC(t, testenv.Shape{Delay: 20 * time.Millisecond})
	h, c, err := libvirt.Open(t.Context(), link.URI())
	require.NoError(t, err)
	link.Reset()
	listed := make(chan error, 1)
	go func() {
		_, err := h.Domains.ListDomains(t.Context(), engine.WithRecords)
		listed <- err
	}()
	require.Eventually(t, func() bool { return link.Calls() > 2 }, time.Minute, time.Millisecond)
	link.Close()
	err = <-listed
	require.Equal(t, fault.Unreachable, fault.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "the connection to ")
	assert.Contains(t, fault.HintOf(err), "run the same command again")
	require.NoError(t, c.Close())

	again, _ := open(t, link.URI())
	all, err := again.Domains.ListDomains(t.Context(), engine.WithRecords)
	require.NoError(t, err)
	assert.Len(t, all, 10)
}

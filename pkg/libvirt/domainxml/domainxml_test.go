package domainxml_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt/domainxml"
	"vmctl/pkg/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// plain is a machine with nothing special.
func plain() domainxml.Config {
	return domainxml.Config{
		UUID: "5a4f6c1e-0000-5000-8000-0123456789ab",
		Machine: spec.Machine{
			Name: "example", Memory: 1536 * spec.MiB, CPUs: 2, Disk: 10 * spec.GiB,
			Accel: spec.AccelKVM, Firmware: spec.FirmwareBIOS, Network: "default",
		},
		Arch:     "x86_64",
		Root:     "/var/lib/libvirt/images/vmctl/example.root.qcow2",
		BasePath: "/nix/store/0123-image/nixos.qcow2", BaseFormat: "qcow2",
		Log:      "/var/lib/libvirt/images/vmctl/example.console.log",
		Vars:     "/var/lib/libvirt/images/vmctl/example.efi.vars",
		Metadata: `<vmctl:machine xmlns:vmctl="urn:vmctl:machine" version="1"></vmctl:machine>`,
	}
}

func port(address string, host, guest uint16, protocol string) spec.Port {
	return spec.Port{Address: netip.MustParseAddr(address), Host: host, Guest: guest, Protocol: protocol}
}

func TestRender(t *testing.T) {
	for name, change := range map[string]func(*domainxml.Config){
		"plain":           func(*domainxml.Config) {},
		"tcg":             func(c *domainxml.Config) { c.Machine.Accel = spec.AccelTCG },
		"efi":             func(c *domainxml.Config) { c.Machine.Firmware = spec.FirmwareEFI },
		"secure-boot":     func(c *domainxml.Config) { c.Machine.Firmware, c.Machine.SecureBoot = spec.FirmwareEFI, true },
		"aarch64":         func(c *domainxml.Config) { c.Arch = "aarch64" },
		"network-none":    func(c *domainxml.Config) { c.Machine.Network = spec.NetworkNone },
		"network-user":    func(c *domainxml.Config) { c.Machine.Network = spec.NetworkUser },
		"base-raw":        func(c *domainxml.Config) { c.BasePath, c.BaseFormat = "/srv/disk.raw", "raw" },
		"base-uploaded":   func(c *domainxml.Config) { c.BasePath = "/var/lib/libvirt/images/vmctl/base-x.qcow2" },
		"no-base-no-log":  func(c *domainxml.Config) { c.BasePath, c.Log, c.Vars, c.Metadata = "", "", "", "" },
		"memory-in-bytes": func(c *domainxml.Config) { c.Machine.Memory = 1_000_000_001 },
		"disks": func(c *domainxml.Config) {
			c.Disks = []domainxml.Disk{
				{Serial: "data", Path: "/pool/example.data.qcow2", Format: "qcow2", Cache: "writeback", IO: "threads", Discard: "unmap"},
				{Serial: "fast", Path: "/dev/disk/by-id/nvme-1", Format: "raw", Block: true, Cache: "none", IO: "native"},
				{Serial: "vault", Path: "/pool/vault", Format: "qcow2", Secret: "5a4f6c1e-0000-5000-8000-0123456789ac"},
				{Serial: "vmctl-seed", Path: "/pool/seed.img", Format: "raw", ReadOnly: true},
			}
		},
		"hostile": func(c *domainxml.Config) {
			c.Machine.Network = `a'/><evil b="<&>`
			c.Root, c.BasePath, c.Log = `/r'"<&>,x`, `/b'"<&>]]>`, "/l'\"<&>"
			c.Disks = []domainxml.Disk{{Serial: "s", Path: `/d'"<&>`, Format: "raw"}}
		},
		"ports": func(c *domainxml.Config) {
			c.Machine.Network = spec.NetworkUser
			c.Machine.Ports = []spec.Port{
				port("127.0.0.1", 2222, 22, "tcp"), port("0.0.0.0", 53, 53, "udp"), port("::ffff:10.0.0.1", 80, 8080, "tcp"),
			}
		},
		"tpm":         func(c *domainxml.Config) { c.Machine.TPM = true },
		"tpm-aarch64": func(c *domainxml.Config) { c.Machine.TPM, c.Arch = true, "aarch64" },
		"watchdog":    func(c *domainxml.Config) { c.Machine.Watchdog = spec.WatchdogPoweroff },
		"cpu": func(c *domainxml.Config) {
			c.Machine.CPU = spec.CPU{Model: "Haswell", Topology: spec.Topology{Sockets: 1, Cores: 1, Threads: 2}}
		},
		"cpu-maximum": func(c *domainxml.Config) { c.Machine.CPU.Model = spec.CPUMaximum },
		"hugepages":   func(c *domainxml.Config) { c.Machine.Hugepages = 2 * spec.MiB },
		"graphics":    func(c *domainxml.Config) { c.Machine.Graphics = spec.GraphicsVNC },
		"graphics-spice": func(c *domainxml.Config) {
			c.Machine.Graphics, c.Video, c.Arch = spec.GraphicsSpice, "vga", "aarch64"
		},
		"devices": func(c *domainxml.Config) {
			c.PCI = []string{"0000:01:00.0", "0000:0a:1f.7"}
			c.Machine.Devices = spec.HostDevices{PCI: []string{"10de:1b80", "0000:0a:1f.7"}, USB: []string{"046d:c52b"}}
		},
		"shares": func(c *domainxml.Config) {
			c.Machine.Hugepages = 2 * spec.MiB
			c.Shares = []domainxml.Share{
				{Share: spec.Share{Tag: "data", Source: "/srv/a, b", Target: "/mnt/data", ReadOnly: true}, Driver: spec.Share9p},
				{Share: spec.Share{Tag: "src", Source: "/home/me/src", Target: "/mnt/src"}, Driver: spec.ShareVirtiofs},
			}
			for _, s := range c.Shares {
				c.Mounts = append(c.Mounts, s.Fstab(s.Driver))
			}
		},
		"interfaces": func(c *domainxml.Config) {
			c.Machine.Network, c.Machine.Ports = "", []spec.Port{port("127.0.0.1", 2222, 22, "tcp")}
			c.Machine.Interfaces = cards()
		},
		"interfaces-passt": func(c *domainxml.Config) {
			c.Machine.Network, c.User = "", domainxml.UserPasst
			c.Machine.Ports = []spec.Port{port("127.0.0.1", 2222, 22, "tcp"), port("::1", 53, 53, "udp")}
			c.Machine.Interfaces = cards()
		},
		"fragments": func(c *domainxml.Config) {
			c.Machine.XML = []spec.Fragment{
				{At: "devices", Add: "<sound model='ich9'/>\n"},
				{At: "/devices/interface[1]", Add: "<mtu size='1400'/>"},
				{At: "domain/memtune", Add: "<hard_limit unit='GiB'>4</hard_limit>"},
				{At: "features/hyperv", Add: "<relaxed state='on'/>\n<vapic state='on'/>"},
				{At: "features/acpi", Add: "<!-- nothing but this -->"},
				{Add: "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n  <qemu:arg value='-snapshot'/>\n</qemu:commandline>"},
				{At: "devices/memballoon", Replace: "<memballoon model='none'/>"},
				{At: "clock/timer[3]", Remove: true},
			}
		},
		"systemd": func(c *domainxml.Config) {
			c.Machine.Systemd = spec.Systemd{Use: true, Hostname: "web.example.org", Keys: []string{"ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"}}
			c.Mounts = []string{"/dev/disk/by-id/virtio-data /data ext4 defaults 0 2"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := plain()
			change(&c)
			got, err := domainxml.Render(c)
			require.NoError(t, err)
			golden := filepath.Join("testdata", name+".xml")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err, "go test ./pkg/libvirt/domainxml -update makes it")
			require.Equal(t, string(want), got)
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*domainxml.Config)
		want   string
	}{
		{
			"accelerator", func(c *domainxml.Config) { c.Machine.Accel = spec.AccelAuto },
			`machine example: its accelerator is undecided ("auto")`,
		},
		{
			"network", func(c *domainxml.Config) { c.Machine.Network = "" },
			"machine example: its network is undecided",
		},
		{
			"architecture", func(c *domainxml.Config) { c.Arch = "s390x" },
			`machine example: guests of architecture "s390x" are not supported, only x86_64 and aarch64`,
		},
		{
			"secure boot on BIOS", func(c *domainxml.Config) { c.Machine.SecureBoot = true },
			"machine example: secure boot needs firmware: efi",
		},
		{
			"ports on a network", func(c *domainxml.Config) { c.Machine.Ports = []spec.Port{port("127.0.0.1", 1, 1, "tcp")} },
			`machine example: ports are forwarded by user networking only, not on network "default"`,
		},
		{
			"IPv6", func(c *domainxml.Config) {
				c.Machine.Network, c.Machine.Ports = spec.NetworkUser, []spec.Port{port("::1", 2222, 22, "tcp")}
			},
			"machine example: port 2222 cannot be forwarded from ::1: QEMU's user networking listens on IPv4 addresses only",
		},
		{
			"share", func(c *domainxml.Config) { c.Shares = []domainxml.Share{{Share: spec.Share{Tag: "src"}}} },
			`machine example: how share src gets into the guest is undecided ("")`,
		},
		{
			"card", func(c *domainxml.Config) { c.Machine.Interfaces = []spec.Interface{{Link: "x"}} },
			`machine example: a network card cannot be connected to "x"`,
		},
		{
			"PCI address", func(c *domainxml.Config) { c.PCI = []string{"10de:1b80"} },
			`machine example: "10de:1b80" is not the address of a PCI device`,
		},
		{
			"too much for SMBIOS", func(c *domainxml.Config) {
				c.Machine.Systemd = spec.Systemd{Use: true, Keys: []string{strings.Repeat("x", 40<<10)}}
			},
			"what the guest of example is told by SMBIOS takes 53.4KiB, and 48KiB are the most",
		},
		{
			"fragment for what is not there", func(c *domainxml.Config) {
				c.Machine.XML = []spec.Fragment{{At: "devices", Add: "<x/>"}, {At: "devices/interface[2]", Add: "<mtu/>"}}
			},
			"xml[1] of the definition, which adds something, cannot be applied: there is no interface[2] in the domain",
		},
		{
			"fragment that removes what is not there", func(c *domainxml.Config) {
				c.Machine.XML = []spec.Fragment{{At: "devices/rng", Remove: true}, {At: "devices/rng", Remove: true}}
			},
			"xml[1] of the definition, which removes something, cannot be applied: there is no devices/rng in the domain",
		},
		{
			"fragment that removes the disks with what they are in", func(c *domainxml.Config) {
				c.Machine.XML = []spec.Fragment{{At: "devices", Replace: "<devices/>"}}
			},
			"xml[0] of the definition, which replaces something, cannot be applied: it would change the domain's name, UUID, metadata or disks",
		},
		{
			"fragment that breaks out", func(c *domainxml.Config) {
				c.Machine.XML = []spec.Fragment{{At: "devices", Add: "</devices><name>evil</name><devices>"}}
			},
			"xml[0] of the definition, which adds something, cannot be applied: it would change the domain's name, UUID, metadata or disks",
		},
		{
			"fragment in a disk", func(c *domainxml.Config) {
				c.Machine.XML = []spec.Fragment{{At: "devices/disk", Add: "<readonly/>"}}
			},
			"xml[0] of the definition, which adds something, cannot be applied: it would change the domain's name, UUID, metadata or disks",
		},
		{
			"protocol", func(c *domainxml.Config) {
				c.Machine.Network, c.Machine.Ports = spec.NetworkUser, []spec.Port{port("127.0.0.1", 2222, 22, "tcp,x")}
			},
			`machine example: port 2222 cannot be forwarded by "tcp,x", only by tcp or udp`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := plain()
			c.change(&config)
			_, err := domainxml.Render(config)
			require.EqualError(t, err, c.want)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
		})
	}
}

// cards are one of each kind.
func cards() []spec.Interface {
	return []spec.Interface{
		{Link: spec.LinkNetwork, Name: "default", MAC: "52:54:00:00:00:01", Address: netip.MustParseAddr("192.168.122.9")},
		{Link: spec.LinkUser},
		{Link: spec.LinkBridge, Name: "br0", Model: "e1000e"},
		{Link: spec.LinkMacvtap, Name: "eth0"},
	}
}

func TestCardMAC(t *testing.T) {
	const uuid = "5a4f6c1e-0000-5000-8000-0123456789ab"
	assert.Equal(t, domainxml.MAC(uuid), spec.Interface{}.CardMAC(uuid, 0))
	assert.Equal(t, "52:54:00:00:00:01", spec.Interface{MAC: "52:54:00:00:00:01"}.CardMAC(uuid, 0))
	seen := map[string]bool{}
	for i := range 8 {
		seen[spec.Interface{}.CardMAC(uuid, i)] = true
	}
	assert.Len(t, seen, 8, "each card has an address of its own")
}

func TestMAC(t *testing.T) {
	assert.Equal(t, "52:54:00:67:89:ab", domainxml.MAC("5a4f6c1e-0000-5000-8000-0123456789ab"))
	assert.Equal(t, "52:54:00:00:00:0f", domainxml.MAC("f"), "never a panic")
}

// What a fragment replaces or removes is that, and nothing beside it.
func TestFragmentsReplaceAndRemove(t *testing.T) {
	config := plain()
	// Each may bring a device, for which there is room.
	config.Machine.XML = []spec.Fragment{{At: "a", Add: "<x/>"}, {At: "a", Add: "<x/>"}, {At: "a", Remove: true}}
	before, err := domainxml.Render(config)
	require.NoError(t, err)
	config.Machine.XML = []spec.Fragment{
		{At: "devices/rng", Remove: true},
		{At: "clock", Replace: "<clock offset='localtime'/>"},
		{At: "clock", Replace: "<clock offset='utc'>\n  <timer name='rtc' tickpolicy='catchup'/>\n</clock>\n<on_crash>preserve</on_crash>"},
		{At: "clock/timer", Remove: true},
	}
	after, err := domainxml.Render(config)
	require.NoError(t, err)
	element := func(name string) *regexp.Regexp {
		return regexp.MustCompile(`(?s) *<` + name + `[ >].*</` + name + `>\n`)
	}
	require.Regexp(t, element("rng"), before)
	want := element("rng").ReplaceAllString(before, "")
	want = element("clock").ReplaceAllString(want, "  <clock offset='utc'>\n  </clock>\n  <on_crash>preserve</on_crash>\n")
	assert.Equal(t, want, after)
}

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

// fixed is a card with an address of its own.
func fixed() spec.Interface {
	return spec.Interface{Link: spec.LinkNetwork, Name: "default", MAC: "52:54:00:00:00:01", Address: netip.MustParseAddr("192.168.122.50")}
}

// onDefault puts the machine's first card on the host's network, as declared and as made.
func (c *world) onDefault(was, want []spec.Interface, kept ...Reservation) {
	c.w.Machine.Network, c.w.Machine.Interfaces = "", want
	c.s.domain.Record.Network, c.s.domain.Record.Interfaces = "default", was
	*c.s.domain.Live.Record = *c.s.domain.Record
	c.s.network = map[string]Network{"default": {Name: "default", Active: true}}
	c.s.dhcp = map[string]DHCP{"default": {Subnets: []netip.Prefix{netip.MustParsePrefix("192.168.122.1/24")}, Reserved: kept}}
}

func TestPlanDevices(t *testing.T) {
	other := fixed()
	other.Address = netip.MustParseAddr("192.168.122.51")
	one := Reservation{fixed().MAC, fixed().Address}
	for name, c := range map[string]struct {
		change func(*world)
		want   string
	}{
		"devices": {
			func(c *world) {
				c.off()
				c.s.capabilities.TPM, c.s.capabilities.Graphics = true, []string{"vnc"}
				m := &c.w.Machine
				m.TPM, m.Watchdog, m.Graphics, m.CPU.Model = true, spec.WatchdogReset, spec.GraphicsVNC, spec.CPUMaximum
				m.CPU.Topology = spec.Topology{Sockets: 1, Cores: 2, Threads: 1}
			},
			"define domain example (tpm none → 2.0, watchdog none → reset, cpu.model none → maximum, " +
				"cpu.topology none → 1 sockets × 2 cores × 1 threads, graphics none → vnc)\nstart domain example (shut off)",
		},
		"a device less, for a guest that runs": {
			func(c *world) {
				c.s.domain.Record.Settings = []Setting{{"tpm", "2.0"}}
				c.s.domain.Live.Record.Settings = []Setting{{"tpm", "2.0"}}
			},
			"define domain example (tpm 2.0 → none), takes effect at the next boot\npending: tpm 2.0 → none",
		},
		"defaults written out": {
			func(c *world) {
				c.w.Machine.Watchdog, c.w.Machine.Graphics, c.w.Machine.CPU.Model = spec.WatchdogNone, spec.GraphicsNone, spec.CPUHost
			},
			"",
		},
		"fragments": {
			func(c *world) {
				c.off()
				c.s.domain.Record.Settings = []Setting{{"xml[0]", "domain/devices/{sound} (00000000)"}}
				c.w.Machine.XML = []spec.Fragment{{At: "devices", Add: "<sound model='ich9'/>"}, {Add: "<memtune/><title>x</title>"}}
			},
			"define domain example (xml[0] domain/devices/{sound} (00000000) → domain/devices/{sound} (f3b3ef22), " +
				"xml[1] none → domain/{memtune,title} (a2f88b6a))\nstart domain example (shut off)",
		},
		"shares": {
			func(c *world) {
				c.off()
				c.s.capabilities.Virtiofs = true
				c.s.domain.Record.Shares = []Share{{spec.Share{Tag: "old", Source: "/project/old", Target: "/mnt/old"}, spec.Share9p}}
				c.w.Machine.Shares = []spec.Share{{Tag: "src", Source: "/project", Target: "/mnt/src"}}
			},
			"define domain example (shares.src none → /project → /mnt/src, shares.old /project/old → /mnt/old → none)\nstart domain example (shut off)",
		},
		"a share that came by another way": {
			func(c *world) {
				share := spec.Share{Tag: "src", Source: "/project", Target: "/mnt/src"}
				c.w.Machine.Shares = []spec.Share{share}
				c.s.domain.Record.Shares = []Share{{share, spec.Share9p}}
				c.s.domain.Live.Record.Shares = []Share{{share, spec.ShareVirtiofs}}
			},
			"",
		},
		"an address": {
			func(c *world) { c.onDefault(nil, []spec.Interface{fixed()}); c.off() },
			"define domain example (interfaces[0] none → network default 192.168.122.50 52:54:00:00:00:01)\n" +
				"reserve address default (192.168.122.50 for 52:54:00:00:00:01)\nstart domain example (shut off)",
		},
		"an address that is kept": {
			func(c *world) { c.onDefault([]spec.Interface{fixed()}, []spec.Interface{fixed()}, one) },
			"",
		},
		"an address that was lost": {
			func(c *world) { c.onDefault([]spec.Interface{fixed()}, []spec.Interface{fixed()}) },
			"reserve address default (192.168.122.50 for 52:54:00:00:00:01)",
		},
		"another address": {
			func(c *world) { c.onDefault([]spec.Interface{fixed()}, []spec.Interface{other}, one); c.off() },
			"release address default (192.168.122.50 of 52:54:00:00:00:01: no longer asked for)\n" +
				"define domain example (interfaces[0] network default 192.168.122.50 52:54:00:00:00:01 → network default 192.168.122.51 52:54:00:00:00:01)\n" +
				"reserve address default (192.168.122.51 for 52:54:00:00:00:01)\nstart domain example (shut off)",
		},
		"two networks": {
			func(c *world) {
				c.off()
				c.w.Machine.Network = ""
				c.w.Machine.Interfaces = []spec.Interface{{Link: spec.LinkNetwork, Name: "a"}, {Link: spec.LinkUser}, {Link: spec.LinkNetwork, Name: "b"}}
				c.s.network = map[string]Network{"a": {Name: "a"}, "b": {Name: "b", Active: true}}
			},
			"start network a (inactive)\ndefine domain example (network user → a, interfaces[0] none → network a, interfaces[1] none → user, " +
				"interfaces[2] none → network b)\nstart domain example (shut off)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := settled()
			c.change(w)
			plan, err := w.e.plan(w.w, w.s, w.o)
			require.NoError(t, err)
			assert.Equal(t, c.want, plan.String())
		})
	}
}

func TestPlanDevicesRefused(t *testing.T) {
	gpu := Device{Kind: DevicePCI, Address: "0000:01:00.0", Numbers: "10de:1b80", Name: "NVIDIA GP104", Isolated: true}
	twin := gpu
	twin.Address = "0000:02:00.0"
	stick := Device{Kind: DeviceUSB, Numbers: "0951:1666"}
	for name, c := range map[string]struct {
		change func(*world)
		kind   fault.Kind
		want   string
	}{
		"tpm": {
			func(c *world) { c.w.Machine.TPM = true }, fault.Refused,
			"qemu:///system cannot give example a TPM 2.0: it has no swtpm",
		},
		"cpu": {
			func(c *world) { c.w.Machine.CPU.Model, c.s.capabilities.CPUModels = "Haswel", []string{"Haswell"} }, fault.Refused,
			"qemu:///system cannot give example the CPU Haswel: neither its hardware nor its emulation has it",
		},
		"huge pages": {
			func(c *world) {
				c.w.Machine.Hugepages, c.s.capabilities.Pages = 2*spec.MiB, []Pages{{2 * spec.MiB, 100}}
			}, fault.Refused,
			"example cannot run on huge pages: it needs 512 of 2MiB, and qemu:///system has set aside 100",
		},
		"huge pages of another size": {
			func(c *world) { c.w.Machine.Hugepages, c.s.capabilities.Pages = spec.GiB, []Pages{{2 * spec.MiB, 100}} }, fault.Refused,
			"qemu:///system has no huge pages of 1GiB",
		},
		"spice": {
			func(c *world) {
				c.w.Machine.Graphics, c.s.capabilities.Graphics = spec.GraphicsSpice, []string{"vnc"}
			}, fault.Refused, "QEMU on qemu:///system has no spice",
		},
		"a share on another machine": {
			func(c *world) { c.e.Host.Local, c.w.Machine.Shares = false, []spec.Share{{Tag: "src"}} }, fault.Refused,
			"example cannot share a directory: shares are directories of this machine, and qemu:///system is another one",
		},
		"no way to share": {
			func(c *world) {
				c.w.Machine.Shares = []spec.Share{{Tag: "src", Source: "/project"}}
				c.s.capabilities.NoVirtiofs = "virtiofsd is not installed on the host"
			}, fault.Refused,
			"qemu:///system cannot share the directory /project: virtiofsd is not installed on the host, and QEMU there has no 9p",
		},
		"no bridge": {
			func(c *world) {
				c.w.Machine.Network, c.w.Machine.Interfaces = "", []spec.Interface{{Link: spec.LinkBridge, Name: "br0"}}
				c.s.devices = []Device{{Kind: DeviceNet, Address: "eth0"}}
			}, fault.NotFound, "qemu:///system has no bridge br0",
		},
		"macvtap in a session": {
			func(c *world) {
				c.e.Host.Session = true
				c.w.Machine.Network, c.w.Machine.Interfaces = "", []spec.Interface{{Link: spec.LinkMacvtap, Name: "eth0"}}
			}, fault.Refused, "example cannot have a card beside eth0 on qemu:///system: macvtap takes rights that a session has not",
		},
		"no network": {
			func(c *world) {
				c.w.Machine.Network, c.w.Machine.Interfaces = "", []spec.Interface{{Link: spec.LinkUser}, {Link: spec.LinkNetwork, Name: "lab"}}
			}, fault.NotFound, "qemu:///system has no network lab: it has none",
		},
		"no PCI device": {
			func(c *world) { c.w.Machine.Devices.PCI = []string{"0000:09:00.0"} }, fault.NotFound,
			"qemu:///system has no PCI device 0000:09:00.0",
		},
		"two PCI devices": {
			func(c *world) { c.w.Machine.Devices.PCI, c.s.devices = []string{gpu.Numbers}, []Device{gpu, twin} }, fault.Refused,
			"qemu:///system has 2 PCI devices 10de:1b80, and one has to be named",
		},
		"one PCI device by two names": {
			func(c *world) {
				c.w.Machine.Devices.PCI, c.s.devices = []string{gpu.Numbers, gpu.Address}, []Device{gpu}
			}, fault.Invalid, "devices.pci names 0000:01:00.0 twice",
		},
		"no IOMMU": {
			func(c *world) {
				gpu := gpu
				gpu.Isolated = false
				c.w.Machine.Devices.PCI, c.s.devices = []string{gpu.Address}, []Device{gpu}
			}, fault.Refused, "the PCI device 0000:01:00.0 (NVIDIA GP104) cannot be given to a guest: the host has no IOMMU for it",
		},
		"no USB device": {
			func(c *world) { c.w.Machine.Devices.USB, c.s.devices = []string{"046d:c52b"}, []Device{stick} }, fault.NotFound,
			"qemu:///system has no USB device 046d:c52b",
		},
		"an address outside of the network": {
			func(c *world) {
				card := fixed()
				card.Address = netip.MustParseAddr("10.0.0.1")
				c.onDefault(nil, []spec.Interface{card})
			}, fault.Refused, "the address 10.0.0.1 cannot be fixed: network default has 192.168.122.0/24",
		},
		"an address that another card has": {
			func(c *world) {
				c.onDefault(nil, []spec.Interface{fixed()}, Reservation{"52:54:00:ff:ff:ff", fixed().Address})
			}, fault.Refused,
			"the address 192.168.122.50 of network default is kept for another card, 52:54:00:ff:ff:ff",
		},
		"a card that has another address": {
			func(c *world) {
				c.onDefault(nil, []spec.Interface{fixed()}, Reservation{fixed().MAC, netip.MustParseAddr("192.168.122.9")})
			}, fault.Refused,
			"network default keeps 192.168.122.9 for the card 52:54:00:00:00:01, and vmctl did not ask for it",
		},
		"a network without DHCP": {
			func(c *world) { c.onDefault(nil, []spec.Interface{fixed()}); c.s.dhcp = nil }, fault.Refused,
			"the address 192.168.122.50 cannot be fixed: network default has no DHCP server of libvirt's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := settled()
			w.s.capabilities.CPUModels = nil
			c.change(w)
			_, err := w.e.plan(w.w, w.s, w.o)
			require.EqualError(t, err, c.want)
			assert.Equal(t, c.kind, fault.KindOf(err))
			assert.NotEmpty(t, fault.HintOf(err))
		})
	}
}

// What the host has is found by each of its names.
func TestPlanPassThrough(t *testing.T) {
	w := settled()
	w.w.Machine.Devices = spec.HostDevices{PCI: []string{"10de:1b80"}, USB: []string{"0951:1666"}}
	w.s.devices = []Device{
		{Kind: DevicePCI, Address: "0000:01:00.0", Numbers: "10de:1b80", Isolated: true}, {Kind: DeviceUSB, Numbers: "0951:1666"},
	}
	p := &planner{e: w.e, w: w.w, s: w.s, plan: &Plan{}}
	d, err := p.definition()
	require.NoError(t, err)
	assert.Equal(t, []string{"0000:01:00.0"}, d.PCI)
}

func TestPlanShares(t *testing.T) {
	w := settled()
	w.w.Machine.Shares = []spec.Share{
		{Tag: "docs", Source: "/srv/docs", Target: "/mnt/docs", ReadOnly: true}, {Tag: "src", Source: "/project/src", Target: "/mnt/src"},
	}
	w.s.capabilities.Virtiofs, w.s.capabilities.NinePFS = true, true
	p := &planner{e: w.e, w: w.w, s: w.s, plan: &Plan{}}
	d, err := p.definition()
	require.NoError(t, err)
	assert.Equal(t, []spec.ShareDriver{spec.Share9p, spec.ShareVirtiofs}, []spec.ShareDriver{d.Shares[0].Driver, d.Shares[1].Driver})
	assert.Equal(t, d.Shares, d.Record.Shares)
	assert.Equal(t, []string{
		"docs /mnt/docs 9p ro,trans=virtio,version=9p2000.L,msize=524288,nofail 0 0", "src /mnt/src virtiofs rw,nofail 0 0",
	}, d.Mounts)
	assert.Equal(t, []string{
		"share docs gives the guest /srv/docs, which is outside of the project",
		"share docs goes by 9p: the virtiofs of libvirt before 11.0 cannot keep a guest from writing",
	}, p.plan.Notes)

	w.s.readOnlyVirtiofs = true
	p = &planner{e: w.e, w: w.w, s: w.s, plan: &Plan{}}
	d, err = p.definition()
	require.NoError(t, err)
	assert.Equal(t, spec.ShareVirtiofs, d.Shares[0].Driver)
	assert.Equal(t, "docs /mnt/docs virtiofs ro,nofail 0 0", d.Mounts[0])
	assert.NotContains(t, strings.Join(p.plan.Notes, "\n"), "9p")
}

// <readonly/> means something for virtiofs since libvirt 11.0.
func TestReadOnlyVirtiofs(t *testing.T) {
	for version, want := range map[string]bool{"9.0.0": false, "10.10.0": false, "11.0.0": true, "12.1.0": true, "": false} {
		assert.Equal(t, want, keepsReadOnly(version), version)
	}
}

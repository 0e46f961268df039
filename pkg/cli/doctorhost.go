package cli

import (
	"context"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// lowSpace is less than a small image needs.
const lowSpace = 2 * spec.GiB

// checkHost looks at the libvirt host. Without a connection nothing else can be said.
func (c *call) checkHost(ctx context.Context) []check {
	uri, err := c.uri("")
	if err != nil {
		return []check{failed("libvirt", err)}
	}
	return c.checkHostAt(ctx, uri)
}

func (c *call) checkHostAt(ctx context.Context, uri string) []check {
	host, err := c.host(ctx, uri)
	if err != nil {
		return []check{failed("libvirt", err)}
	}
	can, err := host.Inspector.Capabilities(ctx)
	if err != nil {
		qemu := failed("qemu", err)
		if qemu.Hint == "" {
			qemu.Hint = "install QEMU on the host (Debian and Ubuntu: apt install qemu-system-x86 qemu-utils)"
		}
		return []check{fine("libvirt", "answers on %s", host.URI), qemu}
	}
	versions, err := host.Inspector.Versions(ctx)
	if err != nil {
		return []check{failed("libvirt", err)}
	}
	checks := []check{fine("libvirt", "version %s on %s", versions.Libvirt, host.URI)}
	checks = append(checks, checkGuests(can, versions.Hypervisor)...)
	return append(checks, checkPool(ctx, host), checkNetwork(ctx, host))
}

// checkGuests says what guests can be run with.
func checkGuests(can engine.Capabilities, hypervisor string) []check {
	qemu := fine("qemu", "%s for %s", hypervisor, can.Arch)
	kvm := fine("kvm", "works")
	if !can.KVM {
		kvm = fine("kvm", "guests run under software emulation, which is slow: %s", can.NoKVM).
			warn("switch virtualisation on in the machine's firmware (in a virtual machine: nested virtualisation), load kvm_intel or kvm_amd, and let the user open /dev/kvm")
	}
	firmware := fine("firmware", "BIOS, UEFI and UEFI with Secure Boot")
	switch {
	case !can.EFI:
		firmware = fine("firmware", "BIOS only: machines with firmware: efi cannot run").
			warn("install UEFI firmware on the host (Debian and Ubuntu: apt install ovmf)")
	case !can.SecureBoot:
		firmware = fine("firmware", "BIOS and UEFI, without Secure Boot")
	}
	return []check{qemu, kvm, firmware}
}

func checkPool(ctx context.Context, host *engine.Host) check {
	pool, err := host.Pools.Pool(ctx)
	if err != nil {
		return failed("pool", err)
	}
	switch {
	case pool.State == engine.PoolAbsent:
		return fine("pool", "not there yet; vmctl up makes it in %s", pool.Target)
	case pool.State == engine.PoolInactive:
		return fine("pool", "%s is not active; vmctl up starts it", pool.Name)
	case pool.Available < lowSpace:
		return fine("pool", "%s in %s has only %s free", pool.Name, pool.Target, pool.Available).
			warn("make room on the file system of %s on the host", pool.Target)
	}
	return fine("pool", "%s in %s, %s free", pool.Name, pool.Target, pool.Available)
}

// checkNetwork looks at the network that machines get by default.
func checkNetwork(ctx context.Context, host *engine.Host) check {
	if host.Session {
		return fine("network", "user networking, which needs nothing on the host")
	}
	network, err := host.Networks.Network(ctx, spec.NetworkDefault)
	switch {
	case fault.Is(err, fault.NotFound):
		return fine("network", "the host has no network called %s: machines that name no network cannot run", spec.NetworkDefault).
			warn("write network: user in definitions, or make the network: virsh -c %s net-define /usr/share/libvirt/networks/default.xml", ansi.ShellWord(host.URI))
	case err != nil:
		return failed("network", err)
	case !network.Active:
		return fine("network", "%s is not active; vmctl up starts it", network.Name)
	}
	return fine("network", "%s is active", network.Name)
}

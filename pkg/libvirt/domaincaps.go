package libvirt

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// domainCaps is what is read of the domain capabilities: what QEMU on the host can do,
// and libvirt with it.
type domainCaps struct {
	OS struct {
		Enums  []enumXML `xml:"enum"`
		Loader deviceCap `xml:"loader"`
	} `xml:"os"`
	CPU []struct {
		Name   string `xml:"name,attr"`
		Models []struct {
			Usable string `xml:"usable,attr"`
			Name   string `xml:",chardata"`
		} `xml:"model"`
	} `xml:"cpu>mode"`
	Devices struct {
		Graphics   deviceCap  `xml:"graphics"`
		Video      deviceCap  `xml:"video"`
		Filesystem *deviceCap `xml:"filesystem"`
		TPM        deviceCap  `xml:"tpm"`
		Interface  deviceCap  `xml:"interface"`
	} `xml:"devices"`
}

type deviceCap struct {
	Enums []enumXML `xml:"enum"`
}

func (d deviceCap) values(name string) []string {
	for _, e := range d.Enums {
		if e.Name == name {
			return e.Values
		}
	}
	return nil
}

// readDomainCapabilities asks what a guest as vmctl makes it can have.
func readDomainCapabilities(l *golibvirt.Connect, arch string, kvm bool) (*domainCaps, error) {
	machine, kind := "q35", "qemu"
	if arch != archX86 {
		machine = "virt"
	}
	if kvm {
		kind = "kvm"
	}
	text, err := l.GetDomainCapabilities("", arch, machine, kind, 0)
	if err != nil {
		return nil, err
	}
	return parseDomainCapabilities(text)
}

func parseDomainCapabilities(text string) (*domainCaps, error) {
	var d domainCaps
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		return nil, fault.New(fault.Other, "the host's domain capabilities cannot be read: %w", err)
	}
	return &d, nil
}

// into puts what was read into the engine's words; version is libvirt's on a session
// host. libvirt names the emulator of a TPM only where swtpm is installed.
func (d *domainCaps) into(out *engine.Capabilities, version string, at place) {
	out.EFI = offers(d.OS.Enums, "firmware", "efi")
	out.SecureBoot = out.EFI && offers(d.OS.Loader.Enums, "secure", "yes")
	out.Graphics, out.Video = d.Devices.Graphics.values("type"), d.Devices.Video.values("modelType")
	out.TPM = offers(d.Devices.TPM.Enums, "backendModel", "emulator")
	if versions := d.Devices.TPM.values("backendVersion"); versions != nil {
		out.TPM = out.TPM && slices.Contains(versions, "2.0")
	}
	out.Passt = offers(d.Devices.Interface.Enums, "backendType", "passt")
	for _, mode := range d.CPU {
		for _, model := range mode.Models {
			if mode.Name == "custom" && model.Usable != "no" {
				out.CPUModels = append(out.CPUModels, model.Name)
			}
		}
	}
	fs := d.Devices.Filesystem
	// Hosts before 7.10 do not tell, and all of them have 9p.
	out.NinePFS = fs == nil || offers(fs.Enums, "driverType", "path")
	out.NoVirtiofs = noVirtiofs(fs, version, at, virtiofsPrograms())
	out.Virtiofs = out.NoVirtiofs == ""
}

// noVirtiofs says why directories cannot be shared by virtiofs, or nothing when they can.
func noVirtiofs(fs *deviceCap, libvirt string, at place, descriptions []string) string {
	switch {
	case fs == nil || !offers(fs.Enums, "driverType", "virtiofs"):
		return "QEMU and libvirt on the host have no virtiofs"
	case at.session && older(libvirt, 10):
		return "libvirt " + libvirt + " has no virtiofs in session mode"
	case at.local && !hasVirtiofsd(descriptions):
		return "virtiofsd is not installed on the host"
	}
	return ""
}

// older says that a version is before a major one.
func older(version string, major int) bool {
	var have int
	_, err := fmt.Sscanf(version, "%d.", &have)
	return err == nil && have < major
}

// virtiofsPrograms are the descriptions of vhost-user programs, where libvirt looks for
// them too. Source: QEMU's docs/interop/vhost-user.json.
func virtiofsPrograms() []string {
	var all []string
	for _, dir := range []string{"/etc/qemu", "/usr/share/qemu", "/usr/local/share/qemu", "/var/lib/qemu"} {
		found, _ := filepath.Glob(filepath.Join(dir, "vhost-user", "*.json")) // the pattern is well-formed
		all = append(all, found...)
	}
	return all
}

func hasVirtiofsd(descriptions []string) bool {
	for _, file := range descriptions {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var program struct{ Type, Binary string }
		if json.Unmarshal(text, &program) != nil || program.Type != "fs" {
			continue
		}
		if info, err := os.Stat(program.Binary); err == nil && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}

// hugePages adds up what the host's NUMA cells have set aside. The smallest pages are
// the ordinary ones.
func hugePages(host *hostXML) []engine.Pages {
	var all []engine.Pages
	for _, p := range host.Pages {
		size := spec.Size(p.Size) * spec.KiB
		if p.Unit != "KiB" || size < 64*spec.KiB {
			continue
		}
		i := slices.IndexFunc(all, func(known engine.Pages) bool { return known.Size == size })
		if i < 0 {
			i, all = len(all), append(all, engine.Pages{Size: size})
		}
		all[i].Total += p.Total
	}
	return all
}

package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"
)

// Watchdog is what happens when the guest stops feeding its watchdog.
type Watchdog string

// The watchdog's actions; WatchdogNone gives the guest no watchdog.
const (
	WatchdogNone     Watchdog = "none"
	WatchdogReset    Watchdog = "reset"
	WatchdogPoweroff Watchdog = "poweroff"
)

// Graphics is how the guest's screen is shown.
type Graphics string

// The kinds of screen; GraphicsNone gives the guest no graphics card.
const (
	GraphicsNone  Graphics = "none"
	GraphicsVNC   Graphics = "vnc"
	GraphicsSpice Graphics = "spice"
)

// CPU models that are not the name of one.
const (
	// CPUHost is all that the host's CPU has; under software emulation it is CPUMaximum.
	CPUHost = "host"
	// CPUMaximum is all that the host can give a guest.
	CPUMaximum = "maximum"
)

// CPU is what the guest's CPU looks like.
type CPU struct {
	// Model is CPUHost, CPUMaximum or a name that libvirt knows; empty is CPUHost.
	Model string
	// Topology arranges the CPUs; the zero one leaves that to the hypervisor.
	Topology Topology
}

// Topology is how virtual CPUs are arranged. The product is the machine's number of CPUs.
type Topology struct{ Sockets, Cores, Threads int }

// CPUs is how many CPUs such a topology has.
func (t Topology) CPUs() int { return t.Sockets * t.Cores * t.Threads }

// String is the topology for people.
func (t Topology) String() string {
	return fmt.Sprintf("%d sockets × %d cores × %d threads", t.Sockets, t.Cores, t.Threads)
}

// HostDevices are devices of the host that the guest gets for itself.
type HostDevices struct {
	// PCI are addresses (0000:01:00.0) or VENDOR:DEVICE numbers (10de:1b80).
	PCI []string
	// USB are VENDOR:PRODUCT numbers (046d:c52b).
	USB []string
}

func tpmField() field {
	return field{
		Field: Field{
			Key: "tpm", Type: "true or false", Default: "false", Example: "true",
			Doc: "Give the guest a TPM 2.0 of its own, by swtpm on the host. What it holds stays with restarts, and is gone when the machine is taken down.",
		},
		words:  []string{"tpm2", "vtpm", "swtpm"},
		schema: truth(), read: func(p *parser, v value) { readBool(p, v, &p.m.TPM) },
	}
}

func watchdogField() field {
	return field{
		Field: Field{
			Key: "watchdog", Type: "none, reset or poweroff", Default: string(WatchdogNone), Example: "reset",
			Doc: "What happens to a guest that has begun to feed its watchdog (an i6300esb) and stops: it is reset, or powered off.",
		},
		schema: oneOf(WatchdogNone, WatchdogReset, WatchdogPoweroff),
		read: func(p *parser, v value) {
			readWord(p, v, &p.m.Watchdog, WatchdogNone, WatchdogReset, WatchdogPoweroff)
		},
	}
}

func graphicsField() field {
	return field{
		Field: Field{
			Key: "graphics", Type: "none, vnc or spice", Default: string(GraphicsNone), Example: "vnc",
			Doc: "Give the guest a screen, keyboard and pointer, served on the host's loopback address. vmctl view opens it, vmctl screenshot takes a picture of it.",
		},
		words:  []string{"display", "video", "vnc", "spice", "screen"},
		schema: oneOf(GraphicsNone, GraphicsVNC, GraphicsSpice),
		read: func(p *parser, v value) {
			readWord(p, v, &p.m.Graphics, GraphicsNone, GraphicsVNC, GraphicsSpice)
		},
	}
}

const (
	cpuModelPattern = `^[A-Za-z0-9][A-Za-z0-9_.-]*$`
	cpuModelLength  = 64
	maxHugepage     = 16 * GiB
	defaultHugepage = 2 * MiB
)

func hugepagesField() field {
	return field{
		Field: Field{
			Key: "hugepages", Type: "true, false or a page size", Default: "false", Example: "2MiB",
			Doc: "Take the guest's memory from the host's huge pages, which have to be set aside there first; true is pages of 2MiB.",
		},
		words:  []string{"huge-pages", "hugepage", "hugetlb"},
		schema: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{truth(), text(sizePattern, sizeLength)}},
		read: func(p *parser, v value) {
			if b, ok := v.node.(*ast.BoolNode); ok {
				if b.Value {
					p.m.Hugepages = defaultHugepage
				}
				return
			}
			readSize(p, v, &p.m.Hugepages, 64*KiB, maxHugepage, 64*KiB)
		},
	}
}

func cpuField() field {
	return single(field{
		Field: Field{
			Key: "cpu", Type: "model, or mapping", Default: "all that the host's CPU has, arranged as the hypervisor likes",
			Example: `{"model": "host", "topology": {"sockets": 1, "cores": 2, "threads": 1}}`,
			Doc:     "What the guest's CPU looks like.",
		},
		words: []string{"cpu-model", "cpumodel", "processor"},
	}, record[CPU]{
		what: "cpu", example: "cpu: {model: host}", fields: cpuFields,
		short: func(p *parser, v value, t *CPU) {
			if _, isText := v.node.(*ast.StringNode); !isText {
				s, _ := scalarText(v.node)
				p.mismatch(v, "a CPU model or cpu's keys", fmt.Sprintf("how many there are is cpus: %s", s))
				return
			}
			readCPUModel(p, v, t)
		},
		shortSchema: text(cpuModelPattern, cpuModelLength),
	}, func(p *parser, cpu CPU) { p.m.CPU = cpu })
}

func cpuFields(t *CPU) fieldTable {
	count := func(key, doc string, dst *int) field {
		return field{
			Field:  Field{Key: key, Type: "number", Default: "1", Example: "1", Doc: doc},
			schema: number(1, maxCPUs), read: func(p *parser, v value) { readCount(p, v, dst) },
		}
	}
	return fieldTable{
		{
			Field: Field{
				Key: "model", Type: "host, maximum or a model's name", Default: CPUHost, Example: "Skylake-Client",
				Doc: "host is the host's own CPU (all that can be emulated under software emulation), maximum is all that the hypervisor can give; " +
					"other names are those that virsh cpu-models x86_64 lists.",
			},
			words:  []string{"type", "name"},
			schema: text(cpuModelPattern, cpuModelLength),
			read:   func(p *parser, v value) { readCPUModel(p, v, t) },
		},
		single(field{
			Field: Field{
				Key: "topology", Type: "mapping", Default: "one socket for each CPU", Example: `{"sockets": 1, "cores": 2, "threads": 1}`,
				Doc: "How the CPUs are arranged; sockets × cores × threads must be cpus.",
			},
		}, record[Topology]{
			what: "a topology", example: "topology: {sockets: 1, cores: 2}",
			fresh: func(string) Topology { return Topology{1, 1, 1} },
			fields: func(t *Topology) fieldTable {
				return fieldTable{
					count("sockets", "How many sockets there are.", &t.Sockets),
					count("cores", "How many cores are in each socket.", &t.Cores),
					count("threads", "How many threads run in each core.", &t.Threads),
				}
			},
		}, func(_ *parser, topology Topology) { t.Topology = topology }),
	}
}

func readCPUModel(p *parser, v value, t *CPU) {
	s, ok := p.text1(v, "host, maximum or a model's name", "")
	switch {
	case !ok:
	case !regexp.MustCompile(cpuModelPattern).MatchString(s) || len(s) > cpuModelLength:
		p.add(v.at, v.path, quote(s)+" is not a CPU model", "write host, maximum or a name that virsh cpu-models x86_64 lists")
	default:
		t.Model = s
	}
}

// readCount takes a small number, at least 1.
func readCount(p *parser, v value, dst *int) {
	s, ok := scalarText(v.node)
	n, err := strconv.Atoi(s)
	_, isInteger := v.node.(*ast.IntegerNode)
	switch {
	case !ok || !isInteger:
		p.mismatch(v, "a number", "")
	case err != nil || n < 1 || n > maxCPUs || strconv.Itoa(n) != s:
		p.add(v.at, v.path, fmt.Sprintf("%s is not a number from 1 to %d", quote(s), maxCPUs), "")
	default:
		*dst = n
	}
}

const (
	maxDevices  = 16
	pciAddress  = `[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]`
	numbersOf   = `[0-9a-f]{4}:[0-9a-f]{4}`
	pciPattern  = `^(` + pciAddress + `|` + numbersOf + `)$`
	usbPattern  = `^` + numbersOf + `$`
	deviceBytes = 12
)

func devicesField() field {
	return single(field{
		Field: Field{
			Key: "devices", Type: "mapping", Default: "none", Example: `{"pci": ["0000:01:00.0"], "usb": ["046d:c52b"]}`,
			Doc: "Devices of the host that the guest gets for itself. The host must have them, and for PCI an IOMMU.",
		},
		words: []string{"hostdev", "hostdevs", "passthrough", "pass-through", "pci", "usb"},
	}, record[HostDevices]{
		what: "devices", example: `devices: {usb: ["046d:c52b"]}`,
		fields: func(t *HostDevices) fieldTable {
			return fieldTable{
				texts(field{
					Field: Field{
						Key: "pci", Type: "list of addresses or VENDOR:DEVICE", Default: "none", Example: `["0000:01:00.0", "10de:1b80"]`,
						Doc: "PCI devices, by address or by the numbers that lspci -nn shows; the numbers must fit one device only.",
					},
				}, pciPattern, deviceBytes, maxDevices, func(p *parser, v value, s string) {
					keepDevice(p, v, &t.PCI, s, pciPattern, "write an address such as 0000:01:00.0, or numbers such as 10de:1b80, in small letters")
				}),
				texts(field{
					Field: Field{
						Key: "usb", Type: "list of VENDOR:PRODUCT", Default: "none", Example: `["046d:c52b"]`,
						Doc: "USB devices, by the numbers that lsusb shows; they must fit one device only.",
					},
				}, usbPattern, deviceBytes, maxDevices, func(p *parser, v value, s string) {
					keepDevice(p, v, &t.USB, s, usbPattern, "write the numbers that lsusb shows, such as 046d:c52b, in small letters")
				}),
			}
		},
	}, func(p *parser, d HostDevices) { p.m.Devices = d })
}

func keepDevice(p *parser, v value, dst *[]string, s, pattern, hint string) {
	switch {
	case !regexp.MustCompile(pattern).MatchString(s):
		p.add(v.at, v.path, quote(s)+" does not name a device", hint)
	case slices.Contains(*dst, s):
		p.add(v.at, v.path, s+" is here twice", "keep one of them")
	default:
		*dst = append(*dst, s)
	}
}

const maxFragments = 32

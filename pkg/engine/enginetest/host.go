package enginetest

import (
	"sync"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Options say what kind of host it is. The zero value is a local system host with
// KVM, UEFI, an active network "default" and no pool yet.
type Options struct {
	// URI defaults to qemu:///system, or qemu:///session.
	URI string
	// Remote hosts do not share the client's files.
	Remote bool
	// Session hosts run as an ordinary user and have no network.
	Session bool
	// Capabilities replace the default ones when Arch is set.
	Capabilities engine.Capabilities
	// CPU names the host's CPU; Hypervisor defaults to QEMU 7.2.0.
	CPU, Hypervisor string
	// Devices are what the host has.
	Devices []engine.Device
}

// Host is a libvirt host in memory. All methods are safe for concurrent use.
type Host struct {
	options Options

	mu       sync.Mutex
	domains  map[string]*domain
	volumes  map[string]*volume
	pool     engine.Pool
	built    bool
	networks map[string]bool
	reserved map[string][]engine.Reservation
	guests   map[string]Guest
	taken    map[string][]byte
	watchers map[*watcher]bool
	consoles map[string]*console
	channels map[string]*console
	secrets  map[string]*secret
	pools    map[string]map[string]engine.Volume
	calls    []string
	changes  []string
	counts   map[string]int
	failures []*failure
	hooks    map[string]func()
	each     func(method string) Fate
	cut      bool
	// snapshots is how many each domain has; breakMove is how the next live move ends.
	snapshots int
	breakMove *bool
	moving    bool
	// ahead is how far the host's clock is before the client's.
	ahead time.Duration
}

// Guest is how the system inside a domain behaves. The zero value obeys ACPI and has
// no agent.
type Guest struct {
	// IgnoresShutdown never powers off by itself.
	IgnoresShutdown bool
	// Agent answers as soon as the guest runs.
	Agent bool
	// Reports are written, one after the other, to whoever attaches to the port for reports.
	Reports []string
	// KeepsDisks never lets go of a disk.
	KeepsDisks bool
	// TakesSecrets takes what it is handed as soon as it runs, as vmctl's script does.
	TakesSecrets bool
	// Addresses are what the guest got.
	Addresses []string
	// Prints goes to the console at each boot.
	Prints string
	// Echo gives back what is typed.
	Echo bool
	// Answers are the agent's replies; without it an agent refuses every command.
	Answers func(command string) (string, error)
}

// target is where the pool would be made.
const target = "/var/lib/libvirt/images/vmctl"

// NewHost makes an empty host.
func NewHost(o Options) *Host {
	if o.URI == "" {
		o.URI = "qemu:///system"
		if o.Session {
			o.URI = "qemu:///session"
		}
	}
	if o.Capabilities.Arch == "" {
		o.Capabilities = engine.Capabilities{
			Arch: "x86_64", KVM: true, EFI: true, SecureBoot: true, TPM: true, Virtiofs: !o.Session, NinePFS: true,
			NoVirtiofs: "libvirt 9.0.0 has no virtiofs in session mode",
			Graphics:   []string{"vnc", "spice"}, Video: []string{"vga", "virtio"}, CPUModels: []string{"EPYC", "Haswell", "qemu64"},
			Pages: []engine.Pages{{Size: 2 * spec.MiB, Total: 1024}},
		}
	}
	if o.Capabilities.ID == "" {
		o.Capabilities.ID = o.URI
	}
	h := &Host{
		options: o,
		domains: map[string]*domain{}, volumes: map[string]*volume{},
		networks: map[string]bool{}, reserved: map[string][]engine.Reservation{}, guests: map[string]Guest{}, taken: map[string][]byte{},
		watchers: map[*watcher]bool{}, consoles: map[string]*console{}, channels: map[string]*console{},
		secrets: map[string]*secret{}, pools: map[string]map[string]engine.Volume{},
		counts: map[string]int{}, hooks: map[string]func(){},
		pool: engine.Pool{Name: "vmctl", Target: target, State: engine.PoolAbsent},
	}
	if !o.Session {
		h.networks[spec.NetworkDefault] = true
	}
	return h
}

// Connect gives a connection to the host, as libvirt.Open does. Any number may exist.
func (h *Host) Connect() *engine.Host {
	return &engine.Host{
		URI: h.options.URI, Local: !h.options.Remote, Session: h.options.Session,
		Inspector: h, Domains: h, Pools: h, Volumes: h, Networks: h, Consoles: h, Screens: h, Events: h, Secrets: h, Agents: h, Moves: h,
	}
}

// SetGuest says how the guest called name behaves from its next boot on.
func (h *Host) SetGuest(name string, g Guest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guests[name] = g
}

// PlantNetwork adds a network.
func (h *Host) PlantNetwork(n engine.Network) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.networks[n.Name] = n.Active
}

// RemoveNetwork takes a network away.
func (h *Host) RemoveNetwork(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.networks, name)
}

// PlantPool puts a pool where vmctl's would be.
func (h *Host) PlantPool(p engine.Pool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pool, h.built = p, p.State == engine.PoolActive
}

// Wait lets time pass on the host.
func (h *Host) Wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ahead += d
}

func (h *Host) now() time.Time { return time.Now().Add(h.ahead) }

// Cut breaks all connections: consoles and watches end, and every call is unreachable
// until Mend. What runs goes on running.
func (h *Host) Cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.breakAll()
}

// breakAll is Cut under the lock.
func (h *Host) breakAll() {
	h.cut = true
	for w := range h.watchers {
		w.push(engine.Event{Kind: engine.EventDisconnected, Domain: w.domain})
		w.end()
	}
	for name := range h.consoles {
		h.closeConsole(name, h.unreachable())
	}
	for name, c := range h.channels {
		delete(h.channels, name)
		c.finish(h.unreachable())
	}
}

// Mend lets calls through again.
func (h *Host) Mend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = false
}

func (h *Host) unreachable() error {
	return fault.New(fault.Unreachable, "the connection to %s was lost", h.options.URI).
		WithHint("run the same command again")
}

package engine

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// domain plans the definition, what a running guest can take at once, and the boot.
func (p *planner) domain() error {
	if err := p.network(); err != nil {
		return err
	}
	var all []change
	if p.s.domain != nil {
		all = slices.Concat(p.e.changes(p.w, p.s.domain), volumeChanges(p.w, p.s), mediaChanges(p.s.domain, p.s.media))
	}
	if p.running() && (!p.o.Restart || !waits(all)) {
		// Before the definition forgets them: it is what says that they are ours.
		p.detachVolumes()
	}
	if p.running() {
		p.dropLeft()
	}
	p.release()
	fresh := p.s.domain == nil || p.undefined
	moved := !fresh && (p.s.domain.Record.Base != p.base.Path || p.s.domain.Record.Image != p.w.Image.ID)
	if fresh || moved || p.remade && len(p.s.media) > 0 || p.s.domain.Transient || len(all) > 0 {
		if err := p.define(all, fresh); err != nil {
			return err
		}
	}
	if err := p.reserve(); err != nil {
		return err
	}
	autostart := !fresh && p.s.domain.Autostart
	if want := p.w.Machine.Autostart; want != autostart {
		p.autostart(want)
	}
	if p.running() {
		p.live(all)
	}
	p.restart(all)
	p.dropMedia()
	if !p.running() {
		p.dropDelivery()
	}
	p.boot()
	p.handRunning(all)
	return nil
}

// handRunning plans for a guest that runs before and after the plan: it is handed secrets
// that were added, and what it was being handed by a run that was cut short.
func (p *planner) handRunning(all []change) {
	switch {
	case !p.running() || p.plan.has(ActionHandOver):
	case contains(all, keySecrets) && p.w.Delivery != nil && !p.w.Delivery.byFirmware():
		p.handAgain()
		p.finish(nameList(p.w.Delivery.Names))
	case p.s.delivering.lent && p.s.delivering.volume:
		p.finish("an earlier run was cut short")
	}
}

func (p *planner) network() error {
	for _, name := range networks(p.w.Machine.Cards(p.e.Host.Session)) {
		network, ok := p.s.network[name]
		if !ok {
			return p.noNetwork(name)
		}
		if !network.Active && !p.running() {
			p.add(startNetwork(name))
		}
	}
	return nil
}

func (p *planner) noNetwork(name string) error {
	names := make([]string, len(p.s.networks))
	for i, n := range p.s.networks {
		names[i] = n.Name
	}
	there := "it has none"
	if len(names) > 0 {
		there = "it has " + strings.Join(names, ", ")
	}
	return fault.New(fault.NotFound, "%s has no network %s: %s", p.e.Host.URI, name, there).
		WithHint("write network: user in the definition, which needs no network on the host; or make one with virsh net-define")
}

func startNetwork(name string) Op {
	return op(ActionStartNetwork, name, "inactive",
		func(ctx context.Context, e *Engine) error { return e.Host.Networks.StartNetwork(ctx, name) }, nil)
}

func (p *planner) define(all []change, fresh bool) error {
	d, err := p.definition()
	if err != nil {
		return err
	}
	name, cause := p.w.Machine.Name, causes(all)
	if !fresh {
		if err := p.onRoot(); err != nil {
			return err
		}
	}
	var undo step
	switch {
	case fresh:
		cause = "not defined"
		undo = removing(name, &p.starting)
	case p.s.domain.Transient:
		cause = strings.TrimSuffix("its definition was removed, "+cause, ", ")
	case cause == "":
		cause = "its disk was made anew"
	}
	define := op(ActionDefineDomain, name, cause,
		func(ctx context.Context, e *Engine) error { return e.Host.Domains.DefineDomain(ctx, d) }, undo)
	if p.running() && !p.o.Restart && waits(all) {
		define.When = NextBoot
	}
	p.add(define)
	return nil
}

// onRoot refuses to define a machine whose guest writes to another file than its root
// disk, as after an external snapshot: it would next boot without what was written there.
func (p *planner) onRoot() error {
	d := p.s.domain
	root := RootVolume(d.Name)
	if len(d.Disks) == 0 || slices.ContainsFunc(d.Disks, func(file string) bool { return path.Base(file) == root }) {
		return nil
	}
	return fault.New(fault.Refused, "%s cannot be changed: its disk is %s and no longer the root disk that vmctl made, as after virsh snapshot-create --disk-only", d.Name, d.Disks[0]).
		WithHint("merge it into the root disk while the guest runs: virsh -c %s blockcommit %s vda --shallow --active --pivot", ansi.ShellWord(p.e.Host.URI), d.Name)
}

// waits says whether a running guest must be restarted to get any of the changes.
func waits(all []change) bool {
	for _, c := range all {
		if !c.live {
			return true
		}
	}
	return false
}

func undefining(name string) step {
	return func(ctx context.Context, e *Engine) error { return e.Host.Domains.UndefineDomain(ctx, name) }
}

// removing takes a domain back that this run defined. A start whose answer was lost may
// have booted it: undefining alone would leave it running on a disk that goes next. A
// start that failed has begun the console's log. A guest that runs although this run has
// not come to starting it is somebody else's.
func removing(name string, starting *bool) step {
	return func(ctx context.Context, e *Engine) error {
		d, err := e.Host.Domains.Domain(ctx, name)
		if err == nil && d.State.Active() {
			if !*starting {
				return elsewhere(name)
			}
			_, err = e.destroy(ctx, name)
		}
		if err != nil {
			return err
		}
		if err := e.Host.Domains.UndefineDomain(ctx, name); err != nil {
			return err
		}
		volumes, err := e.machineVolumes(ctx, name)
		for _, v := range volumes {
			switch {
			case v.Name == RootVolume(name) || err != nil:
			case isDelivery(name, v.Name):
				err = e.discard(ctx, v.Name, v.Capacity)
			default:
				err = e.Host.Volumes.DeleteVolume(ctx, v.Name)
			}
		}
		return err
	}
}

// elsewhere says that a machine is in somebody else's hands by now.
func elsewhere(name string) error {
	return &fault.Error{Kind: fault.Refused, Msg: name + " was started by somebody else at the same moment, and is left as it is", Cause: errElsewhere}
}

// start boots the machine. When that is refused and it runs all the same, two clients
// were at it, and the other one was quicker: locks reach no further than one client.
func (p *planner) start(paused bool) step {
	name := p.w.Machine.Name
	return func(ctx context.Context, e *Engine) error {
		if p.w.Image.Kept != nil {
			if err := p.w.Image.Kept(); err != nil {
				return err
			}
		}
		p.starting = true
		err := p.startDomain(ctx, e, paused)
		if !fault.Is(err, fault.Refused) {
			return err
		}
		if d, look := e.Host.Domains.Domain(ctx, name); look == nil && d.State.Active() {
			return elsewhere(name)
		}
		return err
	}
}

// startDomain is the call that boots. A guest that wakes from saved memory names the
// files that it was started with by itself.
func (p *planner) startDomain(ctx context.Context, e *Engine, paused bool) error {
	name := p.w.Machine.Name
	if !p.w.Delivery.byFirmware() || p.s.domain != nil && p.s.domain.ManagedSave && !p.undefined {
		return e.Host.Domains.StartDomain(ctx, name, paused)
	}
	return e.Host.Domains.StartDomainWith(ctx, name, paused, p.firmwareFiles(strings.TrimSuffix(p.s.pool.Target, "/")))
}

// definition decides what the host can do of what is asked.
func (p *planner) definition() (Definition, error) {
	host, m := p.s.capabilities, p.w.Machine
	m.Network = m.ResolveNetwork(p.e.Host.Session)
	if arch := p.w.Image.Arch; arch != "" && host.Arch != "" && arch != host.Arch {
		// No more than a note: what is built across architectures looks like this, too.
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("nix built the image as one of %s, and the host is %s: unless it was built for that (nixpkgs.hostPlatform), its guest does not boot", arch, host.Arch))
	}
	switch {
	case m.Accel == spec.AccelKVM && !host.KVM:
		return Definition{}, fault.New(fault.Refused, "%s cannot run %s under KVM: %s", p.e.Host.URI, m.Name, host.NoKVM).
			WithHint("write accel: auto in the definition, which takes software emulation where KVM does not work")
	case m.Accel == spec.AccelAuto && host.KVM:
		m.Accel = spec.AccelKVM
	case m.Accel == spec.AccelAuto:
		m.Accel = spec.AccelTCG
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("software emulation, which is slow: %s", host.NoKVM))
	}
	if m.Firmware == spec.FirmwareEFI && !host.EFI {
		return Definition{}, fault.New(fault.Refused, "%s has no UEFI firmware for %s", p.e.Host.URI, m.Name).
			WithHint("install it on the host (Debian and Ubuntu: apt install ovmf), or write firmware: bios")
	}
	if m.SecureBoot && !host.SecureBoot {
		return Definition{}, fault.New(fault.Refused, "%s has no firmware with Secure Boot for %s", p.e.Host.URI, m.Name).
			WithHint("write secure-boot: false, or install such firmware on the host")
	}
	target := strings.TrimSuffix(p.s.pool.Target, "/")
	record := p.e.record(p.w, p.base.Path)
	record.Life, record.Media = lifeNumber(p.s.domain, p.remade), recordsOf(p.s.media)
	record.Applied = p.carried()
	disks := wantedDisks(p.w, p.s)
	record.Volumes = recordVolumes(m.Volumes, disks)
	d := Definition{
		UUID: UUID(m.Name), Machine: m, Arch: host.Arch, Disks: append(disks, p.mediaDisks(target)...),
		Root: target + "/" + RootVolume(m.Name), Base: p.base, Log: target + "/" + LogVolume(m.Name),
		Vars:   p.vars(target, m),
		Record: record,
	}
	return d, p.decide(&d)
}

// vars is the file of the firmware's variables. Where libvirt chose it, as for the first vmctl there was, it stays: it
// holds what the guest wrote there, and only undefining such a definition removes it.
func (p *planner) vars(target string, m spec.Machine) string {
	if d := p.s.domain; d != nil && d.EFI && !m.SecureBoot && (d.Vars == "" || path.Base(d.Vars) == m.Name+"_VARS.fd") {
		return d.Vars
	}
	return target + "/" + VarsVolume(m.Name, m.SecureBoot)
}

func (p *planner) autostart(on bool) {
	name, cause := p.w.Machine.Name, "autostart off → on"
	if !on {
		cause = "autostart on → off"
	}
	p.add(op(ActionAutostart, name, cause,
		func(ctx context.Context, e *Engine) error { return e.Host.Domains.SetAutostart(ctx, name, on) }, nil))
}

// live plans what the running guest can take at once.
func (p *planner) live(all []change) {
	name, m, live := p.w.Machine.Name, p.w.Machine, p.s.domain.Live
	if live == nil || live.Record == nil || p.o.Restart && waits(all) {
		return
	}
	// The balloon's own size is the guest's to decide: what was asked for counts.
	if live.Record.Memory != m.Memory && m.Memory <= live.MaxMemory {
		p.add(op(ActionSetMemory, name, fmt.Sprintf("memory %s → %s", live.Record.Memory, m.Memory),
			func(ctx context.Context, e *Engine) error { return e.Host.Domains.SetLiveMemory(ctx, name, m.Memory) }, nil))
	}
	if live.CPUs < m.CPUs && m.CPUs <= live.MaxCPUs {
		p.add(op(ActionSetCPUs, name, fmt.Sprintf("cpus %d → %d", live.CPUs, m.CPUs),
			func(ctx context.Context, e *Engine) error { return e.Host.Domains.SetLiveCPUs(ctx, name, m.CPUs) }, nil))
	}
	p.attachVolumes()
}

// restart deals with what waits for the next boot: it stops the guest when asked to,
// else says what waits.
func (p *planner) restart(all []change) {
	if !p.running() {
		return
	}
	var waiting []change
	for _, c := range pending(p.s.domain) {
		if !p.takesLive(c) && !contains(all, c.key) {
			waiting = append(waiting, c)
		}
	}
	for _, c := range all {
		if !c.live {
			waiting = append(waiting, c)
		}
	}
	if p.o.Restart && len(waiting) > 0 {
		p.stop(causes(waiting))
		return
	}
	for _, c := range waiting {
		p.plan.Pending = append(p.plan.Pending, c.String())
	}
}

// takesLive says that the plan already gives the running guest the change.
func (p *planner) takesLive(c change) bool {
	return c.key == "memory" && p.plan.has(ActionSetMemory) || c.key == "cpus" && p.plan.has(ActionSetCPUs)
}

func contains(all []change, key string) bool {
	for _, c := range all {
		if c.key == key {
			return true
		}
	}
	return false
}

// boot plans the start, or lets a guest run on whose CPUs are held.
func (p *planner) boot() {
	name := p.w.Machine.Name
	resume := op(ActionResumeDomain, name, "paused",
		func(ctx context.Context, e *Engine) error { return e.Host.Domains.ResumeDomain(ctx, name) }, nil)
	if p.running() {
		// One that an older vmctl started is not known to be either.
		live := p.s.domain.Live
		p.plan.booting = live != nil && live.Record != nil && live.Record.Rendering >= readyNoted && !live.Record.Ready
		if p.s.domain.State != StatePaused {
			return
		}
		if p.heldBack && !p.s.delivering.lent {
			// It was to get its secrets first, and had not come to its first instruction.
			p.loadDelivery()
			p.handOver()
			p.finish(nameList(p.w.Delivery.names()))
		}
		p.add(resume)
		return
	}
	cause := "shut off"
	switch {
	case p.stopped:
		cause = "was stopped"
	case p.s.domain == nil:
		cause = "new"
	}
	held, byDisk := p.o.BeforeBoot, p.w.Delivery != nil && !p.w.Delivery.byFirmware()
	p.loadDelivery()
	p.add(op(ActionStartDomain, name, cause,
		p.start(held != nil || byDisk),
		func(ctx context.Context, e *Engine) error { return e.Host.Domains.DestroyDomain(ctx, name) }))
	p.emptyFirmware()
	p.handOver()
	if held != nil {
		resume.Cause = "the console is attached"
		p.add(op(ActionAttach, name, "before the guest's first instruction",
			func(ctx context.Context, _ *Engine) error { return held(ctx) }, nil))
	}
	switch {
	case byDisk:
		resume.Cause = "its secrets are there"
		p.add(resume)
		p.finish(nameList(p.w.Delivery.Names))
	case held != nil:
		p.add(resume)
	}
}

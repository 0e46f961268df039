package engine

import (
	"context"
	"fmt"
	"strings"

	"vmctl/pkg/fault"
)

// plan is a pure function of what was seen on both hosts.
func (m *Move) plan(s *moveSnapshot, o MoveOptions) (*MovePlan, error) {
	p := &MovePlan{Machine: m.Name, From: m.From.Host.URI, To: m.To.Host.URI, Ops: []MoveOp{}, Notes: []string{}}
	if hasArrived(s.to.domain) {
		p.Way, p.Why = WayFinish, "it has arrived"
		p.starts = s.starts()
		p.Ops = append(p.Ops, m.finishOps(s, o)...)
		return p, nil
	}
	why := m.whyCold(s)
	switch {
	case o.Way == WayLive && why != "":
		return nil, fault.New(fault.Refused, "%s cannot be moved while it runs: %s", m.Name, why).
			WithHint("vmctl migrate --cold %s %s stops it, copies its disks and starts it there", m.Name, m.ToName)
	case o.Way == WayCold:
		p.Way, p.Why = WayCold, "--cold asks for it"
	case why != "":
		p.Way, p.Why = WayCold, why
	default:
		p.Way, p.Why = WayLive, "both hosts can"
	}
	if err := m.check(s, p.Way); err != nil {
		return nil, err
	}
	switch {
	case p.Way == WayLive && o.Encryption == EncryptionNone:
		p.Notes = append(p.Notes, "what is in the guest's memory and on its disks goes from host to host unencrypted, as --no-tls asks")
	case p.Way == WayLive && s.bare != "":
		p.Notes = append(p.Notes, "what is in the guest's memory and on its disks goes from host to host unencrypted: QEMU on "+s.bare+
			" is not seen to have certificates (vmctl help migrate says where they belong); --tls refuses to go without")
	case p.Way == WayCold && s.from.running():
		p.Notes = append(p.Notes, fmt.Sprintf("%s is stopped for it: %s", m.Name, p.Why))
	}
	p.image = s.from.domain.Record.Image
	p.starts = p.Way == WayCold && s.wasRunning()
	if s.held() {
		p.Ops = append(p.Ops, m.resumeOp())
	}
	p.Ops = append(p.Ops, m.clearOps(s.to)...)
	p.Ops = append(p.Ops, m.placeOps(s)...)
	if p.Way == WayLive {
		p.Ops = append(p.Ops, m.liveOps(s, o)...)
	} else {
		p.Ops = append(p.Ops, m.coldOps(s, o)...)
	}
	if s.from.domain.Autostart || s.moving().Autostart {
		p.Ops = append(p.Ops, m.there(settling, autostart(m.Name, true)))
	}
	if p.starts {
		p.Ops = append(p.Ops, m.startOp(o))
	}
	p.Ops = append(p.Ops, m.there(settling, deleteVolume(ArrivingVolume(m.Name), "it is there")))
	// Shown here, and planned anew when it comes to it.
	p.Ops = append(p.Ops, m.cleanOps(s)...)
	return p, nil
}

// whyCold says why the guest cannot be moved while it runs, or nothing when it can.
func (m *Move) whyCold(s *moveSnapshot) string {
	from, to := s.from.hypervisor, s.to.hypervisor
	switch {
	case s.from.domain.State != StateRunning && !s.held():
		return "it is " + string(s.from.domain.State)
	case m.From.Host.Session || m.To.Host.Session:
		return "libvirt moves running guests between system connections only"
	case carriesByFirmware(s.from.domain):
		return "its firmware holds secrets that are handed over at a boot"
	case !s.fits:
		return fmt.Sprintf("the CPU of %s lacks something that the guest has now", m.ToName)
	case olderHypervisor(to, from):
		return fmt.Sprintf("%s has %s, and %s has the newer %s", m.ToName, to, m.FromName, from)
	}
	return ""
}

// olderHypervisor compares versions as in "QEMU 7.2.0".
func olderHypervisor(a, b string) bool {
	var va, vb [3]int
	_, errA := fmt.Sscanf(strings.TrimPrefix(a, "QEMU "), "%d.%d.%d", &va[0], &va[1], &va[2])
	_, errB := fmt.Sscanf(strings.TrimPrefix(b, "QEMU "), "%d.%d.%d", &vb[0], &vb[1], &vb[2])
	if errA != nil || errB != nil {
		return false
	}
	for i := range va {
		if va[i] != vb[i] {
			return va[i] < vb[i]
		}
	}
	return false
}

func (m *Move) here(at stage, o Op) MoveOp {
	o.undo = nil
	return MoveOp{Host: m.FromName, Op: o, on: m.From, stage: at}
}

func (m *Move) there(at stage, o Op) MoveOp {
	o.undo = nil
	return MoveOp{Host: m.ToName, Op: o, on: m.To, stage: at}
}

func autostart(name string, on bool) Op {
	cause := "as before"
	if !on {
		cause = "nobody may start it here when the host boots"
	}
	return op(ActionAutostart, name, cause, func(ctx context.Context, e *Engine) error { return e.Host.Domains.SetAutostart(ctx, name, on) }, nil)
}

// moving is the note that is there already, or one that says nothing.
func (s *moveSnapshot) moving() Moving {
	if note := s.from.moving(); note != nil {
		return *note
	}
	return Moving{}
}

// wasRunning says that the guest ran before the move began.
func (s *moveSnapshot) wasRunning() bool { return s.from.running() || s.moving().Running }

// held says that the guest's CPUs are held since a move that was cut short.
func (s *moveSnapshot) held() bool {
	return s.moving().Running && s.from.domain.State == StatePaused
}

func (m *Move) resumeOp() MoveOp {
	return m.here(preparing, op(ActionResumeDomain, m.Name, "it was held for a move that was cut short",
		func(ctx context.Context, e *Engine) error { return e.Host.Domains.ResumeDomain(ctx, m.Name) }, nil))
}

// starts says that the guest still has to be booted where it has arrived.
func (s *moveSnapshot) starts() bool { return s.moving().Running && !s.to.running() }

// note is what the definition left behind says.
func (m *Move) note(s *moveSnapshot, deciding bool) Moving {
	return Moving{
		To: m.ToURI, ID: m.hostID(s.to.capabilities), Deciding: deciding,
		Running: s.wasRunning(), Autostart: s.from.domain.Autostart || s.moving().Autostart,
	}
}

func (m *Move) noteOp(note Moving, cause string) Op {
	return op(ActionNoteMove, m.Name, cause, func(ctx context.Context, e *Engine) error { return e.Host.Moves.NoteMove(ctx, m.Name, &note) }, nil)
}

// leaveOps are what the first host is told before the machine leaves it.
func (m *Move) leaveOps(s *moveSnapshot) []MoveOp {
	ops := []MoveOp{m.here(preparing, m.noteOp(m.note(s, false), "it goes to "+m.ToName))}
	if s.from.domain.Autostart {
		ops = append(ops, m.here(preparing, autostart(m.Name, false)))
	}
	return ops
}

// liveOps move the guest while it runs.
func (m *Move) liveOps(s *moveSnapshot, o MoveOptions) []MoveOp {
	ops := m.volumeOps(s, WayLive)
	ops = append(ops, m.reserveOps(s)...)
	ops = append(ops, m.here(preparing, m.noteOp(m.note(s, true), "from here on "+m.ToName+" says where it is")))
	cause := "to " + m.ToName
	passage := Passage{Relocation: m.relocation(s), Address: o.Address, TLS: o.Encryption == EncryptionTLS || o.Encryption == EncryptionAuto && s.bare == ""}
	if passage.TLS {
		cause += ", encrypted by TLS"
	}
	return append(ops, MoveOp{
		Host: m.FromName, on: m.From, stage: deciding,
		Op: Op{Action: ActionMoveLive, Resource: m.Name, Cause: cause, When: Now},
		live: func(ctx context.Context, report func(MoveProgress)) error {
			return m.From.Host.Moves.MoveLive(ctx, m.Name, m.To.Host.Moves, passage, report)
		},
	})
}

// coldOps stop the guest, copy its files, and define it on the other host.
func (m *Move) coldOps(s *moveSnapshot, o MoveOptions) []MoveOp {
	var ops []MoveOp
	if s.from.running() {
		ops = append(ops, m.here(preparing, op(ActionStopDomain, m.Name, "to copy its disks", func(ctx context.Context, e *Engine) error {
			_, err := e.halt(ctx, m.Name, o.Stop.Timeout, o.Stop.Force)
			return err
		}, nil)))
	}
	ops = append(ops, m.volumeOps(s, WayCold)...)
	ops = append(ops, m.reserveOps(s)...)
	ops = append(ops, m.here(preparing, m.noteOp(m.note(s, true), "from here on "+m.ToName+" says where it is")))
	r, portable := m.relocation(s), s.portable
	return append(ops, m.there(deciding, op(ActionDefineDomain, m.Name, "its disks are whole", func(ctx context.Context, e *Engine) error {
		// Whoever gave the move up meanwhile has begun to remove them.
		if _, err := e.Host.Volumes.Volume(ctx, ArrivingVolume(m.Name)); err != nil {
			return fault.New(fault.Refused, "the move of %s was given up by somebody else: %w", m.Name, err)
		}
		return e.Host.Moves.DefineMoved(ctx, m.Name, portable, r)
	}, nil)))
}

// startOp boots the machine where it has arrived. The boot tells the sink by itself.
func (m *Move) startOp(o MoveOptions) MoveOp {
	start := m.there(settling, op(ActionStartDomain, m.Name, "it ran before", func(ctx context.Context, e *Engine) error {
		_, err := e.start(ctx, m.Name, o.Start)
		return err
	}, nil))
	start.quiet = true
	return start
}

// reserveOps keep the addresses on the other host that the machine has on the first.
func (m *Move) reserveOps(s *moveSnapshot) []MoveOp {
	p := &planner{e: m.To, s: &snapshot{dhcp: s.dhcp}, plan: &Plan{}}
	p.w.Machine.Name, p.w.Machine.Interfaces = m.Name, s.from.domain.Record.Interfaces
	_ = p.reserve() // checked before
	var ops []MoveOp
	for _, o := range p.plan.Ops {
		ops = append(ops, m.there(preparing, o))
	}
	return ops
}

package engine

import (
	"context"

	"vmctl/pkg/fault"
)

// A machine is moved in an order that leaves, whatever is cut short, exactly one of the two
// hosts with a machine that may be started, and whoever comes next knows which:
//
//   - the other host gets a marker (ArrivingVolume) before the first of the machine's files, and
//     loses it when the machine runs there: files beside the marker and without a domain
//     are copies that nobody counts on;
//   - the definition that is left says where its machine goes (Record.Moving). Nobody
//     starts it then. At first the machine still is here, whatever there is on the other host;
//     from Deciding on it is here unless the other host has it defined. That definition
//     comes from one call, be it libvirt's own for a guest that runs;
//   - what is left here goes when the machine runs there, the definition with the note last.
//
// So there are three plans, each made of what is seen on both hosts: to move, to finish what
// was cut short behind the one call, and to take back what was cut short before it.

// Way is how a machine is moved.
type Way string

// The ways. WayFinish is the rest of a move that was cut short.
const (
	WayAuto   Way = ""
	WayLive   Way = "live"
	WayCold   Way = "cold"
	WayFinish Way = "finish"
)

// Move takes a machine from one host to another.
type Move struct {
	Name     string
	From, To *Engine
	// FromName and ToName are the hosts for people.
	FromName, ToName string
	// ToURI is the other host as the client calls it; it is noted on the first.
	ToURI string

	restarted bool
}

// Encryption is whether a live move is encrypted by TLS.
type Encryption string

const (
	// EncryptionAuto encrypts when QEMU has certificates on both hosts.
	EncryptionAuto Encryption = ""
	// EncryptionTLS encrypts, or fails.
	EncryptionTLS Encryption = "tls"
	// EncryptionNone does not encrypt.
	EncryptionNone Encryption = "none"
)

// MoveOptions are what a person may ask of a move.
type MoveOptions struct {
	Way Way
	// Address is the other host's as the first one reaches it, for a live move.
	Address string
	// Encryption says whether a live move is encrypted. Certified tells whether QEMU on a host
	// is seen to have the certificates that takes; nil is that nobody can see it.
	Encryption Encryption
	Certified  func(ctx context.Context, e *Engine) bool
	// Stop says how the guest is stopped that cannot be moved while it runs.
	Stop DownOptions
	// Start is what its boot on the other host needs.
	Start StartOptions
	// Image finds the image of the machine on the client, nil where it is not there.
	Image func(ctx context.Context, id, base string) *Image
	// Gone is DownOptions.Gone, for the first host.
	Gone func(base string)
}

// MovePlan is what a move does.
type MovePlan struct {
	Machine string   `json:"machine"`
	From    string   `json:"from"`
	To      string   `json:"to"`
	Way     Way      `json:"way"`
	Why     string   `json:"why"`
	Ops     []MoveOp `json:"operations"`
	Notes   []string `json:"notes"`

	// image is the ID of the image that has to be leased.
	image string
	// starts says that the machine is booted on the other host.
	starts bool
}

// MoveOp is one operation, and the host that it changes.
type MoveOp struct {
	Host string `json:"host"`
	Op

	on    *Engine
	stage stage
	// quiet says that what it does tells the sink by itself.
	quiet bool
	// live is run in place of Op.run for what grows while it goes on.
	live func(ctx context.Context, report func(MoveProgress)) error
}

// stage is how far a move has come.
type stage int

// The stages. A move that fails in the first is taken back, in the last it is finished by
// the next one; in between the other host says which.
const (
	preparing stage = iota
	// deciding is the call from which on the machine may be on the other host.
	deciding
	// settling is what follows on the other host.
	settling
	// cleaning is when what is left behind goes.
	cleaning
)

// String is the operation on one line.
func (o MoveOp) String() string { return o.Host + ": " + o.Op.String() }

// Moved is what a move did.
type Moved struct {
	Plan *MovePlan
	// There says that there was nothing to do: the machine is on the other host alone.
	There bool
	// Started says that the guest was booted on the other host, and Delivering that
	// Deliver has to follow there.
	Started, Delivering bool
	// Running says that the guest runs.
	Running bool
}

// Plan says what Run would do, changing nothing.
func (m *Move) Plan(ctx context.Context, o MoveOptions) (*MovePlan, error) {
	s, err := m.observe(ctx, o)
	if err != nil {
		return nil, err
	}
	return m.plan(s, o)
}

// Run moves the machine, or finishes the move that was cut short. A failure or an
// interruption leaves the machine where it was.
func (m *Move) Run(ctx context.Context, o MoveOptions) (*Moved, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := m.observe(ctx, o)
	if err != nil {
		return nil, err
	}
	plan, err := m.plan(s, o)
	if err != nil {
		return nil, err
	}
	if plan.image != "" {
		release, err := m.lease(ctx, s, plan.image)
		if err != nil {
			return nil, err
		}
		defer release()
		if s, err = m.observe(ctx, o); err != nil {
			return nil, err
		}
		if plan, err = m.plan(s, o); err != nil {
			return nil, err
		}
	}
	moved := &Moved{Plan: plan, There: plan.Way == WayFinish && s.from.domain == nil && !plan.starts}
	if plan.Way != WayFinish {
		if err := m.carryOut(ctx, plan, o); err != nil {
			return nil, err
		}
	}
	moved.Started, moved.Running = plan.starts, plan.starts || plan.Way == WayLive || s.to.running()
	moved.Delivering = plan.starts && o.Start.Delivery != nil && !o.Start.Delivery.byFirmware()
	return moved, m.finish(ctx, s.from.domain, o)
}

// finish does what is left to do for a machine that has arrived.
func (m *Move) finish(ctx context.Context, was *Domain, o MoveOptions) error {
	s, err := m.observe(ctx, o)
	if err == nil && !hasArrived(s.to.domain) {
		err = fault.New(fault.Refused, "it was taken down there by somebody else")
	}
	if err == nil {
		err = m.each(ctx, m.finishOps(s, o))
	}
	if err != nil {
		return m.unfinished(ctx, err)
	}
	if o.Gone != nil {
		base := ""
		if was != nil {
			base = was.Record.Base
		}
		o.Gone(base)
	}
	if err := m.leaveBase(ctx, was); err != nil {
		return m.unfinished(ctx, err)
	}
	return nil
}

// lock takes the machine's locks of both hosts, in an order that two moves against each
// other have in common.
func (m *Move) lock(ctx context.Context) (func(), error) {
	first, second := m.From, m.To
	if first.Host.URI > second.Host.URI {
		first, second = second, first
	}
	unlockFirst, err := first.Locker.Lock(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	unlockSecond, err := second.Locker.Lock(ctx, m.Name)
	if err != nil {
		unlockFirst()
		return nil, err
	}
	return func() { unlockSecond(); unlockFirst() }, nil
}

// lease keeps the image on the other host while a root disk is laid on it.
func (m *Move) lease(ctx context.Context, s *moveSnapshot, image string) (func(), error) {
	unlock, err := m.To.Locker.Lock(ctx, basePrefix+image)
	if err != nil {
		return nil, err
	}
	err = m.To.makePool(ctx, m.Name, s.to.pool)
	var left []string
	if err == nil {
		left, err = m.To.Host.Volumes.KnownVolumes(ctx, m.To.leaseOn(image))
	}
	if err == nil {
		var release func()
		if release, err = m.To.lease(ctx, image, len(left) > 0); err == nil {
			return func() { release(); unlock() }, nil
		}
	}
	unlock()
	return nil, err
}

// leaveBase removes the image that the machine lay on, when it was uploaded and nothing uses
// it; as with down, all that this client uploaded when nobody knows which it was. It is only
// rubbish: that it stays is an error only where somebody has interrupted the removal.
func (m *Move) leaveBase(ctx context.Context, was *Domain) error {
	pool, err := m.From.Host.Pools.Pool(ctx)
	if err == nil {
		_, err = m.From.removeUnusedBases(ctx, pool, was)
	}
	if err != nil && ctx.Err() == nil {
		m.From.noteLeft(m.Name, m.FromName, err)
		return nil
	}
	return err
}

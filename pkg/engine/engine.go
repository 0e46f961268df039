package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// Engine carries out the verbs on one host.
type Engine struct {
	// Host is where the machines are.
	Host *Host
	// Project is the directory of the project on the client; empty outside of one.
	Project string
	// Version is vmctl's own, noted in the metadata.
	Version string
	// Token goes into the names of what is uploaded.
	Token Token
	// Locker keeps two vmctl of one client off the same machine.
	Locker Locker
	// Sink is told of every operation.
	Sink progress.Sink
	// Log is for debugging.
	Log *slog.Logger
	// PortFree says whether nobody listens on the host's side of a forward on this
	// machine. Nil is not known.
	PortFree func(ctx context.Context, p spec.Port) bool
}

// Locker gives exclusive locks by name. Lock waits until ctx ends; the function it
// returns releases. A lock dies with its process.
type Locker interface {
	Lock(ctx context.Context, name string) (unlock func(), err error)
}

// Wanted is what is declared: a definition with its image found, and what the guest is
// told on disks of their own.
type Wanted struct {
	Machine spec.Machine
	// Image has no Path when it is not built, because the guest should have what is in it by
	// other means; ErrImageNeeded says that it has to be built all the same.
	Image Image
	// System says that the image is of a NixOS configuration, whose system a guest can get
	// without the image.
	System bool
	Media  []Medium
	// Delivery is nil for a machine without secrets.
	Delivery *Delivery
	// pushing is the image's way by content, when it was prepared.
	pushing Pushing
}

// Options are what a person may ask of up and plan beyond the definition.
type Options struct {
	// Replace allows the root disk to be made anew, losing what is in it.
	Replace bool
	// Restart stops and starts a running machine when changes wait for its next boot.
	Restart bool
	// Adopt takes over a machine that another project directory made.
	Adopt bool
	// StopTimeout is how long a guest may take to power off before it is destroyed.
	StopTimeout time.Duration
	// BeforeBoot, when set, is called with the domain started but its CPUs held, before
	// the guest's first instruction. It is not called for a machine that runs already.
	BeforeBoot func(ctx context.Context) error
	// BeforeDetach, when set, is called before the running guest has to let go of a disk:
	// it can unmount it. Its error keeps the disk attached.
	BeforeDetach func(ctx context.Context, serial string) error

	// avoid are ports that turned out to be taken.
	avoid []uint16
}

// Outcome is what up found and did.
type Outcome struct {
	// Plan is what was done.
	Plan *Plan
	// Started says that this run booted the guest.
	Started bool
	// Delivering says that Deliver has to follow.
	Delivering bool
	// Booting says that the guest ran already, and has not shown since that it is ready.
	Booting bool
	// Ports are the forwards, with the automatic ones chosen.
	Ports []spec.Port
	// Kept says that the root disk lies on another image than the wanted one, and stays: its
	// guest has the system of the wanted one.
	Kept bool
}

// Plan says what Up would do, changing nothing.
func (e *Engine) Plan(ctx context.Context, w Wanted, o Options) (*Plan, error) {
	plan, _, err := e.look(ctx, w, o)
	return plan, err
}

func (e *Engine) look(ctx context.Context, w Wanted, o Options) (*Plan, *snapshot, error) {
	s, err := e.observe(ctx, w, o)
	if err != nil {
		return nil, nil, err
	}
	plan, err := e.plan(w, s, o)
	return plan, s, err
}

// Up makes the machine what is declared and boots it. It does not wait for the
// guest to be ready. A failure or an interruption undoes what this call created.
func (e *Engine) Up(ctx context.Context, w Wanted, o Options) (*Outcome, error) {
	unlock, err := e.lockUp(ctx, w)
	if err != nil {
		return nil, err
	}
	defer unlock()
	plan, seen, err := e.look(ctx, w, o)
	if err != nil {
		return nil, err
	}
	first := []Op{}
	if plan.partial {
		if err := e.apply(ctx, plan); err != nil {
			return nil, err
		}
		first = plan.Ops
		if plan, seen, err = e.look(ctx, w, o); err != nil {
			return nil, err
		}
	}
	if err := plan.allowed(); err != nil {
		return nil, err
	}
	if plan.pushesTo != "" && len(plan.pool()) == 0 {
		w.pushing = e.Host.Pusher.Prepare(ctx, plan.pushesTo)
		defer w.pushing.End()
	}
	if plan.leased {
		// The pool has to be there for the lease, and the lease before one looks.
		pool := plan.pool()
		if err := e.apply(ctx, &Plan{Machine: plan.Machine, Ops: pool}); err != nil {
			return nil, err
		}
		first = append(first, pool...)
		release, err := e.lease(ctx, w.Image.ID, slices.Contains(seen.uploads, e.leaseOn(w.Image.ID)))
		if err != nil {
			return nil, err
		}
		var once sync.Once
		part := func() { once.Do(release) }
		defer part()
		if plan, err = e.lookAgain(ctx, w, o, seen, len(pool) > 0); err != nil {
			return nil, err
		}
		if err := plan.allowed(); err != nil {
			return nil, err
		}
		plan.laid = func() { go part() } // the guest need not wait for that
	}
	if plan, err = e.applyUp(ctx, w, o, plan); err != nil {
		return nil, err
	}
	e.leave(ctx, plan)
	plan.Ops = append(first, plan.Ops...)
	return &Outcome{Plan: plan, Started: plan.has(ActionStartDomain), Delivering: plan.has(ActionHandOver), Booting: plan.booting, Ports: plan.ports, Kept: plan.kept}, nil
}

// lookAgain plans with what is there after the lease was made: a lease counts only for
// what is looked at later. All else is as it was seen, unless the pool was only made now.
func (e *Engine) lookAgain(ctx context.Context, w Wanted, o Options, seen *snapshot, pool bool) (*Plan, error) {
	if pool {
		return e.Plan(ctx, w, o)
	}
	// No name is ever given twice: while the names are the same, all is.
	names, err := e.Host.Volumes.KnownVolumes(ctx, basePrefix+w.Image.ID+".")
	if err != nil {
		return nil, err
	}
	own := func(name string) bool { return name == e.leaseOn(w.Image.ID) }
	if !slices.Equal(slices.DeleteFunc(names, own), slices.DeleteFunc(slices.Clone(seen.uploads), own)) {
		if err := e.observeBase(ctx, w, names, seen); err != nil {
			return nil, err
		}
	}
	return e.plan(w, seen, o)
}

// applyUp carries out a plan, and another one when a port that was chosen is taken after
// all: no client can see all that a host listens on. What was begun has been taken back
// by then.
func (e *Engine) applyUp(ctx context.Context, w Wanted, o Options, plan *Plan) (*Plan, error) {
	for try := 1; ; try++ {
		err := e.apply(ctx, plan)
		port, again := takenAuto(err, plan.ports)
		if !again || try == portTries || ctx.Err() != nil {
			return plan, err
		}
		o.avoid = append(o.avoid, port)
		e.Sink.Emit(progress.Event{
			ID: plan.Machine + "/port", Status: progress.Note, Text: fmt.Sprintf("port %d of the host is in use: taking another one", port),
		})
		if plan, err = e.Plan(ctx, w, o); err == nil {
			err = plan.allowed()
		}
		if err != nil {
			return nil, err
		}
	}
}

// lockUp takes the machine's lock and, when the image has to lie in the pool, the
// image's: down removes an image that nothing lies on.
func (e *Engine) lockUp(ctx context.Context, w Wanted) (func(), error) {
	unlockMachine, err := e.Locker.Lock(ctx, w.Machine.Name)
	if err != nil || e.inPlace(w.Image) {
		return unlockMachine, err
	}
	unlockImage, err := e.Locker.Lock(ctx, basePrefix+w.Image.ID)
	if err != nil {
		unlockMachine()
		return nil, err
	}
	return func() { unlockImage(); unlockMachine() }, nil
}

// MayChange refuses what Up would refuse, whatever is wanted: a domain that is not the
// project's, or is on its way to another host. One that is not there is fine.
func (e *Engine) MayChange(ctx context.Context, name string, adopt bool) error {
	d, err := found(e.Host.Domains.Domain(ctx, name))
	if err != nil || d == nil {
		return err
	}
	return e.mayBecome(d, adopt)
}

// mayBecome refuses what is in the way of a machine that is to be made.
func (e *Engine) mayBecome(d *Domain, adopt bool) error {
	if foreign(d) {
		return e.foreigner(d).
			WithHint("give the machine another name, or rename the domain: virsh -c %s domrename %s NEW-NAME", ansi.ShellWord(e.Host.URI), d.Name)
	}
	return e.mayChange(d, adopt)
}

func (e *Engine) mayChange(d *Domain, adopt bool) error {
	if err := e.owned(d, adopt); err != nil {
		return err
	}
	return e.unmoved(d)
}

// newer says that a newer vmctl made a machine, which this one shows and reads, and leaves as it is.
func newer(d *Domain) bool {
	return d.Record != nil && d.UUID == UUID(d.Name) && d.Record.Version > RecordVersion
}

// foreign says that vmctl did not make a domain.
func foreign(d *Domain) bool { return d.Record == nil || d.UUID != UUID(d.Name) }

func (e *Engine) foreigner(d *Domain) *fault.Error {
	return fault.New(fault.Refused, "a domain called %s exists on %s, and vmctl did not make it", d.Name, e.Host.URI)
}

// owned refuses domains that are not this project's to change.
func (e *Engine) owned(d *Domain, adopt bool) error {
	switch {
	case foreign(d):
		return e.foreigner(d).WithHint("virsh looks after it, as in: virsh -c %s dominfo %s", ansi.ShellWord(e.Host.URI), d.Name)
	case newer(d):
		return fault.New(fault.Refused, "machine %s was made by a newer vmctl (%s)", d.Name, d.Record.Vmctl).
			WithHint("use that version, or a newer one")
	case e.Project != "" && d.Record.Project != "" && d.Record.Project != e.Project && !adopt:
		return fault.New(fault.Refused, "machine %s belongs to another project, %s", d.Name, d.Record.Project).
			WithHint("run vmctl -C %s …, or take the machine over: vmctl up --adopt %s", ansi.ShellWord(d.Record.Project), d.Name)
	}
	return nil
}

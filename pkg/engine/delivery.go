package engine

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// Delivery is what a guest is handed at a boot, and nowhere else: its secrets. They
// travel on a disk that only the running guest has, and that it gives back when it has
// taken what is on it; then the disk is overwritten and removed. Or they lie in files
// that QEMU reads while it starts, which go at once (firmware.go). No definition names
// either, and nothing of the content is noted.
type Delivery struct {
	// Names are what is on it, sorted, for people and for the metadata.
	Names []string
	// Credentials are the names under which the guest finds them in fw_cfg; none for a disk.
	Credentials []string
	// Read gives the content: one for each credential, or one of at most DeliverySize for the
	// disk. It is called when there is something to put it on. The engine overwrites what it
	// was given.
	Read func(ctx context.Context) ([][]byte, error)
}

// DeliverySize is the size of every such disk, so that it says nothing of what is on it.
const DeliverySize = 4 * spec.MiB

// SerialDelivery is what the guest finds the disk by.
const SerialDelivery = "vmctl-creds"

// DeliveryVolume is the name of the disk's volume.
func DeliveryVolume(machine string) string { return volumePrefix(machine) + "secrets.img" }

// isDelivery says whether a volume of the machine carries secrets, or did.
func isDelivery(machine, volume string) bool {
	return volume == DeliveryVolume(machine) || isFirmware(machine, volume)
}

func (d *Delivery) names() []string {
	if d == nil {
		return nil
	}
	return d.Names
}

// delivering is how far a delivery that was begun has come.
type delivering struct {
	// volume says that the disk's volume is there, lent that the running guest has it.
	volume, lent bool
	// files are those for fw_cfg.
	files []Volume
}

func (e *Engine) observeDelivery(ctx context.Context, machine string, s *snapshot) error {
	v, err := e.known(ctx, s.pool, DeliveryVolume(machine))
	s.delivering.volume = v != nil
	return err
}

func lent(d *Domain) bool {
	return d != nil && d.Live != nil && diskOf(d.Live.Attached, SerialDelivery) != nil
}

// nameList is for people: "db, host key".
func nameList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// handOver plans the disk's way to the guest: at a boot, while its CPUs are held before
// the first instruction.
func (p *planner) handOver() {
	if p.w.Delivery == nil || p.w.Delivery.byFirmware() {
		return
	}
	name, target := p.w.Machine.Name, strings.TrimSuffix(p.s.pool.Target, "/")
	disk := Disk{Serial: SerialDelivery, Path: target + "/" + DeliveryVolume(name), Format: "raw", ReadOnly: true}
	lend := op(ActionAttachDisk, name, "its secrets, until it has taken them: "+nameList(p.w.Delivery.Names),
		func(ctx context.Context, e *Engine) error { return e.Host.Domains.LendDisk(ctx, name, disk) }, nil)
	if p.running() && p.s.domain.State == StateRunning {
		// At a boot the guest is destroyed: one that is held lets go of nothing.
		lend.undo = func(ctx context.Context, e *Engine) error {
			return e.Host.Domains.DetachDisk(ctx, name, disk.Serial)
		}
	}
	p.add(lend)
}

// loadDelivery plans the disk's volume and what is on it.
func (p *planner) loadDelivery() {
	volume, delivery := DeliveryVolume(p.w.Machine.Name), p.w.Delivery
	switch {
	case delivery == nil:
		return
	case delivery.byFirmware():
		p.loadFirmware()
		return
	}
	create := createVolume(volume, "raw", DeliverySize, "carries secrets to the guest, and is wiped then")
	create.undo = func(ctx context.Context, e *Engine) error { return e.discard(ctx, volume, DeliverySize) }
	p.add(create, op(ActionUploadVolume, volume, nameList(delivery.Names),
		func(ctx context.Context, e *Engine) error { return e.load(ctx, volume, delivery) }, nil))
}

// load reads the secrets and puts them on their disk.
func (e *Engine) load(ctx context.Context, volume string, d *Delivery) error {
	all, err := d.Read(ctx)
	defer forget(all)
	if err != nil {
		return err
	}
	return e.Host.Volumes.Upload(ctx, volume, bytes.NewReader(all[0]), int64(len(all[0])), nil)
}

// forget overwrites what was read.
func forget(all [][]byte) {
	for _, content := range all {
		clear(content[:cap(content)])
	}
}

// dropLeft is dropDelivery, which notes first whether the guest is held for its secrets.
func (p *planner) dropLeft() {
	p.heldBack = p.running() && p.s.delivering.volume && !p.s.delivering.lent &&
		p.s.domain.State == StatePaused && p.w.Delivery != nil && !p.w.Delivery.byFirmware()
	p.dropDelivery()
}

// dropDelivery plans the end of what an earlier run left: of a disk that no guest has, and
// of files.
func (p *planner) dropDelivery() {
	p.dropFirmware()
	if !p.s.delivering.volume || p.running() && p.s.delivering.lent {
		return
	}
	p.s.delivering.volume = false
	p.add(discarding(DeliveryVolume(p.w.Machine.Name), DeliverySize, cutShort)...)
}

const cutShort = "left by a run that was cut short"

// finish plans what Deliver does when the guest runs.
func (p *planner) finish(cause string) {
	p.add(Op{Action: ActionHandOver, Resource: p.w.Machine.Name, Cause: cause, When: Now})
}

// discarding are the operations that leave nothing of a volume with secrets.
func discarding(volume string, size spec.Size, cause string) []Op {
	if size == 0 {
		return []Op{deleteVolume(volume, cause)}
	}
	return []Op{
		op(ActionWipeVolume, volume, cause, func(ctx context.Context, e *Engine) error { return e.wipe(ctx, volume, size) }, nil),
		deleteVolume(volume, ""),
	}
}

// discard wipes and deletes a volume; one that is not there is as wanted.
func (e *Engine) discard(ctx context.Context, volume string, size spec.Size) error {
	err := e.wipe(ctx, volume, size)
	if err == nil {
		err = e.Host.Volumes.DeleteVolume(ctx, volume)
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// wipe overwrites a disk with secrets. libvirt's own wiping only truncates files that are
// sparse (virStorageBackendVolWipeLocalFile).
func (e *Engine) wipe(ctx context.Context, volume string, size spec.Size) error {
	return e.Host.Volumes.Upload(ctx, volume, io.LimitReader(zeros{}, int64(size)), int64(size), nil)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Push hands secrets to a guest that runs. Deliver has to follow.
func (e *Engine) Push(ctx context.Context, name string, d *Delivery) error {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	p, err := e.pushing(ctx, name, d)
	if err != nil {
		return err
	}
	if err := e.unmoved(p.s.domain); err != nil {
		return err
	}
	if !p.running() {
		return fault.New(fault.Refused, "%s is %s, and there is nobody to hand secrets to", name, p.s.domain.State).
			WithHint("vmctl start %s hands them over at the boot", name)
	}
	p.handAgain()
	return e.apply(ctx, p.plan)
}

// handAgain plans a delivery to a guest that runs. A disk that it has of an earlier one,
// whatever became of that, goes first.
func (p *planner) handAgain() {
	name := p.w.Machine.Name
	if p.s.delivering.lent {
		p.s.delivering.lent = false
		p.add(op(ActionDetachDisk, name, "it has one of an earlier run",
			func(ctx context.Context, e *Engine) error {
				return e.Host.Domains.DetachDisk(ctx, name, SerialDelivery)
			}, nil))
	}
	p.dropDelivery()
	p.loadDelivery()
	p.handOver()
}

// pushing begins a plan of a delivery to a machine that is there.
func (e *Engine) pushing(ctx context.Context, name string, d *Delivery) (*planner, error) {
	domain, err := e.Managed(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &snapshot{domain: domain}
	if s.pool, err = e.Host.Pools.Pool(ctx); err != nil {
		return nil, err
	}
	p := &planner{e: e, s: s, w: Wanted{Delivery: d}, plan: &Plan{Machine: name, Host: e.Host.URI}}
	p.w.Machine.Name = name
	if s.pool.State != PoolActive {
		if d != nil {
			p.add(poolOps(s.pool)...)
		}
		return p, nil
	}
	s.delivering.lent = lent(domain)
	if err := e.observeFirmware(ctx, p.w, s); err != nil {
		return nil, err
	}
	return p, e.observeDelivery(ctx, name, s)
}

const (
	// lookAgain is how often a disk is looked for beside the events.
	lookAgain = time.Second
	// lateTaking is how long a guest that is ready may still take to give the disk back.
	lateTaking = 10 * time.Second
	// discardTime bounds the end of a delivery, whatever ended the wait.
	discardTime = 30 * time.Second
)

// Deliver waits until the guest has taken its secrets and given the disk back, then
// leaves nothing of the disk; that, also when the guest does not take them, when it stops
// and when ctx ends. ready, when it is closed, says that the guest has booted: then it
// does not take them any more. limit bounds the wait; 0 is no limit.
func (e *Engine) Deliver(ctx context.Context, name string, ready <-chan struct{}, limit time.Duration) error {
	event := progress.Event{ID: name + "/" + string(ActionHandOver), Text: string(ActionHandOver) + " to " + name}
	e.Sink.Emit(event)
	gone, err := e.awaitTaken(ctx, name, ready, limit)
	if err != nil && ctx.Err() != nil {
		// Whatever call the interruption hit.
		err = fault.New(fault.Interrupted, "interrupted before %s had taken its secrets", name).
			WithHint("vmctl secret push %s hands them over", name)
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTime)
	defer cancel()
	if left := e.takeBack(ending, name, gone); err == nil {
		err = left
	}
	event.Status = progress.Done
	if err != nil {
		event.Status, event.Err = progress.Failed, err
	}
	e.Sink.Emit(event)
	return err
}

// awaitTaken waits for the end of a delivery. gone says that the guest has the disk no
// more, by its own doing or because it stopped.
func (e *Engine) awaitTaken(ctx context.Context, name string, ready <-chan struct{}, limit time.Duration) (gone bool, err error) {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := e.Host.Events.Watch(watch, name)
	if err != nil {
		return false, err
	}
	var deadline <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		deadline = timer.C
	}
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		d, err := e.Host.Domains.Domain(ctx, name)
		switch {
		case fault.Is(err, fault.NotFound), err == nil && !d.State.Active():
			return true, fault.New(fault.Other, "%s stopped before it had taken its secrets", name).WithHint("vmctl logs %s shows what it printed", name)
		case err != nil:
			return false, err
		case !lent(d):
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-again.C:
		case event, open := <-events:
			if !open || event.Kind == EventDisconnected {
				return false, fault.New(fault.Unreachable, "the connection to %s was lost before %s had taken its secrets", e.Host.URI, name).
					WithHint("run the same command again: it removes the disk that they are on")
			}
		case <-ready:
			ready = nil
			late := time.NewTimer(lateTaking)
			defer late.Stop()
			deadline = late.C
		case <-deadline:
			return false, fault.New(fault.Timeout, "%s has not taken its secrets from the disk that they came on, which is removed now", name).
				WithHint("the guest needs vmctl's NixOS module, or vmctl's script: vmctl help secret; then vmctl secret push %s", name)
		}
	}
}

// takeBack leaves nothing of a delivery. The content goes first: a guest that keeps the
// disk then keeps zeros. When the guest had no disk any more and has one now, somebody
// else has begun another delivery, and ends it.
func (e *Engine) takeBack(ctx context.Context, name string, gone bool) error {
	unlock, err := e.Locker.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	volume := DeliveryVolume(name)
	d, err := found(e.Host.Domains.Domain(ctx, name))
	if err != nil || gone && lent(d) {
		return err
	}
	if err := e.wipe(ctx, volume, DeliverySize); fault.Is(err, fault.NotFound) {
		return nil
	} else if err != nil {
		return fault.New(fault.KindOf(err), "the disk with the secrets of %s could not be wiped: %w", name, err).
			WithHint("vmctl stop %s, or the next vmctl up, does it", name)
	}
	if lent(d) {
		// One that keeps it keeps nothing of worth: the next boot is without.
		if err := e.Host.Domains.DetachDisk(ctx, name, SerialDelivery); err != nil {
			e.Sink.Emit(progress.Event{ID: name + "/disk", Status: progress.Note,
				Text: name + " keeps the disk that its secrets were to come on, which is empty now, until it is restarted"})
		}
	}
	err = e.Host.Volumes.DeleteVolume(ctx, volume)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// deliveryChange is the difference in what the guest is handed.
func deliveryChange(w Wanted, was []string) (change, bool) {
	want := w.Delivery.names()
	return change{key: keySecrets, from: nameList(was), to: nameList(want), live: !w.Delivery.byFirmware()}, !slices.Equal(was, want)
}

package engine

import (
	"context"
	"fmt"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Action is what an operation does. The words are shown to people and stand in
// plan's JSON: they are stable.
type Action string

// The actions.
const (
	ActionDefinePool    Action = "define pool"
	ActionBuildPool     Action = "build pool"
	ActionAutostartPool Action = "autostart pool"
	ActionStartPool     Action = "start pool"
	ActionStartNetwork  Action = "start network"
	ActionReserve       Action = "reserve address"
	ActionRelease       Action = "release address"
	ActionCreateVolume  Action = "create volume"
	ActionUploadVolume  Action = "upload volume"
	ActionReadVolume    Action = "read volume"
	ActionResizeVolume  Action = "resize volume"
	ActionDeleteVolume  Action = "delete volume"
	ActionDefineDomain  Action = "define domain"
	ActionAutostart     Action = "autostart domain"
	ActionSetMemory     Action = "set memory"
	ActionSetCPUs       Action = "set cpus"
	ActionResizeDisk    Action = "resize disk"
	ActionWipeVolume    Action = "wipe volume"
	ActionHandOver      Action = "hand over secrets"
	ActionStopDomain    Action = "stop domain"
	ActionStartDomain   Action = "start domain"
	ActionAttach        Action = "attach console"
	ActionResumeDomain  Action = "resume domain"
	ActionUndefine      Action = "undefine domain"
	ActionAttachDisk    Action = "attach disk"
	ActionDetachDisk    Action = "detach disk"
	ActionDefineSecret  Action = "define secret"
	ActionSetSecret     Action = "set secret"
	ActionDeleteSecret  Action = "delete secret"
	ActionCopyVolume    Action = "copy volume"
	ActionCopySecret    Action = "copy secret"
	ActionNoteMove      Action = "note move"
	ActionMoveLive      Action = "move running guest"
)

// When says from when on an operation's effect holds.
type When string

// The moments.
const (
	Now      When = "now"
	NextBoot When = "next boot"
)

// Op is one libvirt call with the reason for it. (Stopping is the exception: asking
// the guest, waiting, and pulling the plug in the end.)
type Op struct {
	Action Action `json:"action"`
	// Resource is the name of the domain, volume, pool or network.
	Resource string `json:"resource"`
	// Cause says why, in the definition's words.
	Cause string `json:"cause"`
	// Destructive operations lose data.
	Destructive bool `json:"destructive"`
	When        When `json:"when"`

	// run is nil for what Deliver does, when the guest runs.
	run func(ctx context.Context, e *Engine, report func(sent int64)) error
	// undo is nil where there is nothing to take back.
	undo func(ctx context.Context, e *Engine) error
	// total is the number of bytes that report counts towards.
	total int64
}

// text is what is done with what, for people.
func (o Op) text() string { return string(o.Action) + " " + shownName(o.Resource) }

// String is the operation on one line, as plan prints it.
func (o Op) String() string {
	var b strings.Builder
	b.WriteString(o.text())
	if o.Cause != "" {
		fmt.Fprintf(&b, " (%s)", o.Cause)
	}
	if o.When == NextBoot {
		b.WriteString(", takes effect at the next boot")
	}
	if o.Destructive {
		b.WriteString(", DESTROYS DATA")
	}
	return b.String()
}

type (
	step   = func(context.Context, *Engine) error
	report = func(sent int64)
)

// op makes an operation that takes effect now.
func op(action Action, resource, cause string, run, undo step) Op {
	return Op{
		Action: action, Resource: resource, Cause: cause, When: Now,
		run:  func(ctx context.Context, e *Engine, _ report) error { return run(ctx, e) },
		undo: undo,
	}
}

func (o Op) destructive() Op { o.Destructive = true; return o }

func deleteVolume(name, cause string) Op {
	return op(ActionDeleteVolume, name, cause, deleting(name), nil)
}

func deleting(name string) step {
	return func(ctx context.Context, e *Engine) error { return e.Host.Volumes.DeleteVolume(ctx, name) }
}

func createOverlay(name string, size spec.Size, base Base, cause string) Op {
	return op(ActionCreateVolume, name, cause,
		func(ctx context.Context, e *Engine) error {
			return e.Host.Volumes.CreateOverlay(ctx, name, size, base)
		}, deleting(name))
}

func createVolume(name, format string, size spec.Size, cause string) Op {
	return op(ActionCreateVolume, name, cause,
		func(ctx context.Context, e *Engine) error {
			return e.Host.Volumes.CreateVolume(ctx, name, format, size)
		}, deleting(name))
}

func poolOps(p Pool) []Op {
	call := func(action Action, cause string, run step) Op { return op(action, p.Name, cause, run, nil) }
	active := func(p Pool) bool { return p.State == PoolActive }
	build := call(ActionBuildPool, "directory "+p.Target, makingPool(active, func(ctx context.Context, e *Engine) error { return e.Host.Pools.BuildPool(ctx) }))
	autostart := call(ActionAutostartPool, "", func(ctx context.Context, e *Engine) error { return e.Host.Pools.AutostartPool(ctx) })
	start := call(ActionStartPool, "", makingPool(active, func(ctx context.Context, e *Engine) error { return e.Host.Pools.StartPool(ctx) }))
	switch p.State {
	case PoolActive:
		return nil
	case PoolAbsent:
		there := func(p Pool) bool { return p.State != PoolAbsent }
		define := call(ActionDefinePool, "not there", makingPool(there, func(ctx context.Context, e *Engine) error { return e.Host.Pools.DefinePool(ctx) }))
		return []Op{define, build, autostart, start}
	default:
		// Also a pool whose making was interrupted: every step may be repeated.
		ops := []Op{build}
		if !p.Autostart {
			ops = append(ops, autostart)
		}
		return append(ops, start)
	}
}

// makingPool is a step of making the pool, which all machines of a host share: another up may
// be at it at the same moment. When it is refused, what the pool is by then decides.
func makingPool(done func(Pool) bool, run step) step {
	return func(ctx context.Context, e *Engine) error {
		err := run(ctx, e)
		if !fault.Is(err, fault.Refused) {
			return err
		}
		if p, look := e.Host.Pools.Pool(ctx); look == nil && done(p) {
			return nil
		}
		return err
	}
}

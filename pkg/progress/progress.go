// Package progress is the vocabulary in which long work tells how far it is.
// Producers emit events; how they are shown is pkg/ui's business alone.
package progress

// Status is where a task stands.
type Status uint8

// The states of a task. A task begins with its first Working event and ends with
// exactly one of the others.
const (
	Working Status = iota
	Done
	Failed
	// Skipped is a task that turned out to have nothing to do.
	Skipped
	// Note is not a task: one sentence a person should see, such as a fallback taken.
	Note
	// Log is not a task: one raw line of a subprocess, shown only when asked for.
	Log
)

// Unit is what Event.Current and Event.Total count.
type Unit uint8

// The units.
const (
	Count Unit = iota
	Bytes
)

// Event is one step of one task. Events of a task share the ID.
type Event struct {
	// ID names the task, stable over its life: "example/build", "example/start".
	ID string
	// Text says what is being done, or was: "build images/example", "start domain example".
	Text string
	// Detail is the present sub-step or last line of output, or the result when Done.
	Detail string
	Status Status
	// Current of Total in Unit; Total 0 means unknown.
	Current, Total int64
	Unit           Unit
	// Err is set when Status is Failed.
	Err error
}

// Sink takes events. Implementations are safe for concurrent use and never block
// for long.
type Sink interface {
	Emit(Event)
}

// Func makes a function a Sink.
type Func func(Event)

// Emit calls f.
func (f Func) Emit(e Event) { f(e) }

// Discard is a Sink that shows nothing.
var Discard Sink = Func(func(Event) {})

package engine

import (
	"context"
	"io"
)

// Consoles opens serial consoles.
type Consoles interface {
	// OpenConsole attaches to the first serial console. It is refused (fault.Refused)
	// when somebody else is attached, unless force throws them out; their Read is then refused,
	// too. Read returns io.EOF when the domain stops.
	OpenConsole(ctx context.Context, domain string, force bool) (io.ReadWriteCloser, error)
	// OpenChannel attaches to the virtio port of a name. NotFound when the running domain
	// has none; fault.Refused while somebody else is attached. Read returns io.EOF when the
	// domain stops.
	OpenChannel(ctx context.Context, domain, channel string) (io.ReadWriteCloser, error)
}

// Screen is where a guest's screen is served, seen from the host itself.
type Screen struct {
	// Kind is vnc or spice.
	Kind    string
	Address string
	Port    uint16
}

// Screens shows what guests with a graphics card draw.
type Screens interface {
	// Screen says where a running guest's screen is served; NotFound when it has none.
	Screen(ctx context.Context, domain string) (Screen, error)
	// Screenshot is a picture of the first screen, in the format of the host's choice, and
	// the format's MIME type.
	Screenshot(ctx context.Context, domain string) (mime string, picture io.ReadCloser, err error)
}

// EventKind says what happened to a domain.
type EventKind string

// The events the engine waits for.
const (
	EventStarted      EventKind = "started"
	EventStopped      EventKind = "stopped"
	EventCrashed      EventKind = "crashed"
	EventAgent        EventKind = "agent connected"
	EventDisk         EventKind = "disk let go"
	EventDiskFull     EventKind = "paused: no room for what it writes"
	EventUndefined    EventKind = "undefined"
	EventOther        EventKind = "other"
	EventDisconnected EventKind = "connection lost"
)

// Event is one thing that happened to one domain.
type Event struct {
	Kind   EventKind
	Domain string
}

// Events tells what happens to a domain.
type Events interface {
	// Watch begins at once and ends with ctx, when the channel is closed. An empty
	// name watches all domains.
	Watch(ctx context.Context, domain string) (<-chan Event, error)
	// AgentConnected asks whether the guest agent's channel is open now.
	AgentConnected(ctx context.Context, domain string) (bool, error)
}

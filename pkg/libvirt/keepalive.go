package libvirt

import (
	"sync"
	"sync/atomic"
	"time"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/fault"
)

// A host that is waited for and says nothing for so long is asked whether it is there; one
// that has said nothing for silencePatience is gone. virsh's values.
const (
	silenceBeat     = 5 * time.Second
	silencePatience = 6 * silenceBeat
	// interruptPatience is how long a host may take to show that it is there once the
	// caller wants to leave.
	interruptPatience = 2 * time.Second
)

// WithSilence sets what is told when a host that is waited for falls silent (true), and when
// it is heard again (false).
func WithSilence(tell func(silent bool)) Option { return func(c *conn) { c.pulse.tell = tell } }

// pulse finds out that a host is gone which takes what is sent, and never answers. libvirt's
// own keepalive cannot be left to do it: when it closes a connection that several calls wait on, the client
// library (9.0) wakes one of them, and the others wait for ever, or crash the program.
type pulse struct {
	// beat is how often is looked, patience how long a silence may be.
	beat, patience time.Duration
	tell           func(silent bool)

	// heard is when something last came from the host, in nanoseconds since 1970.
	heard atomic.Int64

	mu sync.Mutex
	// asked is the question that the host has not answered yet.
	asked chan nothing
	// gone says that it is not expected to any more.
	gone atomic.Bool
}

// hear notes that the host is there.
func (p *pulse) hear() { p.heard.Store(time.Now().UnixNano()) }

// quiet is for how long nothing has come from the host.
func (p *pulse) quiet() time.Duration { return time.Since(time.Unix(0, p.heard.Load())) }

// ask asks the host something that costs it nothing, unless a question is open already. What it
// gives is closed with the answer. libvirtd answers this even while all that does other
// work is busy: its priority is high (src/remote/remote_protocol.x).
func (c *conn) ask() <-chan nothing {
	c.pulse.mu.Lock()
	defer c.pulse.mu.Unlock()
	if c.pulse.asked != nil {
		return c.pulse.asked
	}
	answered := make(chan nothing)
	l, release, err := c.hold()
	if err != nil {
		return answered
	}
	c.pulse.asked = answered
	go func() {
		defer release()
		if _, err := l.GetLibVersion(); err == nil {
			c.pulse.hear()
		}
		c.pulse.mu.Lock()
		defer c.pulse.mu.Unlock()
		c.pulse.asked = nil
		close(answered)
	}()
	return answered
}

// awaited says that somebody waits for the host, other than the question whether it is there.
func (c *conn) awaited() bool {
	c.pulse.mu.Lock()
	asking := c.pulse.asked != nil
	c.pulse.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.users > 1 || c.users == 1 && !asking
}

// listen watches over a connection until it is closed or lost.
func (c *conn) listen() {
	tick := time.NewTicker(c.pulse.beat)
	defer tick.Stop()
	silent := false
	for {
		select {
		case <-c.ended:
			return
		case <-c.lost:
			return
		case <-tick.C:
		}
		quiet := c.pulse.quiet()
		if !c.awaited() {
			quiet = 0
		}
		if now := quiet >= 2*c.pulse.beat; now != silent && c.pulse.tell != nil {
			silent = now
			c.pulse.tell(silent)
		}
		switch {
		case quiet >= c.pulse.patience:
			c.giveUp()
			return
		case quiet >= c.pulse.beat:
			c.ask()
		}
	}
}

// giveUp ends all that waits for the host. What waits inside of libvirt stays there.
func (c *conn) giveUp() {
	c.pulse.gone.Store(true)
	c.lostOnce.Do(func() { close(c.lost) })
}

// leaves gives up a host that does not show at once that it is there.
func (c *conn) leaves() {
	timer := time.NewTimer(min(interruptPatience, c.pulse.patience))
	defer timer.Stop()
	select {
	case <-c.ask():
	case <-c.lost:
	case <-timer.C:
		c.giveUp()
	}
}

// silence says that the host is gone.
func (c *conn) silence(doing string) error {
	return because(fault.Unreachable, "cannot "+doing+": "+c.uri+" does not answer any more", golibvirt.ERR_RPC).
		WithHint("check that the host is up and that the network reaches it, then run the same command again; vmctl doctor looks closer")
}

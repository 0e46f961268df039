package libvirt

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// Option changes how a connection is used.
type Option func(*conn)

// WithPoolTarget sets the directory on the host in which vmctl's pool is made.
func WithPoolTarget(dir string) Option { return func(c *conn) { c.target = dir } }

// WithSSH sets the program that is run in place of ssh; empty is ssh.
func WithSSH(program string) Option { return func(c *conn) { c.ssh = program } }

// WithPatience sets how long a host may take to answer.
func WithPatience(d time.Duration) Option { return func(c *conn) { c.patience = d } }

// goodbyeGrace is how long Close waits for a host to take leave of it.
const goodbyeGrace = 500 * time.Millisecond

// answerTime is how long a host may take to answer that takes the connection. ssh has a
// limit of its own, and may wait for a person.
const answerTime = time.Minute

// Open connects to a host. An empty URI is libvirt's own default. When ctx ends while
// libvirt still connects, Open returns at once; the attempt goes on in the background
// until libvirt gives up, and what it yields is closed.
//
// The Closer ends the connection, after the calls, streams and watches that still use it.
func Open(ctx context.Context, uri string, options ...Option) (*engine.Host, io.Closer, error) {
	if err := CheckURI(uri); err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, cut(ctx, "connect to "+named(uri))
	}
	type opened struct {
		l   *golibvirt.Connect
		uri string
		err error
	}
	done := make(chan opened)
	gone := make(chan struct{})
	c := &conn{pulse: pulse{beat: silenceBeat, patience: silencePatience}}
	if _, transport, _ := strings.Cut(uri, "+"); !strings.HasPrefix(transport, "ssh:") {
		c.patience = answerTime
	}
	for _, option := range options {
		option(c)
	}
	go func() {
		l, full, err := dial(uri, c.ssh)
		select {
		case done <- opened{l, full, err}:
		case <-gone:
			if l != nil {
				_, _ = l.Close()
			}
		}
	}()
	var silent <-chan time.Time
	if c.patience > 0 {
		timer := time.NewTimer(c.patience)
		defer timer.Stop()
		silent = timer.C
	}
	select {
	case <-ctx.Done():
		close(gone)
		return nil, nil, cut(ctx, "connect to "+named(uri))
	case <-silent:
		close(gone)
		return nil, nil, fault.New(fault.Unreachable, "cannot connect to %s: the host takes the connection, and then says nothing", named(uri)).
			WithHint("libvirt there may hang, or another program listens: look at the host, or restart libvirtd there")
	case o := <-done:
		if o.err != nil {
			return nil, nil, unreachable(uri, o.err)
		}
		c.uri, c.place, c.l = o.uri, locate(o.uri, os.Geteuid()), o.l
		if c.target == "" {
			c.target = defaultTarget(c.place)
		}
		h := c.host()
		go c.listen()
		return h, c, nil
	}
}

// dial opens the connection and asks for the normalised URI.
func dial(uri, ssh string) (*golibvirt.Connect, string, error) {
	if err := startLoop(); err != nil {
		return nil, "", err
	}
	l, err := golibvirt.NewConnect(withCommand(uri, ssh))
	if err != nil {
		return nil, "", err
	}
	full, err := l.GetURI()
	if err != nil {
		_, _ = l.Close()
		return nil, "", err
	}
	return l, withoutCommand(full), nil
}

// named is the URI for people.
func named(uri string) string {
	if uri == "" {
		return "libvirt"
	}
	return uri
}

// conn is one connection. It implements all of the engine's interfaces but exposes
// them only as the parts of an engine.Host.
type conn struct {
	uri    string
	place  place
	target string
	ssh    string
	// patience bounds the attempt to connect; 0 does not.
	patience time.Duration

	mu     sync.Mutex
	l      *golibvirt.Connect
	users  int
	closed bool

	domains handles[*golibvirt.Domain]
	pools   handles[*golibvirt.StoragePool]
	volumes handles[*golibvirt.StorageVol]
	// able is what the host can do, once it has said so.
	able     atomic.Pointer[engine.Capabilities]
	ableSoon singleflight.Group

	events events

	refreshing shared

	watchLost sync.Once
	lostOnce  sync.Once
	// lost is closed when the host is gone, ended when the connection is closed.
	lost, ended chan struct{}
	pulse       pulse
}

func (c *conn) host() *engine.Host {
	c.lost, c.ended = make(chan struct{}), make(chan struct{})
	c.domains.gone, c.pools.gone, c.volumes.gone = golibvirt.ERR_NO_DOMAIN, golibvirt.ERR_NO_STORAGE_POOL, golibvirt.ERR_NO_STORAGE_VOL
	return &engine.Host{
		URI: c.uri, Local: c.place.local, Session: c.place.session,
		Inspector: c, Domains: c, Pools: c, Volumes: c, Networks: c, Consoles: c, Screens: c, Events: c, Secrets: c, Agents: c, Moves: c,
	}
}

// Close ends the connection as soon as nothing uses it any more.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.ended)
	idle := c.users == 0
	c.mu.Unlock()
	if idle {
		c.disconnect()
	}
	return nil
}

// disconnect lets libvirt go: its callbacks hold the connection, too. A host that
// hangs is waited for only shortly, and one on another machine not at all: it sees the
// connection end, and its farewell would take a round trip.
func (c *conn) disconnect() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.domains.clear()
		c.pools.clear()
		c.volumes.clear()
		c.events.deregister(c.l)
		// Refused where none was registered.
		_ = c.l.UnregisterCloseCallback()
		_, _ = c.l.Close()
	}()
	grace := goodbyeGrace
	if !c.place.local {
		grace = 0
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// hold keeps the connection open until release is called, once.
func (c *conn) hold() (l *golibvirt.Connect, release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, fault.New(fault.Unreachable, "the connection to %s has been closed", c.uri)
	}
	if c.users++; c.users == 1 {
		c.pulse.hear() // from now on it is waited for
	}
	return c.l, sync.OnceFunc(c.release), nil
}

func (c *conn) release() {
	c.mu.Lock()
	c.users--
	last := c.closed && c.users == 0
	c.mu.Unlock()
	if last {
		c.disconnect()
	}
}

// broken gives the channel that is closed when libvirt reports the connection lost.
func (c *conn) broken(l *golibvirt.Connect) <-chan struct{} {
	c.watchLost.Do(func() {
		// The test driver has no connection to lose and refuses.
		_ = l.RegisterCloseCallback(func(*golibvirt.Connect, golibvirt.ConnectCloseReason) {
			c.lostOnce.Do(func() { close(c.lost) })
		})
	})
	return c.lost
}

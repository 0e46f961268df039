package testenv

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Wire is a slow connection to a server of the private host, which can break in more
// than one way. It stands between a client and the server: what the client connects to
// is Address.
type Wire struct {
	// Address is where it listens, on 127.0.0.1 or as a socket in the file system.
	Address string
	// Up and Down count the bytes to the server and from it.
	Up, Down atomic.Int64

	shape    Shape
	listener net.Listener
	server   func() (net.Conn, error)

	mu    sync.Mutex
	conns []net.Conn
	// stalled, when it is not nil, is closed when bytes may go on.
	stalled chan struct{}
	// at is what happens when so many bytes have gone up.
	at     int64
	happen func()
}

// Shape is what a wire is like; the zero value is as fast as can be.
type Shape struct {
	// Rate is in bytes a second, for each direction; 0 is no limit.
	Rate int64
	// Delay is that of one direction: half a round trip.
	Delay time.Duration
}

// NewWire makes a wire to a server; network is "tcp" or "unix". For a socket, address is
// the server's and listen the wire's.
func NewWire(t testing.TB, network, listen, address string, shape Shape) *Wire {
	t.Helper()
	w := &Wire{shape: shape, server: func() (net.Conn, error) { return net.Dial(network, address) }}
	var err error
	w.listener, err = net.Listen(network, listen)
	must(t, err)
	w.Address = w.listener.Addr().String()
	go w.accept()
	t.Cleanup(func() { _ = w.listener.Close(); w.Mend(); w.Close() })
	return w
}

// After makes f happen when so many more bytes have gone up.
func (w *Wire) After(bytes int64, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.happen = w.Up.Load()+bytes, f
}

// Close ends all connections, as a server or a router does that says so.
func (w *Wire) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// Reset ends all connections at once, with what is on its way.
func (w *Wire) Reset() {
	w.mu.Lock()
	for _, c := range w.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	w.mu.Unlock()
	w.Close()
}

// Stall lets nothing through until Mend.
func (w *Wire) Stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stalled == nil {
		w.stalled = make(chan struct{})
	}
}

// Mend lets bytes through again.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stalled != nil {
		close(w.stalled)
		w.stalled = nil
	}
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := w.server()
		if err != nil {
			_ = client.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, client, server)
		w.mu.Unlock()
		go w.carry(server, client, &w.Up)
		go w.carry(client, server, &w.Down)
	}
}

// parcel is what was read at once, and when it may arrive.
type parcel struct {
	data []byte
	due  time.Time
}

// carry takes bytes from one end to the other, not faster than the shape allows.
func (w *Wire) carry(to, from net.Conn, count *atomic.Int64) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// What is on its way at once is bounded, as in a real line: about 4 MiB.
	way := make(chan parcel, 256)
	go func() {
		defer close(way)
		free := time.Now()
		for {
			buffer := make([]byte, 16<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				if now := time.Now(); free.Before(now) {
					free = now
				}
				if w.shape.Rate > 0 {
					free = free.Add(time.Duration(n) * time.Second / time.Duration(w.shape.Rate))
				}
				select {
				case way <- parcel{buffer[:n], free.Add(w.shape.Delay)}:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		if wait := time.Until(p.due); wait > 0 {
			<-time.After(wait)
		}
		w.pass(count, len(p.data))
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// pass counts bytes, and waits while the wire is stalled.
func (w *Wire) pass(count *atomic.Int64, n int) {
	sum := count.Add(int64(n))
	w.mu.Lock()
	var happen func()
	if count == &w.Up && w.happen != nil && sum >= w.at {
		happen, w.happen = w.happen, nil
	}
	w.mu.Unlock()
	if happen != nil {
		happen()
	}
	w.mu.Lock()
	stalled := w.stalled
	w.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

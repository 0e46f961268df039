package testenv

import (
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Link is a way to a server of the private hosts that tests look into, and that fails as
// they want it to. It stands between a client and the server: what clients connect to is
// Address. It counts connections, bytes, and the calls of libvirt's protocol where that
// passes as it is.
type Link struct {
	// Address is where it listens: host:port, or the path of a unix socket.
	Address string
	// Up and Down count the bytes to the server and from it.
	Up, Down atomic.Int64

	network, target string
	shape           Shape

	mu          sync.Mutex
	connections int
	calls       map[uint32]int
	ends        []net.Conn
	// stalled, when it is not nil, is closed when bytes may go on.
	stalled chan struct{}
	due     []happening
}

// Shape is what a link is like; the zero value is as fast as can be.
type Shape struct {
	// Rate is in bytes a second, for each direction; 0 is no limit.
	Rate int64
	// Delay is that of one direction: half a round trip.
	Delay time.Duration
}

// RPC is a link to the private libvirtd. Its socket goes into a URI: see URI.
func RPC(t testing.TB, shape Shape) *Link {
	t.Helper()
	return newLink(t, "unix", filepath.Join(Dir(t, ""), "libvirt"), libvirtSocket, shape)
}

// TCP is a link to a port, such as an ssh server's, from a port of its own on 127.0.0.1.
func TCP(t testing.TB, target string, shape Shape) *Link {
	t.Helper()
	return newLink(t, "tcp", "127.0.0.1:0", target, shape)
}

func newLink(t testing.TB, network, at, target string, shape Shape) *Link {
	t.Helper()
	l := &Link{network: network, target: target, shape: shape, calls: map[uint32]int{}}
	l.Address = l.listen(t, network, at)
	return l
}

func (l *Link) listen(t testing.TB, network, at string) string {
	t.Helper()
	listener, err := net.Listen(network, at)
	must(t, err)
	go l.serve(listener)
	t.Cleanup(func() {
		_ = listener.Close()
		l.Mend()
		l.Close()
	})
	return listener.Addr().String()
}

// URI is the connection to the private host's libvirtd by the link, which is on this
// machine.
func (l *Link) URI() string { return System + "?socket=" + l.Address }

// Remote is the same, as a connection to another machine.
func (l *Link) Remote(t testing.TB) string {
	t.Helper()
	return "qemu+tcp://" + l.listen(t, "tcp", "127.0.0.1:0") + "/system"
}

// Port is the port that it listens on.
func (l *Link) Port() string {
	_, port, _ := net.SplitHostPort(l.Address) // it is one of ours
	return port
}

// Close ends all connections that stand, as a server or a router does that says so.
func (l *Link) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.ends {
		_ = c.Close()
	}
	l.ends = nil
}

// Drop ends all connections that stand by a reset, with what is on its way.
func (l *Link) Drop() {
	l.mu.Lock()
	for _, c := range l.ends {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	l.mu.Unlock()
	l.Close()
}

// Stall lets nothing through until Mend, on connections that stand and on new ones: a host
// that takes the connection and says nothing.
func (l *Link) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled == nil {
		l.stalled = make(chan struct{})
	}
}

// Mend lets bytes through again.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled != nil {
		close(l.stalled)
		l.stalled = nil
	}
}

func (l *Link) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial(l.network, l.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l.mu.Lock()
		l.connections++
		l.ends = append(l.ends, client, server)
		l.mu.Unlock()
		go l.carry(server, client, &calls{link: l}, &l.Up)
		go l.carry(client, server, nil, &l.Down)
	}
}

// ahead is how much is on its way at once, in pieces: a real line holds no more than some
// megabytes.
const (
	ahead = 256
	piece = 16 << 10
)

// carry takes bytes from one end to the other, not faster than the shape allows.
func (l *Link) carry(to, from net.Conn, calls *calls, count *atomic.Int64) {
	type parcel struct {
		data []byte
		due  time.Time
	}
	way, gone := make(chan parcel, ahead), make(chan struct{})
	go func() {
		defer close(way)
		for free := time.Now(); ; {
			buffer := make([]byte, piece)
			n, err := from.Read(buffer)
			if n > 0 {
				if now := time.Now(); free.Before(now) {
					free = now
				}
				if l.shape.Rate > 0 {
					free = free.Add(time.Duration(n) * time.Second / time.Duration(l.shape.Rate))
				}
				select {
				case way <- parcel{buffer[:n], free.Add(l.shape.Delay)}:
				case <-gone:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	defer close(gone)
	for p := range way {
		if wait := time.Until(p.due); wait > 0 {
			<-time.After(wait)
		}
		count.Add(int64(len(p.data)))
		if calls != nil {
			calls.read(p.data)
			l.happen()
		}
		l.await()
		if _, err := to.Write(p.data); err != nil {
			_ = from.Close()
			return
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// await waits while the link is stalled.
func (l *Link) await() {
	l.mu.Lock()
	stalled := l.stalled
	l.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

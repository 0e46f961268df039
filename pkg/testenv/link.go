package testenv

import (
	"encoding/binary"
	"io"
	"maps"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Link is a way to the private host that tests look into: it counts connections and, where
// libvirt's protocol passes as it is, the calls of clients; and it can be made longer.
type Link struct {
	// Address is where it listens: host:port, or the path of a unix socket.
	Address string

	network, target string
	// oneWay is how long each byte is under way, in each direction.
	oneWay time.Duration

	mu          sync.Mutex
	connections int
	calls       map[uint32]int
	ends        []net.Conn
}

// RPC is a link to the private libvirtd. Its socket goes into a URI: see URI.
func RPC(t testing.TB, roundTrip time.Duration) *Link {
	t.Helper()
	return newLink(t, "unix", filepath.Join(Dir(t, ""), "libvirt"), libvirtSocket, roundTrip)
}

// TCP is a link to a port of 127.0.0.1, such as an ssh server's, on a port of its own.
func TCP(t testing.TB, target string, roundTrip time.Duration) *Link {
	t.Helper()
	return newLink(t, "tcp", "127.0.0.1:0", target, roundTrip)
}

func newLink(t testing.TB, network, at, target string, roundTrip time.Duration) *Link {
	t.Helper()
	listener, err := net.Listen(network, at)
	must(t, err)
	l := &Link{Address: listener.Addr().String(), network: network, target: target, oneWay: roundTrip / 2, calls: map[uint32]int{}}
	go l.serve(listener)
	t.Cleanup(func() {
		_ = listener.Close()
		l.Cut()
	})
	return l
}

// URI is the connection to the private host's libvirtd by the link, which is on this
// machine.
func (l *Link) URI() string { return System + "?socket=" + l.Address }

// Remote is the same, as a connection to another machine.
func (l *Link) Remote(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go l.serve(listener)
	return "qemu+tcp://" + listener.Addr().String() + "/system"
}

// Port is the port that it listens on.
func (l *Link) Port() string {
	_, port, _ := net.SplitHostPort(l.Address) // it is one of ours
	return port
}

// Calls is how many calls have passed since the last Reset, and Procedures by their
// numbers in libvirt's remote_protocol.x.
func (l *Link) Calls() int {
	sum := 0
	for _, n := range l.Procedures() {
		sum += n
	}
	return sum
}

// Procedures are the calls by their numbers in libvirt's remote_protocol.x.
func (l *Link) Procedures() map[uint32]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.calls)
}

// Connections is how many connections were made since the last Reset.
func (l *Link) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connections
}

// Reset begins to count anew.
func (l *Link) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections, l.calls = 0, map[uint32]int{}
}

// Cut breaks all connections that stand.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.ends {
		_ = c.Close()
	}
	l.ends = nil
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
		count := io.Discard
		if l.network == "unix" {
			count = &calls{link: l}
		}
		go l.carry(server, client, count)
		go l.carry(client, server, io.Discard)
	}
}

// carry takes bytes one way, each of them as late as the next.
func (l *Link) carry(to, from net.Conn, count io.Writer) {
	type parcel struct {
		due   time.Time
		bytes []byte
	}
	way := make(chan parcel, 1024)
	go func() {
		defer func() { _ = to.Close() }()
		for p := range way {
			if wait := time.Until(p.due); wait > 0 {
				<-time.After(wait)
			}
			if _, err := to.Write(p.bytes); err != nil {
				_ = from.Close()
			}
		}
	}()
	defer close(way)
	for {
		buffer := make([]byte, 64<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			_, _ = count.Write(buffer[:n]) // it takes everything
			way <- parcel{time.Now().Add(l.oneWay), buffer[:n]}
		}
		if err != nil {
			return
		}
	}
}

// calls reads the packets of one client. Source: libvirt's docs/internals/rpc.html and
// src/rpc/virnetprotocol.x: a length, which counts itself, then program, version,
// procedure and type, each of four bytes.
type calls struct {
	link   *Link
	header []byte
	left   int
}

const (
	packetHeader = 20
	typeCall     = 0
	// keepAlive is the program of packets that only ask whether the other side is there.
	keepAlive = 0x6b656570
)

// Write takes a piece of the stream.
func (c *calls) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if c.left > 0 {
			n := min(c.left, len(rest))
			c.left, rest = c.left-n, rest[n:]
			continue
		}
		n := min(packetHeader-len(c.header), len(rest))
		c.header, rest = append(c.header, rest[:n]...), rest[n:]
		if len(c.header) < packetHeader {
			break
		}
		word := func(i int) uint32 { return binary.BigEndian.Uint32(c.header[4*i:]) }
		if word(1) != keepAlive && word(4) == typeCall {
			c.link.mu.Lock()
			c.link.calls[word(3)]++
			c.link.mu.Unlock()
		}
		c.left, c.header = int(word(0))-packetHeader, c.header[:0]
	}
	return len(p), nil
}

package testenv

import (
	"encoding/binary"
	"maps"
)

// Calls is how many calls have passed since the last Reset.
func (l *Link) Calls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum()
}

func (l *Link) sum() int {
	sum := 0
	for _, n := range l.calls {
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

// Reset begins to count connections and calls anew.
func (l *Link) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections, l.calls = 0, map[uint32]int{}
}

// happening is what is to happen on a link, and when: at so many bytes that went up, or
// before so many calls since the last Reset.
type happening struct {
	bytes int64
	calls int
	do    func()
}

// After makes f happen when so many more bytes have gone up.
func (l *Link) After(bytes int64, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = append(l.due, happening{bytes: l.Up.Load() + bytes, do: f})
}

// AtCall makes f happen before the n-th call since the last Reset goes on to the server.
func (l *Link) AtCall(n int, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = append(l.due, happening{calls: n, do: f})
}

// Forget lets nothing happen any more that has not happened yet.
func (l *Link) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = nil
}

// happen does what is due.
func (l *Link) happen() {
	l.mu.Lock()
	var now, later []happening
	bytes, calls := l.Up.Load(), l.sum()
	for _, h := range l.due {
		if h.bytes > 0 && bytes >= h.bytes || h.calls > 0 && calls >= h.calls {
			now = append(now, h)
		} else {
			later = append(later, h)
		}
	}
	l.due = later
	l.mu.Unlock()
	for _, h := range now {
		h.do()
	}
}

// calls reads the packets of one client. Source: libvirt's docs/internals/rpc.html and
// src/rpc/virnetprotocol.x: a length, which counts itself, then program, version,
// procedure and type, each of four bytes. What is not of libvirt's programs is not counted.
type calls struct {
	link   *Link
	header []byte
	left   int
	// foreign says that another protocol passes here.
	foreign bool
}

const (
	packetHeader = 20
	typeCall     = 0
	// The programs of libvirt's protocol, and that of packets which only ask whether the other
	// side is there.
	remoteProgram = 0x20008086
	qemuProgram   = 0x20008087
	keepAlive     = 0x6b656570
)

// read takes a piece of the stream.
func (c *calls) read(p []byte) {
	for rest := p; len(rest) > 0 && !c.foreign; {
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
		switch word(1) {
		case remoteProgram, qemuProgram:
			if word(4) == typeCall {
				c.link.mu.Lock()
				c.link.calls[word(3)]++
				c.link.mu.Unlock()
			}
		case keepAlive:
		default:
			c.foreign = true
		}
		c.left, c.header = max(0, int(word(0))-packetHeader), c.header[:0]
	}
}

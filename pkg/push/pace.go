package push

import (
	"sync"
	"time"
)

// pace is how fast the line takes what is sent, and this machine compresses, of late. It is
// safe for concurrent use.
type pace struct {
	mu         sync.Mutex
	line, work flow
	// sent is how much went over the line in all.
	sent int64
}

// flow is a sum of bytes and of the time they took, in which what was counts less and less.
type flow struct{ bytes, seconds float64 }

func (f *flow) add(bytes int, took time.Duration) {
	const stays = 0.9
	f.bytes, f.seconds = f.bytes*stays+float64(bytes), f.seconds*stays+took.Seconds()
}

func (f *flow) perByte() float64 { return f.seconds / max(f.bytes, 1) }

// soaked is how much goes at any speed at first, into what lies between this program and
// the line: pipes, and the buffers of ssh and of the connection.
const soaked = 16 << 20

func (p *pace) wrote(bytes int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line.add(bytes, took)
	p.sent += int64(bytes)
}

func (p *pace) compressed(bytes int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.work.add(bytes, took)
}

// hurries says that compressing holds up more than it saves: it is worth it when it takes
// less than half of the time that the line does. Where the line is as fast as that, or the
// processor has other work, the cipher needs the processor more.
func (p *pace) hurries() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent >= soaked && 2*p.work.perByte() > p.line.perByte()
}

package push

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"vmctl/pkg/delta"
	"vmctl/pkg/engine"
)

// client is one push as the client sees it.
type client struct {
	*link
	engine.Push
	*reading
	// hangUp ends the connection, so that nobody waits for the other end any more.
	hangUp func()
	// asked is how many blocks the host was told the keys of. open has an entry for each
	// message of keys whose blocks are not on their way yet: it bounds how many there are.
	asked atomic.Int64
	open  chan struct{}
	// needs are what the host asks for, one message each.
	needs chan []run
	// answered is closed when the host says nothing more; ended is why.
	answered chan struct{}
	ended    error

	mu sync.Mutex
	// arrived is how much of the image is on the host, sent what went there for it.
	arrived, sent int64
}

// senders is how many goroutines read and compress what is sent, at most.
const senders = 4

// greet waits for the host's first message. Nothing has been written there then.
func greet(l *link) error {
	kind, payload, err := l.receive(nil)
	if err != nil {
		return err
	}
	var h hello
	if kind != frameHello || json.Unmarshal(payload, &h) != nil || h.Protocol != protocol {
		return errors.New("what runs there speaks another protocol")
	}
	return nil
}

// run sends the image to a host that was told where to look.
func (c *client) run(ctx context.Context) error {
	c.open, c.needs, c.answered = make(chan struct{}, keysAhead), make(chan []run, keysAhead), make(chan struct{})
	parts, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { c.hangUp(); c.stop() })
	defer stop()
	ready := make(chan struct{})
	parts.Go(func() error {
		defer close(c.answered)
		c.ended = c.answers(ctx, ready)
		return c.ended
	})
	parts.Go(c.wait)
	parts.Go(func() error { return c.tell(ctx, ready) })
	parts.Go(func() error { return c.give(ctx) })
	return parts.Wait()
}

// deliver sends a message. When it cannot, the host may have said why before it went.
func (c *client) deliver(kind byte, payload []byte) error {
	return c.deliverWith(kind, payload, 0, 0)
}

// deliverWith sends a message that ends with a part of the image.
func (c *client) deliverWith(kind byte, payload []byte, at, length int64) error {
	err := c.sendWith(kind, payload, c.Image, at, length)
	var own ownError
	if err != nil && !errors.As(err, &own) {
		<-c.answered // it ends with the connection
		err = cmp.Or(c.ended, err)
	}
	return err
}

// tell sends the keys of all blocks, when the host is ready and may write.
func (c *client) tell(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.Begin != nil {
		if err := c.Begin(); err != nil {
			return ownError{err}
		}
	}
	what, err := json.Marshal(begin{c.Volume, c.Size})
	if err != nil {
		return err
	}
	if err := c.deliver(frameBegin, what); err != nil {
		return err
	}
	for keys := range c.keys {
		select {
		case c.open <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.asked.Add(int64(len(keys) / keySize))
		if err := c.deliver(frameKeys, keys); err != nil {
			return err
		}
	}
	return nil
}

// answers reads what the host says, up to its last word.
func (c *client) answers(ctx context.Context, ready chan<- struct{}) error {
	blocks, at, greeted := delta.Blocks(c.Size), int64(0), false
	var buffer []byte
	for {
		kind, payload, err := c.receive(buffer)
		if err != nil {
			return err
		}
		buffer = payload
		switch {
		case kind == frameReady && !greeted:
			greeted = true
			close(ready)
		case kind == frameNeed && at < c.asked.Load():
			to := min(at+keysPerFrame, blocks)
			if err := c.need(payload, at, to); err != nil {
				return err
			}
			if at = to; at == blocks {
				close(c.needs)
			}
		case kind == frameDone && at == blocks:
			return c.done(ctx, payload)
		case kind == frameError:
			var said failure
			if json.Unmarshal(payload, &said) != nil {
				return failure{broken, "the host gave up and did not say why"}
			}
			return said
		default:
			return failure{broken, fmt.Sprintf("a message of kind %q is not expected", kind)}
		}
	}
}

// done reads the host's last word.
func (c *client) done(ctx context.Context, payload []byte) error {
	var said end
	select {
	case <-c.summed:
	case <-ctx.Done():
		return ctx.Err()
	}
	if json.Unmarshal(payload, &said) != nil || said.SHA256 != c.sha256 {
		return failure{notSame, "the host ended with another digest than the image's"}
	}
	return nil
}

// need reads which of some blocks the host asks for: runs in order. The others are there.
func (c *client) need(payload []byte, from, to int64) error {
	var runs []run
	there := min(to*delta.Block, c.Size) - from*delta.Block
	for begin := from; len(payload) > 0; payload = payload[runSize:] {
		r, err := readRun(payload, begin, to)
		if err != nil {
			return failure{broken, err.Error()}
		}
		runs = append(runs, r)
		there -= min((r.at+r.count)*delta.Block, c.Size) - r.at*delta.Block
		begin = r.at + r.count
	}
	c.needs <- runs // there is room: one for each message of keys that is open
	c.report(there, 0)
	return nil
}

// report tells how much more is on the host.
func (c *client) report(arrived, sent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived, c.sent = c.arrived+arrived, c.sent+sent
	if c.Report != nil {
		c.Report(c.arrived)
	}
}

// give sends what the host asks for, and the digest when that was all.
func (c *client) give(ctx context.Context) error {
	group, working := errgroup.WithContext(ctx)
	pieces := make(chan run)
	group.Go(func() error {
		defer close(pieces)
		return c.deal(working, pieces)
	})
	for range min(runtime.GOMAXPROCS(0), senders) {
		group.Go(func() error { return c.data(working, pieces) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	select {
	case <-c.summed:
		return c.sendJSON(frameEnd, end{SHA256: c.sha256})
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deal cuts what the host asks for into pieces, in order: the host proves what it has from
// the beginning on.
func (c *client) deal(ctx context.Context, pieces chan<- run) error {
	for {
		var runs []run
		var more bool
		select {
		case runs, more = <-c.needs:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			return nil
		}
		for _, r := range runs {
			for ; r.count > 0; r = (run{r.at + blocksPerData, r.count - blocksPerData}) {
				select {
				case pieces <- run{r.at, min(r.count, blocksPerData)}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		<-c.open
	}
}

// data sends pieces of the image.
func (c *client) data(ctx context.Context, pieces <-chan run) error {
	// What arrived is known by the digest of the whole.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(blocksPerData*delta.Block), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return err
	}
	defer func() { _ = encoder.Close() }()
	s := sender{client: c, encoder: encoder, content: make([]byte, blocksPerData*delta.Block)}
	for r := range pieces {
		if err := s.piece(r); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// sender reads and compresses.
type sender struct {
	*client
	encoder        *zstd.Encoder
	content, frame []byte
}

// piece sends a piece of the image: as it is, when it would not become smaller, or not soon
// enough.
func (s *sender) piece(r run) error {
	at := r.at * delta.Block
	length := min(r.count*delta.Block, s.Size-at)
	dense, err := s.dense(at, length)
	if err != nil {
		return err
	}
	if dense || s.pace.hurries() {
		s.frame = appendRun(s.frame[:0], r)
		if err := s.deliverWith(framePlain, s.frame, at, length); err != nil {
			return err
		}
		s.report(length, runSize+length)
		return nil
	}
	if err := s.read(s.content[:length], at); err != nil {
		return err
	}
	s.frame = s.encoder.EncodeAll(s.content[:length], appendRun(s.frame[:0], r))
	if err := s.deliver(frameData, s.frame); err != nil {
		return err
	}
	s.report(length, int64(len(s.frame)))
	return nil
}

// dense says of a piece that it does not become much smaller, as far as a sample tells: one
// block in sampled.
func (s *sender) dense(at, length int64) (bool, error) {
	const sampled = 32
	sample := s.content[:0]
	for from := int64(0); from < length; from += sampled * delta.Block {
		block := sample[len(sample):][:min(delta.Block, length-from)]
		if err := s.read(block, at+from); err != nil {
			return false, err
		}
		sample = sample[:len(sample)+len(block)]
	}
	began := time.Now()
	s.frame = s.encoder.EncodeAll(sample, s.frame[:0])
	s.pace.compressed(len(sample), time.Since(began))
	return len(s.frame) > len(sample)/8*7, nil
}

// read reads a part of the image.
func (s *sender) read(content []byte, at int64) error {
	if n, err := s.Image.ReadAt(content, at); n < len(content) {
		return unreadable(shortened(err))
	}
	return nil
}

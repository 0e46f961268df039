package push

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"vmctl/pkg/delta"
	"vmctl/pkg/engine"
)

// client is one push as the client sees it.
type client struct {
	*link
	engine.Push
	// hangUp ends the connection, so that nobody waits for the other end any more.
	hangUp func()
	salt   delta.Salt
	// needs are what the host asks for, one message each.
	needs chan []run

	mu sync.Mutex
	// arrived is how much of the image is on the host, sent what went there for it.
	arrived, sent int64
}

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

// run sends the image to a host that has greeted.
func (c *client) run(ctx context.Context) error {
	_, _ = rand.Read(c.salt[:]) // never fails
	if err := c.sendJSON(frameBegin, begin{Pool: c.Pool, Volume: c.Volume, Size: c.Size, Salt: c.salt}); err != nil {
		return err
	}
	blocks := delta.Blocks(c.Size)
	c.needs = make(chan []run, (blocks+keysPerFrame-1)/keysPerFrame)
	digest := make(chan string, 1)
	parts, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, c.hangUp)
	defer stop()
	ready := make(chan struct{})
	parts.Go(func() error { return c.answers(ctx, ready, digest) })
	parts.Go(func() error {
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		return c.keys(ctx)
	})
	sum := make(chan string, 1)
	parts.Go(func() error {
		h := sha256.New()
		if _, err := io.CopyN(h, whole{ctx, io.NewSectionReader(c.Image, 0, c.Size)}, c.Size); err != nil {
			return unreadable(err)
		}
		is := hex.EncodeToString(h.Sum(nil))
		sum <- is
		digest <- is
		return nil
	})
	parts.Go(func() error { return c.data(ctx, sum) })
	return parts.Wait()
}

// whole is a reader that ends with its context.
type whole struct {
	ctx context.Context
	io.Reader
}

func (w whole) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Reader.Read(p)
}

// imageError is the client's own file that cannot be read.
type imageError struct{ error }

func (e imageError) Unwrap() error { return e.error }

func unreadable(err error) error { return imageError{err} }

// keys sends the keys of all blocks.
func (c *client) keys(ctx context.Context) error {
	const part = keysPerFrame * delta.Block
	for at := int64(0); at < c.Size; at += part {
		keys, err := keysOf(ctx, c.Image, c.salt, at, min(at+part, c.Size))
		if err != nil {
			return unreadable(err)
		}
		if err := c.send(frameKeys, encodeKeys(keys)); err != nil {
			return err
		}
	}
	return nil
}

// answers reads what the host says, up to its last word.
func (c *client) answers(ctx context.Context, ready chan<- struct{}, digest <-chan string) error {
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
		case kind == frameNeed && greeted && at < blocks:
			to := min(at+keysPerFrame, blocks)
			if err := c.need(payload, at, to); err != nil {
				return err
			}
			if at = to; at == blocks {
				close(c.needs)
			}
		case kind == frameDone && at == blocks:
			var said end
			select {
			case is := <-digest:
				if json.Unmarshal(payload, &said) != nil || said.SHA256 != is {
					return failure{notSame, "the host ended with another digest than the image's"}
				}
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
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
	c.needs <- runs // there is room: one for each message
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

// data sends what the host asks for, and the digest when that was all.
func (c *client) data(ctx context.Context, sum <-chan string) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer func() { _ = encoder.Close() }()
	buffer := make([]byte, blocksPerData*delta.Block)
	for {
		var runs []run
		open := true
		select {
		case runs, open = <-c.needs:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !open {
			break
		}
		for _, r := range runs {
			if err := c.blocks(ctx, r, encoder, buffer); err != nil {
				return err
			}
		}
	}
	select {
	case is := <-sum:
		return c.sendJSON(frameEnd, end{is})
	case <-ctx.Done():
		return ctx.Err()
	}
}

// blocks sends a run of blocks.
func (c *client) blocks(ctx context.Context, r run, encoder *zstd.Encoder, buffer []byte) error {
	for r.count > 0 && ctx.Err() == nil {
		part := run{r.at, min(r.count, blocksPerData)}
		at := part.at * delta.Block
		content := buffer[:min(part.count*delta.Block, c.Size-at)]
		if n, err := c.Image.ReadAt(content, at); n < len(content) {
			return unreadable(err)
		}
		frame := encoder.EncodeAll(content, appendRun(nil, part))
		if err := c.send(frameData, frame); err != nil {
			return err
		}
		c.report(int64(len(content)), int64(len(frame)))
		r = run{r.at + part.count, r.count - part.count}
	}
	return ctx.Err()
}

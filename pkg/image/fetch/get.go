package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/image/checksum"
	"vmctl/pkg/progress"
)

// Wanted is a file to have.
type Wanted struct {
	URL string
	// Digest is what it must be.
	Digest checksum.Digest
	// Name is what people call it; Source says where the digest is from, for them.
	Name, Source string
	// Task is the ID of the progress events.
	Task string
}

// Get gives the file from the cache, or downloads it into there. However many vmctl ask
// for one file at once, it is downloaded once. When ctx ends, what has come is kept, and
// the next Get goes on from there. Errors are of kind fault.Build, or ctx's own.
func (c *Client) Get(ctx context.Context, dir cache.Dir, w Wanted) (cache.Entry, error) {
	key := w.Digest.String()
	if e, ok := dir.Find(key); ok {
		return e, nil
	}
	unlock, err := dir.Lock(ctx, key, func() {
		c.sink().Emit(progress.Event{ID: w.Task + "/wait", Status: progress.Note, Text: "another vmctl is downloading " + ansi.Plain(w.Name) + ": waiting for it"})
	})
	if err != nil {
		return cache.Entry{}, c.unkept(ctx, dir, err)
	}
	defer unlock()
	if e, ok := dir.Find(key); ok {
		return e, nil
	}
	if e, ok := c.again(ctx, dir, w); ok {
		return e, nil
	}
	e, err := c.fill(ctx, dir, w)
	if err != nil {
		return cache.Entry{}, c.unkept(ctx, dir, err)
	}
	return e, nil
}

// again reads an entry that looks changed: a copied or restored cache has other stamps.
func (c *Client) again(ctx context.Context, dir cache.Dir, w Wanted) (cache.Entry, bool) {
	key := w.Digest.String()
	if !dir.Holds(key) {
		return cache.Entry{}, false
	}
	f, err := os.Open(dir.Path(key))
	if err != nil {
		return cache.Entry{}, false
	}
	defer f.Close()
	sums := newSums(w.Digest.Algorithm)
	if _, err := copyTo(ctx, sums, f); err != nil || sums.wanted() != w.Digest {
		return cache.Entry{}, false
	}
	e, err := dir.Confirm(key, sums.sha256(), Display(w.URL))
	return e, err == nil
}

// fill downloads into the cache, whose entry is locked.
func (c *Client) fill(ctx context.Context, dir cache.Dir, w Wanted) (e cache.Entry, err error) {
	task := &task{sink: c.sink(), event: progress.Event{ID: w.Task, Text: "download " + ansi.Plain(w.Name), Unit: progress.Bytes}}
	task.emit()
	defer func() { task.end(err) }()
	p, err := openPart(ctx, dir, w)
	if err != nil {
		return cache.Entry{}, err
	}
	defer p.close()
	for again := false; ; again = true {
		if err := c.download(ctx, p, w, task); err != nil {
			return cache.Entry{}, err
		}
		if p.sums.wanted() == w.Digest {
			return dir.Commit(w.Digest.String(), p.sums.sha256(), Display(w.URL))
		}
		// Pieces of different versions may have been put together: once more in one piece.
		if !p.pieced || again {
			break
		}
		if err := p.reset(); err != nil {
			return cache.Entry{}, err
		}
	}
	got := p.sums.wanted()
	p.discard()
	return cache.Entry{}, mismatch(w, got, p.webPage)
}

// download asks until the part is complete.
func (c *Client) download(ctx context.Context, p *partial, w Wanted, t *task) error {
	client, idle := c.http()
	defer idle()
	best, broken := p.size, 0
	for {
		done, err := c.attempt(ctx, client, p, w, t)
		switch {
		case done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil: // a piece of it
		case !lasting(err) && (p.came || answered(err)):
		default:
			return c.explain(w.URL, p, err)
		}
		if p.size > best {
			best, broken = p.size, 0
		}
		if broken++; broken > attempts {
			return c.explain(w.URL, p, err)
		}
		if err != nil {
			t.event.Detail = fmt.Sprintf("the connection broke: attempt %d of %d follows", broken, attempts)
			t.emit()
		}
		if err := c.wait(ctx, broken); err != nil {
			return err
		}
		t.event.Detail = ""
	}
}

// task is the download's progress.
type task struct {
	sink  progress.Sink
	event progress.Event
}

func (t *task) emit() { t.sink.Emit(t.event) }

func (t *task) end(err error) {
	t.event.Status, t.event.Err, t.event.Detail = progress.Done, nil, ""
	if err != nil {
		t.event.Status, t.event.Err = progress.Failed, err
	}
	t.emit()
}

// unkept explains an error of the cache.
func (c *Client) unkept(ctx context.Context, dir cache.Dir, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = dir.Full(err)
	var full *cache.NoRoomError
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &full):
		return NoRoom(full)
	}
	return fault.New(fault.Build, "the download cannot be kept in %s: %w", string(dir), err).
		WithHint("make it writable, or set XDG_CACHE_HOME to a directory that is")
}

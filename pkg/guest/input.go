package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"vmctl/pkg/fault"
)

// input reads ahead, so that input which has ended can be told from input that comes,
// and so that much that comes in little parts leaves in few.
type input struct {
	// changed has a word in it after something came; room after something was taken.
	changed, room chan struct{}

	mu     sync.Mutex
	buffer []byte
	ended  bool
	err    error
}

// newInput begins to read; r may be nil. A Read that waits for a terminal cannot be cut
// short: it ends with the process.
func newInput(r io.Reader) *input {
	i := &input{changed: make(chan struct{}, 1), room: make(chan struct{}, 1), ended: r == nil}
	if r != nil {
		go i.read(r)
	}
	return i
}

func (i *input) read(r io.Reader) {
	p := make([]byte, agentChunk)
	for {
		n, err := r.Read(p)
		i.mu.Lock()
		i.buffer = append(i.buffer, p[:n]...)
		if err != nil {
			i.ended = true
			if !errors.Is(err, io.EOF) {
				i.err = err
			}
		}
		full := len(i.buffer) >= agentChunk
		i.mu.Unlock()
		wake(i.changed)
		if err != nil {
			return
		}
		if full {
			<-i.room
		}
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// look says how much there is, and whether that is all.
func (i *input) look() (n int, ended bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.buffer), i.ended, i.err
}

// take gives what there is, at most so many bytes.
func (i *input) take(most int) []byte {
	i.mu.Lock()
	n := min(len(i.buffer), most)
	p := i.buffer[:n:n]
	if i.buffer = i.buffer[n:]; len(i.buffer) == 0 {
		i.buffer = nil
	}
	less := len(i.buffer) < agentChunk
	i.mu.Unlock()
	if less {
		wake(i.room)
	}
	return p
}

// whole gives all of it when it is little and has ended already.
func (i *input) whole() ([]byte, bool) {
	timer := time.NewTimer(inputTime)
	defer timer.Stop()
	for {
		n, ended, err := i.look()
		switch {
		case n > wholeInput || err != nil:
			return nil, false
		case ended:
			return i.take(n), true
		}
		select {
		case <-i.changed:
		case <-timer.C:
			return nil, false
		}
	}
}

// everything waits for the end.
func (i *input) everything(ctx context.Context, most int) ([]byte, error) {
	for {
		n, ended, err := i.look()
		switch {
		case err != nil:
			return nil, err
		case n > most:
			return nil, fault.New(fault.Refused, "standard input is larger than the guest agent takes without a shell in the guest")
		case ended:
			return i.take(n), nil
		}
		select {
		case <-i.changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// piece gives the next bytes, or io.EOF.
func (i *input) piece(ctx context.Context) ([]byte, error) {
	for {
		n, ended, err := i.look()
		switch {
		case n > 0:
			return i.take(agentChunk), nil
		case err != nil:
			return nil, err
		case ended:
			return nil, io.EOF
		}
		select {
		case <-i.changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

const (
	// waiting is how many pieces of input may lie in the guest unread.
	waiting = 8
	// look for room or for the script's pipe this often.
	roomLook = 30 * time.Millisecond
)

// feed hands standard input to the program, piece by piece. Each one is a file, because
// the agent loses bytes when it writes into a pipe that is full.
func (r *run) feed(ctx context.Context, in *input) error {
	next, err := r.opened(ctx, r.dir+"/next")
	if err != nil {
		return err
	}
	defer func() { _ = next.close(ctx) }() // which is the end of the input
	for n := 0; ; n++ {
		p, err := in.piece(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = r.room(ctx, n-waiting)
		}
		if err == nil {
			err = r.agent.put(ctx, fmt.Sprintf("%s/in.%d", r.dir, n), p)
		}
		if err == nil {
			err = next.write(ctx, fmt.Appendf(nil, "%d\n", n))
		}
		if err == nil {
			err = next.flush(ctx)
		}
		if err != nil {
			// That a file is not there says that the program has ended: its directory goes first.
			return err
		}
	}
}

// opened opens the script's pipe as soon as there is one. r+ waits for no reader.
func (r *run) opened(ctx context.Context, path string) (*file, error) {
	for deadline := time.Now().Add(agentTime); ; {
		f, err := r.agent.open(ctx, path, "r+")
		if err == nil {
			return f, nil
		}
		if other := notYet(err); other != nil {
			return nil, other
		}
		if time.Now().After(deadline) {
			return nil, r.agent.refusal(err, "hand over standard input")
		}
		if err := pauseFor(ctx, roomLook); err != nil {
			return nil, err
		}
	}
}

// room waits until a piece has been read, which removes it.
func (r *run) room(ctx context.Context, n int) error {
	if n < 0 {
		return nil
	}
	for {
		f, err := r.agent.open(ctx, fmt.Sprintf("%s/in.%d", r.dir, n), "r")
		if err != nil {
			return notYet(err)
		}
		if err := f.close(ctx); err != nil {
			return err
		}
		if err := pauseFor(ctx, roomLook); err != nil {
			return err
		}
	}
}

// put makes a file with a content.
func (a *Agent) put(ctx context.Context, path string, content []byte) error {
	f, err := a.open(ctx, path, "w")
	if err != nil {
		return err
	}
	err = f.write(ctx, content)
	if closing := f.close(ctx); err == nil {
		err = closing
	}
	return err
}

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// input reads ahead, so that input which has ended can be told from input that comes.
type input struct {
	pieces <-chan piece
	// begun is what whole has taken out of it.
	begun []byte
	ended bool
	err   error
}

type piece struct {
	data []byte
	err  error
}

// newInput begins to read; r may be nil. A Read that waits for a terminal cannot be cut
// short: it ends with the process.
func newInput(r io.Reader) *input {
	if r == nil {
		return &input{ended: true}
	}
	pieces := make(chan piece, 1)
	go func() {
		defer close(pieces)
		for {
			p := make([]byte, agentChunk)
			n, err := r.Read(p)
			if n > 0 {
				pieces <- piece{data: p[:n]}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					pieces <- piece{err: err}
				}
				return
			}
		}
	}()
	return &input{pieces: pieces}
}

// whole gives all of it when it is little and has ended already.
func (i *input) whole() ([]byte, bool) {
	timer := time.NewTimer(inputTime)
	defer timer.Stop()
	for !i.ended && len(i.begun) <= wholeInput {
		select {
		case p, open := <-i.pieces:
			i.take(p, open)
		case <-timer.C:
			return nil, false
		}
	}
	return i.begun, i.ended && i.err == nil && len(i.begun) <= wholeInput
}

func (i *input) take(p piece, open bool) {
	i.begun = append(i.begun, p.data...)
	if !open || p.err != nil {
		i.ended, i.err = true, p.err
	}
}

// everything waits for the end.
func (i *input) everything(most int) ([]byte, error) {
	for !i.ended && len(i.begun) <= most {
		p, open := <-i.pieces
		i.take(p, open)
	}
	if len(i.begun) > most {
		return nil, fault.New(fault.Refused, "standard input is larger than the guest agent takes without a shell in the guest")
	}
	return i.begun, i.err
}

// piece gives the next bytes, or io.EOF.
func (i *input) piece(ctx context.Context) ([]byte, error) {
	if len(i.begun) == 0 && !i.ended {
		select {
		case p, open := <-i.pieces:
			i.take(p, open)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	// What else is there already goes along.
	for more := true; more && !i.ended && len(i.begun) < agentChunk; {
		select {
		case p, open := <-i.pieces:
			i.take(p, open)
		default:
			more = false
		}
	}
	if n := min(len(i.begun), agentChunk); n > 0 {
		p := i.begun[:n]
		i.begun = i.begun[n:]
		return p, nil
	}
	if i.err != nil {
		return nil, i.err
	}
	return nil, io.EOF
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
			return r.over(ctx, err)
		}
	}
}

// over tells a program that has ended, and its directory with it, from real trouble.
func (r *run) over(ctx context.Context, err error) error {
	if _, refused := errors.AsType[*engine.AgentError](err); !refused {
		return err
	}
	if s, look := r.state(ctx); look == nil && s.Exited || ctx.Err() != nil {
		return nil
	}
	return r.agent.refusal(err, "hand over standard input")
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

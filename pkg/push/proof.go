package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"sync"
)

// proof is the digest of a file that is being written, from what is in the file: its
// beginning is read, as far as it stays what it is, while the rest is written.
type proof struct {
	file *os.File
	size int64

	mu sync.Mutex
	// until is where what is not done begins; more is closed when that has moved.
	until int64
	more  chan struct{}

	stop context.CancelFunc
	done chan struct{}
	sum  string
	err  error
}

func prove(ctx context.Context, file *os.File, size int64) *proof {
	p := &proof{file: file, size: size, more: make(chan struct{}), done: make(chan struct{})}
	ctx, p.stop = context.WithCancel(ctx)
	go func() {
		defer close(p.done)
		p.sum, p.err = p.read(ctx)
	}()
	return p
}

// upTo says that the file is done up to an offset.
func (p *proof) upTo(until int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until > p.until {
		p.until = until
		close(p.more)
		p.more = make(chan struct{})
	}
}

// digest is the file's SHA-256 in hex, when all of it is done.
func (p *proof) digest() (string, error) {
	<-p.done
	return p.sum, p.err
}

// end stops reading.
func (p *proof) end() {
	p.stop()
	<-p.done
}

func (p *proof) read(ctx context.Context) (string, error) {
	sum, buffer := sha256.New(), make([]byte, readAtOnce)
	for at := int64(0); at < p.size; {
		p.mu.Lock()
		until, more := p.until, p.more
		p.mu.Unlock()
		if at == until {
			select {
			case <-more:
			case <-ctx.Done():
				return "", ctx.Err()
			}
			continue
		}
		n, err := p.file.ReadAt(buffer[:min(readAtOnce, until-at)], at)
		if at += int64(n); err != nil {
			return "", shortened(err)
		}
		sum.Write(buffer[:n])
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"vmctl/pkg/delta"
)

// indexRoom is how many blocks of other images are compared with: 8 GiB, in about 80 MiB
// of memory.
const indexRoom = 2 << 20

// Serve is the host's end: it makes one file what the client says, and returns when the
// client is gone. Its error is what the client was told.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	widen(in)
	if _, err := io.WriteString(out, said+ready+"\n"); err != nil {
		return nil //nolint:nilerr // the client went
	}
	return serve(ctx, in, out)
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	s := &server{link: link{r: in, w: out}}
	if err := s.serve(ctx); err != nil && !errors.Is(err, io.EOF) {
		s.fail(err)
	}
	s.close()
	return s.failed
}

// server is one push as the host sees it.
type server struct {
	link
	pool    *pool
	maker   maker
	zstd    *zstd.Decoder
	content []byte
	// told is how many blocks the client has told the keys of.
	told int64

	once   sync.Once
	failed error
}

// fail tells the client why nothing more is done; what came first counts.
func (s *server) fail(err error) {
	s.once.Do(func() {
		var told failure
		if !errors.As(err, &told) {
			told = failure{broken, err.Error()}
			if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
				told.Reason = noSpace
			}
		}
		s.failed = told
		_ = s.sendJSON(frameError, told) // the client may be gone as well
	})
}

// close ends what is under way.
func (s *server) close() {
	if s.maker.stop != nil {
		s.maker.end()
	}
	if s.maker.file != nil {
		_ = s.maker.file.Close()
	}
	for _, f := range s.maker.sources {
		_ = f.Close()
	}
	if s.pool != nil {
		s.pool.close()
	}
	if s.zstd != nil {
		s.zstd.Close()
	}
}

func (s *server) serve(ctx context.Context) error {
	if err := s.greet(ctx); err != nil {
		return err
	}
	var buffer []byte
	for {
		kind, length, err := s.head()
		if err != nil {
			return err
		}
		read := length
		if kind == framePlain {
			read = min(read, runSize) // what it is about; the rest goes to its place
		}
		if buffer, err = s.payload(buffer, read); err != nil {
			return err
		}
		switch kind {
		case frameKeys:
			err = s.keys(ctx, buffer)
		case frameData:
			err = s.data(buffer)
		case framePlain:
			err = s.plain(buffer, length-read)
		case frameEnd:
			return s.end(buffer)
		default:
			err = fmt.Errorf("a message of kind %q is not expected", kind)
		}
		if err != nil {
			return err
		}
	}
}

// greet hears what is to be made, and looks at what there is for that.
func (s *server) greet(ctx context.Context) error {
	if err := s.sendJSON(frameHello, hello{protocol}); err != nil {
		return err
	}
	kind, payload, err := s.receive(nil)
	if err != nil {
		return err
	}
	var i index
	if kind != frameIndex || json.Unmarshal(payload, &i) != nil {
		return errors.New("the client did not say where the images are")
	}
	if err := s.index(ctx, i); err != nil {
		return err
	}
	if err := s.send(frameReady, nil); err != nil {
		return err
	}
	if kind, payload, err = s.receive(payload); err != nil {
		return err
	}
	var b begin
	if kind != frameBegin || json.Unmarshal(payload, &b) != nil || b.Size < 1 || b.Size > maxImage {
		return errors.New("the client did not say what to make")
	}
	if s.maker.file, err = s.pool.target(b.Volume); err != nil {
		return failure{noAccess, err.Error()}
	}
	s.maker.size = b.Size
	return nil
}

// index reads what there is to copy from.
func (s *server) index(ctx context.Context, i index) (err error) {
	if s.pool, err = openPool(i.Pool); err != nil {
		return failure{noAccess, err.Error()}
	}
	m := &s.maker
	if m.sources, err = s.pool.sources(); err != nil {
		return failure{noAccess, err.Error()}
	}
	m.salt, m.known = &i.Salt, delta.NewIndex(indexRoom)
	for _, f := range m.sources {
		m.known.Add(keysOfSource(ctx, f, m.salt, m.known.Room()))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.zstd, err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(blocksPerData*delta.Block), zstd.WithDecoderConcurrency(1))
	return err
}

// keysOfSource are the keys of a file that is copied from, up to so many; none when it
// cannot be read.
func keysOfSource(ctx context.Context, f *os.File, salt *delta.Salt, most int64) []delta.Key {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	keys, err := keysOf(ctx, f, salt, 0, min(info.Size(), most*delta.Block))
	if err != nil {
		return nil
	}
	return keys
}

// keys takes the keys of the next blocks.
func (s *server) keys(ctx context.Context, payload []byte) error {
	want, err := decodeKeys(payload, delta.Blocks(s.maker.size)-s.told)
	if err != nil {
		return err
	}
	if s.told == 0 {
		s.maker.ask = func(need []byte) error { return s.send(frameNeed, need) }
		if err := s.maker.begin(ctx, s.fail); err != nil {
			return err
		}
	}
	s.told += int64(len(want))
	return s.maker.want(want)
}

// blocks reads which blocks come, and how many bytes they are.
func (s *server) blocks(payload []byte) (r run, length int64, err error) {
	r, err = readRun(payload, 0, delta.Blocks(s.maker.size))
	switch {
	case err != nil:
		return run{}, 0, err
	case r.count > blocksPerData:
		return run{}, 0, fmt.Errorf("%d blocks at once are too many", r.count)
	case s.told == 0:
		return run{}, 0, errors.New("nobody asked for a block")
	}
	return r, min(r.count*delta.Block, s.maker.size-r.at*delta.Block), nil
}

// data takes blocks that were asked for, compressed.
func (s *server) data(payload []byte) error {
	r, length, err := s.blocks(payload)
	if err != nil {
		return err
	}
	s.content, err = s.zstd.DecodeAll(payload[runSize:], s.content[:0])
	if err == nil && int64(len(s.content)) != length {
		err = fmt.Errorf("they are %d bytes", len(s.content))
	}
	if err != nil {
		return fmt.Errorf("blocks %d+%d cannot be read: %w", r.at, r.count, err)
	}
	return s.maker.write(r, func(at int64) error {
		_, err := s.maker.file.WriteAt(s.content, at)
		return err
	})
}

// plain takes blocks that were asked for; their content follows.
func (s *server) plain(payload []byte, follows int64) error {
	r, length, err := s.blocks(payload)
	if err == nil && follows != length {
		err = fmt.Errorf("blocks %d+%d cannot be %d bytes", r.at, r.count, follows)
	}
	if err != nil {
		return err
	}
	return s.maker.write(r, func(at int64) error { return moveIn(s.maker.file, at, s.r, length) })
}

// end compares the file with the client's digest.
func (s *server) end(payload []byte) error {
	var e end
	if err := json.Unmarshal(payload, &e); err != nil {
		return errors.New("the client did not say what it should be")
	}
	m := &s.maker
	if left := delta.Blocks(m.size) - s.told; left != 0 {
		return fmt.Errorf("the client ended too early: it did not tell the keys of %d blocks", left)
	}
	if <-m.ended; m.err != nil {
		return m.err
	}
	if done := m.todo.done(); done != m.todo.blocks {
		return fmt.Errorf("the client ended too early: block %d of %d has not come", done, m.todo.blocks)
	}
	if err := m.file.Sync(); err != nil { // the rest is proved meanwhile
		return err
	}
	is, err := m.proof.digest()
	if err != nil {
		return err
	}
	if is != e.SHA256 {
		return failure{notSame, fmt.Sprintf("the file has digest %s and not %s", is, e.SHA256)}
	}
	return s.sendJSON(frameDone, e)
}

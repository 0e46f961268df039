package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

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
	if _, err := io.WriteString(out, said+ready+"\n"); err != nil {
		return nil //nolint:nilerr // the client went
	}
	return serve(ctx, in, out)
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	s := &server{link: link{r: in, w: out}}
	defer s.close()
	err := s.serve(ctx)
	if err == nil || errors.Is(err, io.EOF) {
		return nil // the client went
	}
	var told failure
	if !errors.As(err, &told) {
		told = failure{broken, err.Error()}
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			told.Reason = noSpace
		}
	}
	_ = s.sendJSON(frameError, told) // the client may be gone as well
	return told
}

// server is one push as the host sees it.
type server struct {
	link
	begin
	salt    delta.Salt
	pool    *pool
	file    *os.File
	sources []*os.File
	known   *delta.Index
	zstd    *zstd.Decoder
	content []byte
	todo    todo
	proof   *proof
}

func (s *server) close() {
	if s.proof != nil {
		s.proof.end()
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	for _, f := range s.sources {
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
	if kind != frameBegin || json.Unmarshal(payload, &s.begin) != nil || s.Size < 1 || s.Size > maxImage {
		return errors.New("the client did not say what to make")
	}
	if s.file, err = s.pool.target(s.Volume); err != nil {
		return failure{noAccess, err.Error()}
	}
	s.todo = todo{blocks: delta.Blocks(s.Size)}
	for {
		if kind, payload, err = s.receive(payload); err != nil {
			return err
		}
		switch kind {
		case frameKeys:
			err = s.keys(ctx, payload)
		case frameData:
			err = s.data(payload)
		case frameEnd:
			return s.end(payload)
		default:
			err = fmt.Errorf("a message of kind %q is not expected", kind)
		}
		if err != nil {
			return err
		}
	}
}

// index reads what there is to copy from.
func (s *server) index(ctx context.Context, i index) (err error) {
	s.salt = i.Salt
	if s.pool, err = openPool(i.Pool); err != nil {
		return failure{noAccess, err.Error()}
	}
	if s.sources, err = s.pool.sources(); err != nil {
		return failure{noAccess, err.Error()}
	}
	s.known = delta.NewIndex(indexRoom)
	for _, f := range s.sources {
		s.known.Add(s.keysOfSource(ctx, f))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.zstd, err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(blocksPerData*delta.Block), zstd.WithDecoderConcurrency(1))
	return err
}

// keysOfSource are the keys of a file that is copied from, as many as there is room for;
// none when it cannot be read.
func (s *server) keysOfSource(ctx context.Context, f *os.File) []delta.Key {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	keys, err := keysOf(ctx, f, &s.salt, 0, min(info.Size(), s.known.Room()*delta.Block))
	if err != nil {
		return nil
	}
	return keys
}

// keys makes the next blocks what they should be, as far as they are on the host, and
// asks for the others.
func (s *server) keys(ctx context.Context, payload []byte) error {
	first := s.todo.next
	want, err := decodeKeys(payload, s.todo.blocks-first)
	if err != nil {
		return err
	}
	if first == 0 {
		if err := s.file.Truncate(s.Size); err != nil {
			return err
		}
		s.proof = prove(ctx, s.file, s.Size)
	}
	count := int64(len(want))
	have, err := keysOf(ctx, s.file, &s.salt, first*delta.Block, min((first+count)*delta.Block, s.Size))
	if err != nil {
		return err
	}
	ops := s.known.Plan(want, first, have)
	var need []byte
	for _, op := range ops {
		if op.Kind == delta.Data {
			need = appendRun(need, run{op.At, op.Count})
		}
	}
	if err := s.send(frameNeed, need); err != nil {
		return err
	}
	for _, op := range ops {
		if err := s.carryOut(op); err != nil {
			return err
		}
	}
	s.todo.planned(ops, count)
	s.wrote(first, count)
	return nil
}

// carryOut makes blocks zeros, or copies them.
func (s *server) carryOut(op delta.Op) error {
	at := op.At * delta.Block
	length := min(op.Count*delta.Block, s.Size-at)
	switch op.Kind {
	case delta.Clear:
		return punch(s.file, at, length)
	case delta.Copy:
		return copyRange(s.file, at, s.sources[op.File], op.From*delta.Block, length)
	default:
		return nil
	}
}

// data writes blocks that were asked for.
func (s *server) data(payload []byte) error {
	r, err := readRun(payload, 0, delta.Blocks(s.Size))
	if err != nil {
		return err
	}
	if r.count > blocksPerData {
		return fmt.Errorf("%d blocks at once are too many", r.count)
	}
	at := r.at * delta.Block
	length := min(r.count*delta.Block, s.Size-at)
	s.content, err = s.zstd.DecodeAll(payload[runSize:], s.content[:0])
	if err == nil && int64(len(s.content)) != length {
		err = fmt.Errorf("they are %d bytes", len(s.content))
	}
	if err != nil {
		return fmt.Errorf("blocks %d+%d cannot be read: %w", r.at, r.count, err)
	}
	if err := s.todo.came(r); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(s.content, at); err != nil {
		return err
	}
	s.wrote(r.at, r.count)
	return nil
}

// wrote lets what was written go to the disk, so that the end need not wait long for it,
// and lets what is done be proved.
func (s *server) wrote(at, count int64) {
	_ = unix.SyncFileRange(int(s.file.Fd()), at*delta.Block, count*delta.Block, unix.SYNC_FILE_RANGE_WRITE)
	s.proof.upTo(min(s.todo.done()*delta.Block, s.Size))
}

// end compares the file with the client's digest.
func (s *server) end(payload []byte) error {
	var e end
	if err := json.Unmarshal(payload, &e); err != nil {
		return errors.New("the client did not say what it should be")
	}
	if left := s.todo.blocks - s.todo.done(); left != 0 {
		return fmt.Errorf("the client ended too early: block %d of %d has not come", s.todo.done(), s.todo.blocks)
	}
	if err := s.file.Sync(); err != nil { // the rest is proved meanwhile
		return err
	}
	is, err := s.proof.digest()
	if err != nil {
		return err
	}
	if is != e.SHA256 {
		return failure{notSame, fmt.Sprintf("the file has digest %s and not %s", is, e.SHA256)}
	}
	return s.sendJSON(frameDone, e)
}

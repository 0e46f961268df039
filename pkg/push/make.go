package push

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"vmctl/pkg/delta"
)

// maker makes the file of what is on the host already, and finds out what is not. It works
// beside the one that reads what the client says: what arrives does not wait for what is
// copied.
type maker struct {
	salt    *delta.Salt
	known   *delta.Index
	sources []*os.File
	file    *os.File
	size    int64
	todo    *todo
	proof   *proof
	// ask asks for blocks: runs of them, in order.
	ask func(need []byte) error

	// wants are the keys of the next blocks.
	wants chan []delta.Key
	stop  context.CancelFunc
	// ended is closed after the last block or an error.
	ended chan struct{}
	err   error
}

// begin begins to make the file. failed is called after an error.
func (m *maker) begin(ctx context.Context, failed func(error)) error {
	if err := m.file.Truncate(m.size); err != nil {
		return err
	}
	m.todo = &todo{blocks: delta.Blocks(m.size)}
	m.proof = prove(ctx, m.file, m.size)
	m.wants, m.ended = make(chan []delta.Key, keysAhead), make(chan struct{})
	ctx, m.stop = context.WithCancel(ctx)
	go func() {
		defer close(m.ended)
		if m.err = m.make(ctx); m.err != nil {
			failed(m.err)
		}
	}()
	return nil
}

// want takes the keys of the next blocks.
func (m *maker) want(keys []delta.Key) error {
	select {
	case m.wants <- keys:
		return nil
	case <-m.ended:
		return m.err
	}
}

// end stops what is under way.
func (m *maker) end() {
	m.stop()
	<-m.ended
	m.proof.end()
}

// make makes all blocks, as their keys come.
func (m *maker) make(ctx context.Context) error {
	for at := int64(0); at < m.todo.blocks; {
		select {
		case want := <-m.wants:
			if err := m.part(ctx, at, want); err != nil {
				return err
			}
			at += int64(len(want))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// part makes some blocks what they should be, as far as they are on the host, and asks for
// the others.
func (m *maker) part(ctx context.Context, first int64, want []delta.Key) error {
	count := int64(len(want))
	have, err := keysOf(ctx, m.file, m.salt, first*delta.Block, min((first+count)*delta.Block, m.size))
	if err != nil {
		return err
	}
	ops := m.known.Plan(want, first, have)
	m.todo.plan(ops, count)
	var need []byte
	for _, op := range ops {
		if op.Kind == delta.Data {
			need = appendRun(need, run{op.At, op.Count})
		}
	}
	if err := m.ask(need); err != nil {
		return err
	}
	for _, op := range ops {
		if err := m.carryOut(op); err != nil {
			return err
		}
	}
	m.todo.make(count)
	m.wrote(run{first, count})
	return ctx.Err()
}

// carryOut makes blocks zeros, or copies them.
func (m *maker) carryOut(op delta.Op) error {
	at := op.At * delta.Block
	length := min(op.Count*delta.Block, m.size-at)
	switch op.Kind {
	case delta.Clear:
		return punch(m.file, at, length)
	case delta.Copy:
		return copyRange(m.file, at, m.sources[op.File], op.From*delta.Block, length)
	default:
		return nil
	}
}

// write writes blocks that were asked for: put does it, at an offset of the file.
func (m *maker) write(r run, put func(at int64) error) error {
	if err := m.todo.asked(r); err != nil {
		return err
	}
	if err := put(r.at * delta.Block); err != nil {
		return err
	}
	m.todo.came(r)
	m.wrote(r)
	return nil
}

// wrote lets what was written go to the disk, so that the end need not wait long for it,
// and lets what is done be proved.
func (m *maker) wrote(r run) {
	_ = unix.SyncFileRange(int(m.file.Fd()), r.at*delta.Block, r.count*delta.Block, unix.SYNC_FILE_RANGE_WRITE)
	m.proof.upTo(min(m.todo.done()*delta.Block, m.size))
}

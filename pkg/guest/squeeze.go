package guest

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
)

// What goes to the guest through its agent is squeezed where that helps: qemu-ga reads its
// commands byte by byte, and needs 30 ms of processor time for each MiB that it writes, in
// pieces of whatever size. (It needs a third of that for a MiB that it reads, which
// squeezing in the guest would cost as well.)
const (
	// sampled is how much of a file shows whether it is worth it.
	sampled = 256 << 10
	// worthwhile is the least size of a file for which another program is started.
	worthwhile = 64 << 10
)

// squeezes says that a file becomes smaller by a quarter at least.
func squeezes(file *os.File, size int64) bool {
	if size < worthwhile {
		return false
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	n, err := io.Copy(z, io.NewSectionReader(file, 0, sampled))
	return err == nil && z.Close() == nil && int64(packed.Len()) < n*3/4
}

// squeezed is what it reads, packed by gzip. Close waits until nothing is read any more.
type squeezed struct {
	*io.PipeReader
	done chan struct{}
}

func squeeze(from io.Reader) *squeezed {
	r, w := io.Pipe()
	s := &squeezed{r, make(chan struct{})}
	go func() {
		defer close(s.done)
		z := gzip.NewWriter(w)
		_, err := io.Copy(z, from)
		if err == nil {
			err = z.Close()
		}
		_ = w.CloseWithError(err)
	}()
	return s
}

func (s *squeezed) Close() error {
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// packedName is where a file lies in the guest while it is squeezed.
func packedName(temporary string) string { return temporary + ".gz" }

// sendSqueezed sends a file that way.
func (c *Copy) sendSqueezed(ctx context.Context, a *Agent, from io.Reader, to string) error {
	source := squeeze(from)
	err := a.writeFile(ctx, packedName(to), source)
	if closed := source.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	_, err = c.ask(ctx, "unpack "+to, `gunzip -c "$1" >"$2" && rm -f "$1"`, packedName(to), to)
	return err
}

// unpackTree is a script that takes an archive into a new directory.
func unpackTree(packed bool) string {
	if packed {
		return `mkdir "$1" && gunzip -c | tar -xof - -C "$1"`
	}
	return `mkdir "$1" && exec tar -xof - -C "$1"`
}

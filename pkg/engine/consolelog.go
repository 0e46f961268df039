package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
)

// LogVolume is the name of the file that takes what the serial console prints.
func LogVolume(machine string) string { return volumePrefix(machine) + "console.log" }

// LogFiles are the files of a pool as they are read while others write to them.
type LogFiles interface {
	// ListVolumes gives those whose name begins with the prefix, after asking the
	// host to look at the directory again.
	ListVolumes(ctx context.Context, prefix string) ([]Volume, error)
	// ReadLog is Volumes.ReadVolume for a file that may grow, and be put aside, while it is read.
	ReadLog(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
}

// Whole is more than any log has.
const Whole = math.MaxInt64

// anchorBytes is how much of what was read is read again, to see that a file is still the same.
const anchorBytes = 64

// ConsoleLog reads what a machine's serial console has printed since the last boot, and on as
// more comes. virtlogd begins a new file after 2 MiB and puts a few of the old ones aside
// (max_size and max_backups in virtlogd.conf), as NAME.0, NAME.1 and so on; each boot begins
// anew. Where nothing was printed yet there is no file, which is no error.
type ConsoleLog struct {
	files LogFiles
	name  string
	// Anew, when set, is called before what another boot printed is given.
	Anew func() error
	// offset is how much of its file was read, and anchor what stands right before that.
	offset int64
	anchor []byte
}

// NewConsoleLog is the log of a machine, at the beginning of its newest file.
func NewConsoleLog(files LogFiles, machine string) *ConsoleLog {
	return &ConsoleLog{files: files, name: LogVolume(machine)}
}

// Replay gives w what was printed until now, or only the last so many bytes of it. Next goes
// on from there.
func (l *ConsoleLog) Replay(ctx context.Context, w io.Writer, last int64) error {
	pieces, err := l.pieces(ctx)
	if err != nil {
		return err
	}
	l.offset, l.anchor = 0, nil
	out := &portion{Writer: w, left: Whole}
	for at, piece := range pieces {
		if last -= int64(piece.Length); last < 0 {
			l.offset = -last
			if _, err := l.add(ctx, piece.Name, out); err != nil {
				return err
			}
			return l.from(ctx, pieces, at, out)
		}
	}
	return l.from(ctx, pieces, len(pieces), out)
}

// Next gives w what was printed since, so many bytes of it at most, and reports whether there
// was any.
func (l *ConsoleLog) Next(ctx context.Context, w io.Writer, most int64) (more bool, err error) {
	out := &portion{Writer: w, left: most}
	err = l.next(ctx, out)
	return out.left < most, err
}

// portion is what may still be given at one time.
type portion struct {
	io.Writer
	left int64
}

func (l *ConsoleLog) next(ctx context.Context, out *portion) error {
	same, err := l.add(ctx, l.name, out)
	if err == nil && same {
		return nil
	}
	pieces, failed := l.pieces(ctx)
	switch {
	case err != nil && (failed != nil || int64(pieces[0].Length) >= l.offset):
		return err // else it may be that of an offset behind the end
	case failed != nil:
		return failed
	}
	// It was put aside, or the next boot has begun a new one.
	at, err := l.locate(ctx, pieces, 1, out)
	if err == nil && at == len(pieces) && l.Anew != nil {
		err = l.Anew()
	}
	if err != nil {
		return err
	}
	return l.from(ctx, pieces, at, out)
}

// pieces are the log, which may not be there, and what was put aside of it, the newest first.
func (l *ConsoleLog) pieces(ctx context.Context) ([]Volume, error) {
	found, err := l.files.ListVolumes(ctx, l.name)
	pieces, numbers := []Volume{{Name: l.name}}, map[string]int{l.name: -1}
	for _, v := range found {
		n, err := strconv.Atoi(strings.TrimPrefix(v.Name, l.name+"."))
		switch {
		case v.Name == l.name:
			pieces[0] = v
		case err == nil && n >= 0:
			numbers[v.Name], pieces = n, append(pieces, v)
		}
	}
	slices.SortFunc(pieces, func(a, b Volume) int { return numbers[a.Name] - numbers[b.Name] })
	return pieces, err
}

// locate finds the piece that what was given last is of, and gives the rest of it. It is
// none older than the first one named; none at all is len(pieces).
func (l *ConsoleLog) locate(ctx context.Context, pieces []Volume, first int, out *portion) (int, error) {
	for at := first; at < len(pieces); at++ {
		if same, err := l.add(ctx, pieces[at].Name, out); same || err != nil {
			return at, err
		}
	}
	return len(pieces), nil
}

// from gives the pieces that are newer than the one named, which was given to its end.
func (l *ConsoleLog) from(ctx context.Context, pieces []Volume, at int, out *portion) error {
	for at > 0 && out.left > 0 {
		moved, err := l.newer(ctx, pieces, at, out)
		if moved { // each piece is the next older one now
			if pieces, err = l.pieces(ctx); err == nil {
				at, err = l.locate(ctx, pieces, at, out)
			}
		} else {
			at--
		}
		if err != nil || !moved && l.offset == 0 { // by an empty one nothing is known again
			return err
		}
	}
	return nil
}

// newer gives the piece that is the next newer one, unless all have other names by now.
func (l *ConsoleLog) newer(ctx context.Context, pieces []Volume, at int, out *portion) (moved bool, err error) {
	next, err := l.open(ctx, pieces[at-1].Name, 0)
	if fault.Is(err, fault.NotFound) { // as when the next boot begins
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = next.Close() }()
	if moved, err := l.moved(ctx, pieces, at, out); err != nil || moved {
		return moved, err
	}
	l.offset, l.anchor = 0, nil
	return false, l.give(ctx, next, out)
}

// moved says that what was put aside has other names by now. Where all of it was given,
// that is seen by what has come to it.
func (l *ConsoleLog) moved(ctx context.Context, pieces []Volume, at int, out *portion) (bool, error) {
	switch {
	case at < len(pieces):
		same, err := l.add(ctx, pieces[at].Name, out)
		return !same && err == nil, err
	case len(pieces) == 1: // nobody waits for one more question
		return false, nil
	}
	now, err := l.pieces(ctx)
	return len(now) > len(pieces), err
}

// add gives what a file has from the offset on. It is not the same any more when the bytes
// before the offset are others, or gone.
func (l *ConsoleLog) add(ctx context.Context, name string, out *portion) (same bool, err error) {
	r, err := l.open(ctx, name, l.offset-int64(len(l.anchor)))
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }()
	before := make([]byte, len(l.anchor))
	if _, err := io.ReadFull(r, before); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return false, err
	}
	if !bytes.Equal(before, l.anchor) {
		return false, nil
	}
	return true, l.give(ctx, r, out)
}

// open reads a file. Where the log itself is not there, nothing was printed yet.
func (l *ConsoleLog) open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	r, err := l.files.ReadLog(ctx, name, offset)
	if name == l.name && fault.Is(err, fault.NotFound) {
		return io.NopCloser(strings.NewReader("")), nil
	}
	return r, err
}

// give gives the rest of what is read, as far as it may.
func (l *ConsoleLog) give(ctx context.Context, r io.ReadCloser, out *portion) error {
	// Close unblocks a Read that waits for the host.
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	for buf := make([]byte, 64<<10); out.left > 0; {
		n, err := r.Read(buf[:min(int64(len(buf)), out.left)])
		if n > 0 {
			l.offset, out.left = l.offset+int64(n), out.left-int64(n)
			end := append(l.anchor, buf[:n]...)
			l.anchor = bytes.Clone(end[max(0, len(end)-anchorBytes):])
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		}
	}
	return nil
}

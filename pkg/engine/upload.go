package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// upload is an image's way to its volume. What the host acknowledges counts as arrived;
// that all has, the commit marker says, which is made after this.
type upload struct {
	img Image
	// pool is the directory of the volume on the host.
	pool, volume string
	// pushing is the way by content, if it was prepared.
	pushing Pushing
	// goesOn says that the volume is of an earlier run that was cut short.
	goesOn bool
	// sent is what the host has acknowledged.
	sent int64
}

// resumable is the size from which on an image's upload can go on after a cut. A smaller
// one is sent again sooner than the host is asked what there is of it.
const resumable = 16 * spec.MiB

// pushable is the size from which on another way than through libvirt is tried.
const pushable = 64 * spec.MiB

const (
	// A range should take aimedRange to send: that is what a cut costs at most.
	aimedRange    = 2 * time.Second
	shortestRange = markStep
	longestRange  = 256 << 20
)

// errStays is in errors after which what has arrived stays on the host.
var errStays = errors.New("what has arrived stays on the host")

// upload sends an image's file to its volume.
func (e *Engine) upload(ctx context.Context, u *upload, report report) error {
	// A pipe that was put in its place must not make it wait.
	file, err := os.OpenFile(u.img.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fault.New(fault.Build, "cannot read image %s: %w", u.img.Path, err)
	}
	defer func() { _ = file.Close() }()
	before, err := file.Stat()
	if err != nil {
		return fault.New(fault.Build, "cannot read image %s: %w", u.img.Path, err)
	}
	if u.img.Judged != nil && !Unchanged(u.img.Judged, before) {
		return fault.New(fault.Build, "image %s is not the file any more that was looked at", u.img.Path).
			WithHint("run the same command again, when nobody writes it any more")
	}
	if err := e.send(ctx, u, file, report); err != nil {
		return u.stays(err)
	}
	after, err := file.Stat()
	same := notWritten
	if u.img.Judged != nil {
		same = Unchanged
	}
	if err == nil && !same(before, after) {
		err = fault.New(fault.Build, "image %s was written to while it was uploaded", u.img.Path).
			WithHint("shut down what uses it, and run the same command again")
	}
	return err
}

// Unchanged says that two looks at a file saw the same one, and nobody wrote to it between them. Its
// owner can set the time of the last write, and not that of the last change.
func Unchanged(before, after os.FileInfo) bool {
	changed := func(info os.FileInfo) syscall.Timespec {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return st.Ctim
		}
		return syscall.Timespec{}
	}
	return os.SameFile(before, after) && notWritten(before, after) && changed(after) == changed(before)
}

// notWritten is Unchanged for a file that may become one of several links meanwhile, as those in a nix store do.
func notWritten(before, after os.FileInfo) bool {
	return after.ModTime().Equal(before.ModTime()) && after.Size() == before.Size()
}

// byContent says that the way by content is tried.
func (e *Engine) byContent(img Image) bool { return e.Host.Pusher != nil && img.FileSize >= pushable }

// send chooses the way to the host: by content, where the host has that and it is worth it,
// and else through libvirt.
func (e *Engine) send(ctx context.Context, u *upload, file *os.File, report report) error {
	if !e.byContent(u.img) {
		return e.uploadRanges(ctx, u, file, report)
	}
	err := e.push(ctx, u, file, report)
	if !errors.Is(err, ErrOtherWay) {
		return err
	}
	e.debug("the image goes through libvirt", "volume", u.volume, "reason", err)
	return e.uploadRanges(ctx, u, file, report)
}

// push sends what the host has not got of the file.
func (e *Engine) push(ctx context.Context, u *upload, file *os.File, report report) error {
	begun, way := false, u.pushing
	if way == nil {
		way = e.Host.Pusher.Prepare(ctx, u.pool)
		defer way.End()
	}
	err := way.Push(ctx, Push{
		Volume: u.volume, Image: file, Size: int64(u.img.FileSize), SHA256: u.img.SHA256,
		Begin: func() error {
			begun = true
			if !u.goesOn {
				return nil // the note is as new as the volume, and says nothing
			}
			// What is there from now on came in no order.
			return e.Host.Volumes.Upload(ctx, sentVolume(u.volume), bytes.NewReader(arrived{}.encode()), arrivedSize, nil)
		},
		Report: func(arrived int64) { u.sent = arrived; report(arrived) },
	})
	if begun && errors.Is(err, ErrOtherWay) {
		u.sent, u.goesOn = 0, false
		if err := e.renew(ctx, u); err != nil {
			return err
		}
	}
	return err
}

// uploadRanges sends the file range by range, from where an earlier run came to.
func (e *Engine) uploadRanges(ctx context.Context, u *upload, file *os.File, report report) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	size, length := int64(u.img.FileSize), int64(shortestRange)
	if u.img.FileSize < resumable {
		length = size
	}
	ahead := marks(ctx, file, size)
	var next mark
	if u.goesOn {
		var err error
		if next, err = e.goOn(ctx, u, file, ahead); err != nil {
			return err
		}
		if u.sent == 0 {
			if err := e.renew(ctx, u); err != nil {
				return err
			}
			ahead = marks(ctx, file, size)
		}
	}
	for u.sent < size {
		for next.end <= u.sent || next.end < size && next.end-u.sent < length {
			if next = <-ahead; next.err != nil || next.end == 0 {
				return errors.Join(ctx.Err(), unreadable(u.img, next))
			}
		}
		began := time.Now()
		if err := e.uploadRange(ctx, u, file, next, report); err != nil {
			return err
		}
		length = rangeAfter(next.end-u.sent, time.Since(began))
		u.sent = next.end
	}
	return nil
}

// uploadRange sends the file up to a mark, and says before on the host that it will.
func (e *Engine) uploadRange(ctx context.Context, u *upload, file io.ReaderAt, next mark, report report) error {
	if u.img.FileSize >= resumable {
		now := arrived{Size: int64(u.img.FileSize), Sent: u.sent, Next: next.end, Digest: next.digest}
		if err := e.Host.Volumes.Upload(ctx, sentVolume(u.volume), bytes.NewReader(now.encode()), arrivedSize, nil); err != nil {
			return err
		}
	}
	at, length := u.sent, next.end-u.sent
	return e.Host.Volumes.UploadRange(ctx, u.volume, io.NewSectionReader(file, at, length), at, length, func(n int64) { report(at + n) })
}

func unreadable(img Image, m mark) error {
	if m.err == nil {
		return nil // it was interrupted
	}
	if errors.Is(m.err, io.EOF) {
		return fault.New(fault.Build, "the image ended after %d of %d bytes", m.end, int64(img.FileSize))
	}
	return fault.New(fault.Build, "the image cannot be read: %w", m.err)
}

// rangeAfter is how long the range after one should be, which took so long.
func rangeAfter(length int64, took time.Duration) int64 {
	fits := float64(length) * float64(aimedRange) / float64(max(took, time.Millisecond))
	return int64(min(max(fits, shortestRange), longestRange))
}

// goOn finds out how much an earlier run has sent, and gives the mark up to which the file
// is the one that was sent then. u.sent stays 0 where that cannot be built on.
func (e *Engine) goOn(ctx context.Context, u *upload, file io.ReaderAt, ahead <-chan mark) (next mark, err error) {
	data, err := e.Host.Volumes.ReadRange(ctx, sentVolume(u.volume), 0, arrivedSize)
	if err != nil {
		return mark{}, err
	}
	a, ok := decodeArrived(data, int64(u.img.FileSize))
	if !ok {
		e.debug("nothing of the earlier upload was acknowledged", "volume", u.volume)
		return mark{}, nil
	}
	for next = range ahead {
		if next.err != nil || next.end >= a.Next {
			break
		}
	}
	if next.end != a.Next || next.digest != a.Digest {
		e.debug("the earlier upload was of another file", "volume", u.volume)
		return mark{}, ctx.Err()
	}
	same, err := e.sampled(ctx, u.volume, file, a.Sent)
	if fault.Is(err, fault.NotFound) {
		err = nil
	}
	if err != nil || !same {
		e.debug("the host does not hold what it has acknowledged", "volume", u.volume)
		return mark{}, err
	}
	e.Sink.Emit(progress.Event{ID: u.volume + "/note", Status: progress.Note, Text: fmt.Sprintf(
		"the upload of image %s was cut short and goes on: %s of %s are there", u.img.ShortID(), spec.Size(a.Sent), u.img.FileSize)})
	u.sent = a.Sent
	return next, nil
}

// renew makes the volume anew: what an earlier run left in it is not to be built on.
func (e *Engine) renew(ctx context.Context, u *upload) error {
	if err := e.Host.Volumes.DeleteVolume(ctx, u.volume); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return e.Host.Volumes.CreateVolume(ctx, u.volume, u.img.Format, u.img.FileSize)
}

// stays makes of an error one that says what has arrived, where the next run goes on. When
// the host itself gave up, as on a full disk, nothing stays.
func (u *upload) stays(err error) error {
	kind := fault.KindOf(err)
	if u.sent == 0 || u.img.FileSize < resumable || kind != fault.Unreachable && kind != fault.Interrupted && kind != fault.Timeout {
		return err
	}
	text := fmt.Sprintf("%s of the %s of image %s have arrived", spec.Size(u.sent), u.img.FileSize, u.img.ShortID())
	if kind == fault.Interrupted {
		return &fault.Error{Kind: kind, Msg: "interrupted: " + text + ", and the next vmctl up goes on from there", Cause: errors.Join(errStays, err)}
	}
	failure := fault.New(kind, "%s; %s", err.Error(), text).WithHint("run the same command again: it goes on from there")
	failure.Cause = errors.Join(errStays, err)
	return failure
}

// debug says with -v why something was done in one way and not in another.
func (e *Engine) debug(text string, args ...any) {
	if e.Log != nil {
		e.Log.Debug(text, args...)
	}
}

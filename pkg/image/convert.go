package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/proc"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

const (
	// convertVersion changes when the same disk is to be converted to something else.
	convertVersion = "converted-1-"
	copyVersion    = "copied-1-"
	// convertMemory is the address space of qemu-img. Most of it is reserved by its threads
	// and never used: with 1 GiB some of them could not start now and then.
	convertMemory = 4 << 30
	// convertCPU is what it may compute at least, and convertRate how many bytes of a
	// disk it may take one second more for.
	convertCPU  = 2 * time.Minute
	convertRate = 10 << 20
)

// convert makes a qcow2 of a disk of a foreign format. The result's name is made of what
// was converted, not of what it became: another version of QEMU writes other bytes for
// the same disk.
func (o obtainer) convert(ctx context.Context, m material, is kind) (_ material, id string, err error) {
	if _, err := m.judge(is); err != nil {
		return material{}, "", err
	}
	if m.sha256 == "" {
		if err := o.read(ctx, &m); err != nil {
			return material{}, "", err
		}
	}
	key := convertVersion + string(is) + "-" + m.sha256
	e, err := o.make(ctx, key, m.path, func(out *os.File) (string, error) {
		from := m
		if !m.cached {
			// Nobody can change what is in the cache between the look at it and its use.
			e, err := o.copy(ctx, m)
			if err != nil {
				return "", err
			}
			defer func() { _ = o.dir.Drop(filepath.Base(e.Path)) }() // one that stays serves the next run
			from.at, from.cached = e.Path, true
		}
		virtual, err := from.judge(is)
		if err != nil {
			return "", err
		}
		return o.run(ctx, from, is, virtual, out)
	})
	if err != nil {
		return material{}, "", err
	}
	result := subject{path: m.path + " (converted)", file: e.Path, name: "converted.qcow2", download: m.download}
	return material{subject: result, at: e.Path, sha256: e.SHA256, cached: true}, "sha256-" + m.sha256 + "-" + string(is), nil
}

// judge opens the file and applies the gate of its format.
func (m material) judge(is kind) (spec.Size, error) {
	f, info, err := m.open(m.at)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return m.gate(is, f, info.Size())
}

// copy takes a file into the cache, under the lock of what it is converted to.
func (o obtainer) copy(ctx context.Context, m material) (cache.Entry, error) {
	return o.make(ctx, copyVersion+m.sha256, m.path, func(out *os.File) (string, error) {
		f, info, err := m.open(m.at)
		if err != nil {
			return "", err
		}
		defer f.Close()
		w := &unpacked{subject: m.subject, stop: ctx.Err, out: out, dir: o.dir, hash: sha256.New(), limit: info.Size(), looked: true}
		if _, err := io.CopyBuffer(onlyWriter{w}, io.LimitReader(f, info.Size()), make([]byte, 1<<20)); err != nil {
			return "", err
		}
		sum, err := w.finish()
		if err == nil && sum != m.sha256 {
			err = m.bad("changed while it was being read").WithHint("wait until it is written, then try again")
		}
		return sum, err
	})
}

type onlyWriter struct{ io.Writer }

// run runs qemu-img, which is told both formats and may use no more than this takes.
func (o obtainer) run(ctx context.Context, m material, is kind, virtual spec.Size, out *os.File) (sum string, err error) {
	task := progress.Event{ID: o.Task + "/convert", Text: "convert " + ansi.Plain(filepath.Base(m.name)), Total: int64(virtual), Unit: progress.Bytes}
	o.sink().Emit(task)
	defer func() {
		task.Status, task.Err = progress.Done, nil
		if err != nil {
			task.Status, task.Err = progress.Failed, err
		}
		o.sink().Emit(task)
	}()
	room, err := o.dir.Room()
	if err != nil {
		return "", err
	}
	_, err = proc.Run(ctx, proc.Cmd{
		Path: "qemu-img", Args: convertArgs(is, m.at, out.Name()),
		Env: []string{"LC_ALL=C", "MALLOC_ARENA_MAX=2"}, SplitCR: true,
		OnStdout: func(line string) {
			if part, ok := percent(line); ok {
				task.Current = int64(part / 100 * float64(virtual))
				o.sink().Emit(task)
			}
		},
		Limits: proc.Limits{
			Memory: convertMemory, CPU: computing(virtual), File: min(uint64(room), roomOf(virtual)),
		},
	})
	if err != nil {
		return "", o.convertError(ctx, m, room, int64(virtual), err)
	}
	task.Current = task.Total
	info, err := out.Stat()
	if err != nil {
		return "", err
	}
	result := subject{path: m.path + " (converted)", file: out.Name(), name: "converted.qcow2"}
	disk, err := result.verify(ctx, out, info.Size())
	if err != nil {
		return "", err
	}
	if disk.Format != Qcow2 {
		return "", m.bad("was not converted to a qcow2")
	}
	hash := sha256.New()
	_, err = io.Copy(hash, interruptible{ctx.Err, io.NewSectionReader(out, 0, info.Size())})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// computing is how long a disk's conversion may compute, roomOf how large its result may become.
func computing(disk spec.Size) time.Duration {
	return convertCPU + time.Duration(disk/convertRate)*time.Second
}

func roomOf(disk spec.Size) uint64 { return uint64(disk) + uint64(disk)/16 + 64<<20 }

// convertArgs are qemu-img's. Both paths are absolute, so that nothing in front of a colon
// is taken for a protocol.
func convertArgs(from kind, source, target string) []string {
	return []string{"convert", "-p", "-f", string(from), "-O", Qcow2, "--", source, target}
}

// percent reads qemu-img's progress: "    (50.00/100%)".
func percent(line string) (float64, bool) {
	number, ok := strings.CutSuffix(strings.TrimSpace(line), "/100%)")
	if !ok {
		return 0, false
	}
	part, err := strconv.ParseFloat(strings.TrimPrefix(number, "("), 64)
	return part, err == nil && part >= 0 && part <= 100
}

func (o obtainer) convertError(ctx context.Context, m material, room, virtual int64, err error) error {
	var failed *proc.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, proc.ErrNotFound):
		return fault.New(fault.Build, "image %s cannot be converted: qemu-img is not installed", ansi.Plain(m.path)).
			WithHint("install it: apt-get install qemu-utils, or nix profile install nixpkgs#qemu-utils")
	case !errors.As(err, &failed):
		return err
	}
	said := strings.ToLower(failed.Stderr)
	outOfRoom := failed.Signal == syscall.SIGXFSZ || strings.Contains(said, unix.EFBIG.Error()) || strings.Contains(said, unix.ENOSPC.Error())
	switch {
	case outOfRoom && virtual > room:
		return &cache.NoRoomError{Dir: string(o.dir), Need: virtual, Free: room}
	case outOfRoom, failed.Signal == syscall.SIGXCPU, failed.Signal == syscall.SIGKILL, strings.Contains(said, "cannot allocate memory"):
		return m.bad("cannot be converted: it takes more than a disk of %s may", spec.Size(virtual)).
			WithDetails(ansi.Plain(failed.Error())).WithHint("do not use it if you do not know who made it")
	}
	return m.bad("cannot be converted: %s", ansi.Plain(strings.TrimPrefix(failed.LastLine(), "qemu-img: "))).WithHint("build or download it again")
}

// interruptible reads until stop says why not to.
type interruptible struct {
	stop func() error
	io.Reader
}

func (i interruptible) Read(b []byte) (int, error) {
	if err := i.stop(); err != nil {
		return 0, err
	}
	return i.Reader.Read(b)
}

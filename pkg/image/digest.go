package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/progress"
	"vmctl/pkg/safefile"
)

// racy is how old a file's times must be before its digest is remembered: a write
// within the clock's resolution after our reading would not change them.
const racy = 2 * time.Second

// stamp is what changes when a file's content does.
type stamp struct {
	Path  string `json:"path"`
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtimeNs"`
	CTime int64  `json:"ctimeNs"`
}

type remembered struct {
	stamp
	SHA256 string `json:"sha256"`
}

func stampOf(abs string, info os.FileInfo) (stamp, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{
		Path: abs, Dev: st.Dev, Inode: st.Ino, Size: st.Size,
		MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
	}, true
}

// settled says that a file's times are old enough to tell a later change.
func (s stamp) settled(now time.Time) bool {
	limit := now.Add(-racy).UnixNano()
	return s.MTime < limit && s.CTime < limit
}

func digest(ctx context.Context, f *os.File, abs string, info os.FileInfo, s subject, opts Options) (string, error) {
	before, stamped := stampOf(abs, info)
	if stamped {
		if sum := recall(opts.Cache, before); sum != "" {
			return sum, nil
		}
		if sum := opts.Ahead.of(before); sum != "" {
			return sum, nil
		}
	}
	sum, err := read(ctx, f, info.Size(), s, opts)
	if err != nil {
		return "", err
	}
	again, err := f.Stat()
	if err != nil {
		return "", s.bad("could not be read: %w", err)
	}
	if !engine.Unchanged(info, again) {
		return "", s.bad("changed while it was being read").WithHint("wait until it is written, then try again")
	}
	now := opts.Now
	if now == nil {
		now = time.Now
	}
	if stamped && before.settled(now()) {
		remember(opts.Cache, remembered{before, sum})
	}
	return sum, nil
}

func read(ctx context.Context, f *os.File, size int64, s subject, opts Options) (string, error) {
	sink := opts.Progress
	if sink == nil {
		sink = progress.Discard
	}
	event := progress.Event{ID: opts.Task, Text: "read image " + ansi.Plain(s.path), Total: size, Unit: progress.Bytes}
	end := func(status progress.Status, err error) {
		event.Status, event.Err = status, err
		sink.Emit(event)
	}
	sink.Emit(event)
	hash, buf := sha256.New(), make([]byte, 512<<10)
	for event.Current < size {
		if err := ctx.Err(); err != nil {
			end(progress.Failed, err)
			return "", err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-event.Current)], event.Current)
		hash.Write(buf[:n])
		event.Current += int64(n)
		if event.Current < size && err != nil {
			if errors.Is(err, io.EOF) {
				err = s.bad("became shorter while it was being read").WithHint("wait until it is written, then try again")
			} else {
				err = s.bad("could not be read: %w", err)
			}
			end(progress.Failed, err)
			return "", err
		}
		sink.Emit(event)
	}
	end(progress.Done, nil)
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// entry is the file that remembers the digest of a path.
func entry(cache, abs string) string {
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join(cache, "digests", hex.EncodeToString(sum[:16])+".json")
}

// recall gives the digest of a file that has not changed, or nothing. An entry
// that is not ours, or is no regular file, is not believed.
func recall(cache string, want stamp) string {
	if cache == "" {
		return ""
	}
	f, err := os.OpenFile(entry(cache, want.Path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return ""
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return ""
	}
	var got remembered
	if err := json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(&got); err != nil || got.stamp != want {
		return ""
	}
	if raw, err := hex.DecodeString(got.SHA256); err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != got.SHA256 {
		return ""
	}
	return got.SHA256
}

// remember keeps a digest for next time. It is a convenience: a cache that cannot
// be written costs time only.
func remember(cache string, r remembered) {
	if cache == "" {
		return
	}
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	path := entry(cache, r.Path)
	if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	_ = safefile.Write(path, fmt.Appendln(data))
}

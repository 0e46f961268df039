package cache

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"vmctl/pkg/safefile"
)

// Dir is the directory of a cache; it need not exist.
type Dir string

// Entry is one file of the cache.
type Entry struct {
	// Path is the file, which must not be changed.
	Path string
	// Size is its length in bytes.
	Size int64
	// SHA256 is its content's digest in hexadecimal digits.
	SHA256 string
	// From says where it came from, for people.
	From string
}

// The suffixes of what lies beside an entry.
const (
	sidecar = ".json"
	part    = ".part"
	lock    = ".lock"
)

// stamp is what changes when a file's content does.
type stamp struct {
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtimeNs"`
	CTime int64  `json:"ctimeNs"`
}

// record is what lies in the sidecar.
type record struct {
	stamp
	SHA256 string `json:"sha256"`
	From   string `json:"from"`
}

// Path is where the entry called key lies, or would. A key is a file name without a dot
// in front.
func (d Dir) Path(key string) string { return filepath.Join(string(d), key) }

// Part is the file in which the entry is made.
func (d Dir) Part(key string) string { return d.Path(key) + part }

// Make makes the directory, which nobody else may look into.
func (d Dir) Make() error { return os.MkdirAll(string(d), 0o700) }

// Find gives an entry that is there and has not changed since it was committed. An entry
// that is not ours, or could have been written by others, is not believed.
func (d Dir) Find(key string) (Entry, bool) {
	now, ok := own(d.Path(key))
	if !ok {
		return Entry{}, false
	}
	var was record
	if !readJSON(d.Path(key)+sidecar, &was) || was.stamp != now || !isDigest(was.SHA256) {
		return Entry{}, false
	}
	return Entry{Path: d.Path(key), Size: now.Size, SHA256: was.SHA256, From: was.From}, true
}

// Holds says that there is a file for the key, changed or not.
func (d Dir) Holds(key string) bool {
	_, ok := own(d.Path(key))
	return ok
}

// Commit makes the finished part the entry. Its content must have the digest.
func (d Dir) Commit(key, sha256, from string) (Entry, error) {
	f, err := os.OpenFile(d.Part(key), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Entry{}, err
	}
	err = errors.Join(f.Sync(), f.Chmod(0o400), f.Close())
	if err == nil {
		err = os.Rename(d.Part(key), d.Path(key))
	}
	if err != nil {
		return Entry{}, err
	}
	_ = os.Remove(d.Part(key) + sidecar) // what was noted of a part means nothing without it
	return d.Confirm(key, sha256, from)
}

// Confirm notes what the content of an entry is: somebody has just read it.
func (d Dir) Confirm(key, sha256, from string) (Entry, error) {
	now, ok := own(d.Path(key))
	if !ok {
		return Entry{}, fs.ErrNotExist
	}
	data, err := json.Marshal(record{now, sha256, from})
	if err != nil {
		return Entry{}, err
	}
	if err := safefile.Write(d.Path(key)+sidecar, data); err != nil {
		return Entry{}, err
	}
	return Entry{Path: d.Path(key), Size: now.Size, SHA256: sha256, From: from}, nil
}

// Drop removes an entry and what was begun of it.
func (d Dir) Drop(key string) error {
	var failed error
	for _, path := range []string{d.Path(key) + sidecar, d.Path(key), d.Part(key), d.Part(key) + sidecar} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Note keeps something small beside an entry that is being made.
func (d Dir) Note(key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return safefile.Write(d.Part(key)+sidecar, data)
}

// Noted reads what Note kept; false when there is nothing that can be believed.
func (d Dir) Noted(key string, v any) bool { return readJSON(d.Part(key)+sidecar, v) }

// own is the stamp of a regular file that we own and nobody else may write to.
func own(path string) (stamp, bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return stamp{}, false
	}
	return ownInfo(info)
}

func ownInfo(info fs.FileInfo) (stamp, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 || int(st.Uid) != os.Geteuid() {
		return stamp{}, false
	}
	return stamp{Dev: st.Dev, Inode: st.Ino, Size: st.Size, MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano()}, true
}

func readJSON(path string, v any) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	if _, ok := ownInfo(info); !ok {
		return false
	}
	return json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(v) == nil
}

func isDigest(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 32 && hex.EncodeToString(raw) == s
}

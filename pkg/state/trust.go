package state

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"vmctl/pkg/fault"
)

// maxLinks is how many symbolic links a path may lead over, as in the kernel.
const maxLinks = 40

// Check refuses directories that somebody else could put files into, or exchange: by
// the links, known host keys and locks that lie there others would decide what is deleted,
// trusted and waited for. Whoever shares a group with the user is not taken for hostile.
func (d Dirs) Check() error {
	euid := os.Geteuid()
	for _, dir := range []string{d.Cache, d.State, d.Config, d.Runtime} {
		if dir == "" {
			continue
		}
		at, why := untrusted(dir, euid)
		if why == "" {
			continue
		}
		f := fault.New(fault.Refused, "vmctl does not keep its files in %s: %s %s", dir, at, why)
		if euid == 0 {
			return f.WithHint("set HOME to root's own directory, as sudo -H does, or run vmctl as the user whose directory it is")
		}
		return f.WithHint("make it yours alone, or set XDG_CACHE_HOME, XDG_STATE_HOME, XDG_CONFIG_HOME and XDG_RUNTIME_DIR to directories that are")
	}
	return nil
}

// untrusted gives the first part of a path by which others than the user and root could
// change what is found at its end, and why; nothing when there is none. What is not there
// yet nobody else can make, but where everybody can: there it is made at once.
func untrusted(path string, euid int) (at, why string) {
	at, rest, links, open := "/", strings.Trim(path, "/"), 0, false
	for {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			if !open || os.Mkdir(at, 0o700) != nil && !exists(at) {
				return "", ""
			}
			continue // whoever made it
		}
		if err != nil {
			return "", "" // nor can it be written to, and that error says it better
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch mode := info.Mode(); {
		case !ok || !mine(int(st.Uid), euid):
			return at, fmt.Sprintf("belongs to user %d", st.Uid)
		case mode&fs.ModeSymlink != 0:
			target, err := os.Readlink(at)
			if links++; err != nil || links > maxLinks {
				return at, "leads nowhere"
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(at), target)
			}
			at, rest, open = "/", strings.Trim(filepath.Join(target, rest), "/"), false
			continue
		case !mode.IsDir():
			return "", "" // the error of making the directory says it better
		case mode.Perm()&0o002 != 0 && mode&fs.ModeSticky == 0:
			return at, "can be written to by everybody"
		}
		if rest == "" {
			return "", ""
		}
		next, more, _ := strings.Cut(rest, "/")
		at, rest, open = filepath.Join(at, next), strings.Trim(more, "/"), info.Mode().Perm()&0o002 != 0
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// mine says that a file's owner is the user or root. In a user namespace those whom it
// does not know have one number, and are neither.
func mine(owner, euid int) bool { return owner == euid || owner == 0 || owner == unmapped() }

// unmapped is the number of the users that the process's user namespace does not know, or
// -1 where it knows all: then it is an ordinary user's, called nobody.
func unmapped() int {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return -1
	}
	var overflow int
	number, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if _, bad := fmt.Sscan(string(number), &overflow); err != nil || bad != nil {
		return -1
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var inside, outside, count int64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err == nil && int64(overflow) >= inside && int64(overflow) < inside+count {
			return -1
		}
	}
	return overflow
}

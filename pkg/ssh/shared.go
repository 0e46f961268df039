package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Shared lets all ssh of one process that go to the same host use one connection: that of
// the first, which is libvirt's and stays until vmctl disconnects. ssh calls it
// multiplexing. Where the person's own configuration already does that, theirs counts.
type Shared struct{ dir string }

const (
	// maxPath is what a control socket's path may have: a unix socket's has 107 bytes, and
	// ssh adds 17 to it while it makes the socket.
	maxPath = 107 - 17
	// hashed is the length of ssh's %C.
	hashed = 40
)

// Share prepares a shared connection in a directory of its own in the first of dirs where
// that works. Nil is none: then each ssh connects by itself.
func Share(dirs ...string) *Shared {
	for _, parent := range dirs {
		dir := filepath.Join(parent, fmt.Sprintf("%s%d", prefix, os.Getpid()))
		if len(dir)+1+hashed > maxPath || strings.ContainsAny(dir, " \t\n\"'%\\") || !private(parent) {
			continue
		}
		sweep(parent)
		s := &Shared{dir}
		if s.write() == nil && unix.Access(s.Command(), unix.X_OK) == nil { // not on a file system without programs
			return s
		}
		s.Close()
	}
	return nil
}

const (
	prefix = "ssh-"
	// patience is how many seconds a host may take until it greets, unless the person's
	// configuration says something else; without it ssh waits for ever.
	patience = 60
)

// private makes a directory if it is not there, and says whether nobody else may put
// something in it: what is run is in there.
func private(dir string) bool {
	if !filepath.IsAbs(dir) || os.MkdirAll(dir, 0o700) != nil {
		return false
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// write makes the files. The directory must not be there: its name is a process's, and a
// process that was killed is swept away.
func (s *Shared) write() error {
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	// ssh obeys the first value that it finds, so that the person's stand before ours. One whose
	// host fell silent ends by itself, also when nobody is left who would end it.
	config := fmt.Sprintf("Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\nHost *\n  ControlMaster auto\n  ControlPath %s/%%C\n  ControlPersist no\n  ConnectTimeout %d\n  ServerAliveInterval 5\n  ServerAliveCountMax 6\n", s.dir, patience)
	if err := os.WriteFile(s.Config(), []byte(config), 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.Command(), []byte("#!/bin/sh\nexec ssh -F "+s.Config()+" \"$@\"\n"), 0o700)
}

// Config is a configuration of ssh, for its -F.
func (s *Shared) Config() string {
	if s == nil {
		return ""
	}
	return filepath.Join(s.dir, "config")
}

// Command is a program to be run in place of ssh.
func (s *Shared) Command() string {
	if s == nil {
		return ""
	}
	return filepath.Join(s.dir, "ssh")
}

// Close removes the files, when no ssh uses them any more.
func (s *Shared) Close() {
	if s != nil {
		_ = os.RemoveAll(s.dir)
	}
}

// sweep removes what processes that were killed have left.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range left {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), prefix))
		if err != nil || pid != os.Getpid() && syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		_ = os.RemoveAll(dir)
	}
}

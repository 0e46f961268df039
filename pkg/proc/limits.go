package proc

import "golang.org/x/sys/unix"

// impose sets the limits of a process that has just begun. What it had no time to use
// yet counts as well, so nothing slips through. One that has ended already has none.
func (l Limits) impose(pid int) {
	set := func(resource int, value uint64) {
		if value > 0 {
			_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil)
		}
	}
	set(unix.RLIMIT_AS, l.Memory)
	set(unix.RLIMIT_CPU, uint64(l.CPU.Seconds()))
	set(unix.RLIMIT_FSIZE, l.File)
}

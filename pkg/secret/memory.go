package secret

import "golang.org/x/sys/unix"

// Wipe overwrites what was secret. Go may have copied it before, when a slice grew or a
// library kept a buffer: this shortens the time in which it can be found in memory, and
// is no proof against somebody who can read the process.
func Wipe(b []byte) { clear(b[:cap(b)]) }

// Guard keeps the process from writing a core dump and from being read by others of the
// same user, until the function it gives is called. Nothing is lost where the kernel does
// not take it.
func Guard() (release func()) {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err == nil {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	var core unix.Rlimit
	limited := unix.Getrlimit(unix.RLIMIT_CORE, &core) == nil &&
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: core.Max}) == nil
	return func() {
		if limited {
			_ = unix.Setrlimit(unix.RLIMIT_CORE, &core)
		}
		if err == nil {
			_ = unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(dumpable), 0, 0, 0)
		}
	}
}

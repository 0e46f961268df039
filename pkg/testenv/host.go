package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// System is the connection to the private host's system daemon.
const System = "qemu:///system"

// Session is the connection of the unprivileged user: use it with AsTester.
const Session = "qemu:///session"

// Host asks for the private libvirt host and returns its URI. When the test fails, the
// logs of libvirtd and of every QEMU are printed with it.
func Host(t testing.TB) string {
	t.Helper()
	Tool(t, "libvirtd", "virtlogd", "qemu-system-x86_64", "qemu-img")
	if os.Getenv(stageVar) != stageTests {
		why := os.Getenv(refusedVar)
		if why == "" {
			why = "the package's TestMain does not call testenv.Main"
		}
		Missing(t, "no private libvirt host: "+why)
	}
	began := time.Now()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(Logs(began))
		}
	})
	return System
}

// logTail is how much of each log is shown: the end is where the cause stands, and
// what failed must not drown in logs.
const logTail = 800

// Logs are the ends of those logs of the private host that were written to since a
// time, each under its path and without QEMU's command lines.
func Logs(since time.Time) string {
	var all strings.Builder
	for _, pattern := range []string{
		libvirtLog,
		"/var/log/libvirt/qemu/*.log",
		testerHome + "/.cache/libvirt/*.log",
		testerHome + "/.cache/libvirt/qemu/log/*.log",
	} {
		paths, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, path := range paths {
			info, err := os.Stat(path)
			if err == nil && info.ModTime().Before(since) {
				continue
			}
			content, err := os.ReadFile(path)
			if err != nil {
				content = []byte(err.Error())
			}
			fmt.Fprintf(&all, "--- %s\n%s\n", path, logEnd(string(content)))
		}
	}
	if all.Len() == 0 {
		return "the private host has written no logs"
	}
	return all.String()
}

// logEnd is the end of a log without the lines of a command that goes on in the next.
func logEnd(log string) string {
	var kept strings.Builder
	for line := range strings.Lines(log) {
		if !strings.HasSuffix(line, "\\\n") {
			kept.WriteString(line)
		}
	}
	end := kept.String()
	return end[max(0, len(end)-logTail):]
}

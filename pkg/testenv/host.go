package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(Logs())
		}
	})
	return System
}

// logTail is how much of each log is shown: the end is where the cause stands.
const logTail = 2000

// Logs are the ends of all logs of the private host, each under its path.
func Logs() string {
	var all strings.Builder
	for _, pattern := range []string{
		libvirtLog,
		"/var/log/libvirt/qemu/*.log",
		testerHome + "/.cache/libvirt/*.log",
		testerHome + "/.cache/libvirt/qemu/log/*.log",
	} {
		paths, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				content = []byte(err.Error())
			}
			if len(content) > logTail {
				content = content[len(content)-logTail:]
			}
			fmt.Fprintf(&all, "--- %s\n%s\n", path, content)
		}
	}
	if all.Len() == 0 {
		return "the private host has no logs"
	}
	return all.String()
}

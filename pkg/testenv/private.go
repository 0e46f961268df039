package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Places on the private host. All of /run is a file system of the sandbox's own, so
// what lies there is gone with it.
const (
	hostname   = "vmhost"
	tmpDir     = "/run/tmp"
	rootHome   = "/run/root"
	testerHome = "/run/tester"
	overlaid   = "/run/etc"

	testerName = "tester"
	testerID   = 61000
)

// makeHost turns fresh namespaces into a host with libvirt on it.
func makeHost() error {
	return makeHostAs(hostname, "127.0.0.1", "76d6c746-4a5e-4b0a-9cf0-a1f4e1b9a7d2")
}

// makeHostAs makes a host of a name, an address and a UUID; libvirtd gets the arguments.
func makeHostAs(name, address, id string, arguments ...string) error {
	if err := privateMounts(); err != nil {
		return err
	}
	if err := privateEtc(name, address, id); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return startLibvirt(id, arguments...)
}

func privateMounts() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	// Both show the namespaces of whoever mounted them.
	for fs, dir := range map[string]string{"proc": "/proc", "sysfs": "/sys"} {
		if err := syscall.Mount(fs, dir, fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	// /run as a whole: its parts need not exist on the machine as mount points.
	for _, dir := range []string{"/run", "/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if real, err := filepath.EvalSymlinks("/var/run"); err == nil && real != "/run" {
		if err := syscall.Mount("/run", "/var/run", "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount /var/run: %w", err)
		}
	}
	return makeDirs()
}

func makeDirs() error {
	runtime := fmt.Sprintf("/run/user/%d", testerID)
	for _, d := range []struct {
		path string
		mode os.FileMode
		user int
	}{
		{"/run/lock", 0o1777 | os.ModeSticky, 0},
		{tmpDir, 0o777 | os.ModeSticky, 0},
		{overlaid, 0o755, 0},
		{rootHome, 0o755, 0},
		{"/run/user", 0o755, 0},
		{testerHome, 0o755, testerID},
		{runtime, 0o700, testerID},
		{"/var/lib/libvirt/images", 0o711, 0},
		{"/var/log/libvirt/qemu", 0o755, 0},
		{"/etc/libvirt/qemu/networks", 0o755, 0},
		{MigrateTLS, 0o755, 0},
	} {
		if err := os.MkdirAll(d.path, 0o755); err != nil {
			return err
		}
		if err := os.Chown(d.path, d.user, d.user); err != nil {
			return err
		}
		if err := os.Chmod(d.path, d.mode); err != nil { // MkdirAll obeys the umask
			return err
		}
	}
	return nil
}

// privateEtc adds the unprivileged user and keeps name lookups at home: with a real
// resolv.conf and no network each start of a domain stalls for ten seconds.
func privateEtc(host, address, id string) error {
	for name, content := range map[string]string{
		"passwd":      fmt.Sprintf("%s:x:%d:%d::%s:/bin/bash\n", testerName, testerID, testerID, testerHome),
		"group":       fmt.Sprintf("%s:x:%d:\n", testerName, testerID),
		"hosts":       "127.0.0.1 localhost\n::1 localhost\n" + address + " " + host + "\n",
		"resolv.conf": "",
		"machine-id":  strings.ReplaceAll(id, "-", "") + "\n",
	} {
		target := "/etc/" + name
		if name == "passwd" || name == "group" {
			old, err := os.ReadFile(target)
			if err != nil {
				return err
			}
			// ssh asks here, and not HOME, where a user's keys are.
			root := regexp.MustCompile(`(?m)^(root:(?:[^:\n]*:){4})[^:\n]*`)
			content = root.ReplaceAllString(strings.TrimRight(string(old), "\n"), "${1}"+rootHome) + "\n" + content
		}
		if err := bindFile(target, content); err != nil {
			return err
		}
	}
	return nil
}

func bindFile(target, content string) error {
	// resolv.conf may be a symbolic link into the /run that is hidden now.
	if link, err := os.Readlink(target); err == nil {
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(target), link)
		}
		target = link
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if strings.HasPrefix(target, "/run/") {
			return os.WriteFile(target, []byte(content), 0o644)
		}
	}
	if _, err := os.Stat(target); err != nil {
		return nil // nothing to hide
	}
	source := filepath.Join(overlaid, filepath.Base(target))
	if err := os.WriteFile(source, []byte(content), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

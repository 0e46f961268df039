package testenv

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

const (
	libvirtSocket = "/run/libvirt/libvirt-sock"
	libvirtLog    = "/var/log/libvirt/libvirtd.log"
	startTimeout  = 30 * time.Second
)

// libvirtFiles are the configuration of the private daemons. There is no polkit
// without D-Bus, hence auth none; no cgroups of its own, hence no controllers; and the
// network is defined but not started, as Debian leaves it.
func libvirtFiles(id string) map[string]string {
	return map[string]string{
		"/etc/libvirt/libvirtd.conf": `auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0700"
host_uuid = "` + id + `"
auth_tcp = "none"
listen_tls = 0
listen_tcp = 1
log_outputs = "3:file:` + libvirtLog + `"
`,
		"/etc/libvirt/virtlogd.conf": "",
		"/etc/libvirt/qemu.conf": `cgroup_controllers = []
security_driver = "none"
migrate_tls_x509_cert_dir = "` + MigrateTLS + `"
`,
		"/etc/libvirt/qemu/networks/default.xml": `<network>
  <name>default</name>
  <uuid>0e2a0ed7-4a6b-4e8e-8f5f-5b4df5b9f3a1</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
</network>
`,
	}
}

// startLibvirt starts the daemons where they are installed, and waits until they answer.
func startLibvirt(id string, arguments ...string) error {
	for path, content := range libvirtFiles(id) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	for _, daemon := range []string{"virtlogd", "libvirtd"} {
		path, err := exec.LookPath(daemon)
		if errors.Is(err, exec.ErrNotFound) {
			return nil // Host names what is missing
		}
		if err != nil {
			return err
		}
		cmd := exec.Command(path, "-d")
		if daemon == "libvirtd" {
			cmd.Args = append(cmd.Args, arguments...)
		}
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", daemon, err, out)
		}
	}
	return waitForSocket(libvirtSocket, startTimeout)
}

func waitForSocket(path string, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); ; {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("libvirtd does not answer: %w", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

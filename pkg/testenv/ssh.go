package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// SSHServer is an ssh server on the private host. It lets everybody in with root's own key.
type SSHServer struct {
	// Port is where it listens on 127.0.0.1.
	Port int
	// HostKey is its public key, as in a .pub file.
	HostKey string
	// KnownHosts is root's own file, which does not know the server yet.
	KnownHosts string
}

// SSH starts an ssh server that ends with the test, with more lines for its configuration.
// root's ~/.ssh lies on the private host, whose passwd says so: ssh asks there and not HOME.
func SSH(t testing.TB, more ...string) *SSHServer {
	t.Helper()
	Host(t)
	Tool(t, "sshd", "ssh", "ssh-keygen")
	dir, user := Dir(t, ""), filepath.Join(rootHome, ".ssh")
	must(t, os.MkdirAll(user, 0o700))
	must(t, os.MkdirAll("/run/sshd", 0o755))
	identity := filepath.Join(user, "id_ed25519")
	if _, err := os.Stat(identity); err != nil {
		keygen(t, identity)
	}
	hostKey := filepath.Join(dir, "host")
	keygen(t, hostKey)
	s := &SSHServer{Port: freePort(t), KnownHosts: filepath.Join(user, "known_hosts")}
	public, err := os.ReadFile(hostKey + ".pub")
	must(t, err)
	s.HostKey = strings.TrimSpace(string(public))
	t.Cleanup(func() { _ = os.Remove(s.KnownHosts) })
	// Where each user can read it: sshd does that as whoever logs in.
	authorized := filepath.Join(dir, "authorized")
	key, err := os.ReadFile(identity + ".pub")
	must(t, err)
	must(t, os.WriteFile(authorized, key, 0o644))
	config := filepath.Join(dir, "sshd_config")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `Port %d
ListenAddress 127.0.0.1
HostKey %s
AuthorizedKeysFile %s
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
%s
`, s.Port, hostKey, authorized, strings.Join(more, "\n")), 0o600))
	program, err := exec.LookPath("sshd") // it insists on its whole path
	must(t, err)
	server := exec.Command(program, "-D", "-e", "-f", config)
	must(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	s.wait(t)
	return s
}

// Trust makes the server's key known to root, as a person does who has checked it.
func (s *SSHServer) Trust(t testing.TB) {
	t.Helper()
	must(t, os.WriteFile(s.KnownHosts, fmt.Appendf(nil, "[127.0.0.1]:%d %s\n", s.Port, s.HostKey), 0o600))
}

// Through is the connection to the private host's libvirt by a link to the server, whose
// key is known there.
func (s *SSHServer) Through(t testing.TB, shape Shape) (*Link, string) {
	t.Helper()
	l := TCP(t, fmt.Sprintf("127.0.0.1:%d", s.Port), shape)
	known, err := os.OpenFile(s.KnownHosts, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = fmt.Fprintf(known, "[127.0.0.1]:%s %s\n", l.Port(), s.HostKey)
	must(t, err)
	must(t, known.Close())
	return l, fmt.Sprintf("qemu+ssh://root@127.0.0.1:%s/system", l.Port())
}

// URI is the connection to the private host's libvirt through the server.
func (s *SSHServer) URI() string { return fmt.Sprintf("qemu+ssh://root@127.0.0.1:%d/system", s.Port) }

func (s *SSHServer) wait(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port), time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the ssh server does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func keygen(t testing.TB, file string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package testenv

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SSHServer is an ssh server on one of the private hosts. It lets everybody in with root's own key.
type SSHServer struct {
	// Address and Port are where it listens.
	Address string
	Port    int
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
	s := &SSHServer{Address: "127.0.0.1", Port: freePort(t)}
	dir := Dir(t, "")
	s.start(t, dir, dir, nil, more)
	return s
}

// SSH starts an ssh server on the second host, which lets root of the first one in.
func (s *SecondHost) SSH(t testing.TB) *SSHServer {
	t.Helper()
	const dir = "/run/ssh"
	must(t, os.MkdirAll(s.Path(dir), 0o755))
	must(t, os.MkdirAll(s.Path("/run/sshd"), 0o755))
	server := &SSHServer{Address: secondIP, Port: 22}
	server.start(t, s.Path(dir), dir, []string{"nsenter", "-t", strconv.Itoa(s.pid), "-m", "-u", "-i", "-n", "-p", "--"}, nil)
	return server
}

// start starts the server on a host, on which here is there, with a command before its own.
func (s *SSHServer) start(t testing.TB, here, there string, before, more []string) {
	t.Helper()
	Tool(t, "sshd", "ssh", "ssh-keygen")
	user := filepath.Join(rootHome, ".ssh")
	must(t, os.MkdirAll(user, 0o700))
	must(t, os.MkdirAll("/run/sshd", 0o755))
	identity := filepath.Join(user, "id_ed25519")
	if _, err := os.Stat(identity); err != nil {
		keygen(t, identity)
	}
	keygen(t, filepath.Join(here, "host"))
	s.KnownHosts = filepath.Join(user, "known_hosts")
	public, err := os.ReadFile(filepath.Join(here, "host.pub"))
	must(t, err)
	s.HostKey = strings.TrimSpace(string(public))
	t.Cleanup(func() { _ = os.Remove(s.KnownHosts) })
	// Where each user can read it: sshd does that as whoever logs in.
	key, err := os.ReadFile(identity + ".pub")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(here, "authorized"), key, 0o644))
	must(t, os.WriteFile(filepath.Join(here, "sshd_config"), fmt.Appendf(nil, `Port %d
ListenAddress %s
HostKey %[3]s/host
AuthorizedKeysFile %[3]s/authorized
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
%[4]s
`, s.Port, s.Address, there, strings.Join(more, "\n")), 0o600))
	program, err := exec.LookPath("sshd") // it insists on its whole path
	must(t, err)
	argv := append(slices.Clone(before), program, "-D", "-e", "-f", filepath.Join(there, "sshd_config"))
	server := exec.Command(argv[0], argv[1:]...)
	must(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	s.wait(t)
}

// Trust makes the server's key known to root, as a person does who has checked it, and none
// that was known before.
func (s *SSHServer) Trust(t testing.TB) {
	t.Helper()
	must(t, os.RemoveAll(s.KnownHosts))
	s.Know(t)
}

// Know makes the server's key known to root beside others.
func (s *SSHServer) Know(t testing.TB) {
	t.Helper()
	s.know(t, s.Address, strconv.Itoa(s.Port))
}

// know adds the server's key to root's, under a place where it is reached.
func (s *SSHServer) know(t testing.TB, address, port string) {
	t.Helper()
	known, err := os.OpenFile(s.KnownHosts, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	name := "[" + address + "]:" + port
	if port == "22" {
		name = address
	}
	_, err = fmt.Fprintf(known, "%s %s\n", name, s.HostKey)
	must(t, err)
	must(t, known.Close())
}

// Through is the connection to the private host's libvirt by a link to the server, whose
// key is known there.
func (s *SSHServer) Through(t testing.TB, shape Shape) (*Link, string) {
	t.Helper()
	l := TCP(t, fmt.Sprintf("127.0.0.1:%d", s.Port), shape)
	s.know(t, "127.0.0.1", l.Port())
	return l, fmt.Sprintf("qemu+ssh://root@127.0.0.1:%s/system", l.Port())
}

// URI is the connection to its host's libvirt through the server.
func (s *SSHServer) URI() string {
	return fmt.Sprintf("qemu+ssh://root@%s:%d/system", s.Address, s.Port)
}

func (s *SSHServer) wait(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", s.Address, s.Port), time.Second)
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

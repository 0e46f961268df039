package images_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

const (
	bootTimeout = 2 * time.Minute
	codeFile    = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	varsFile    = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// TestTinyBoots is what the image itself promises, without vmctl or libvirt: it boots by
// either firmware, grows to its disk, lets tarn in, keeps files over a reboot, answers the
// agent and obeys the power button.
func TestTinyBoots(t *testing.T) {
	testenv.Tool(t, "qemu-system-x86_64", "qemu-img")
	if _, err := os.Stat(codeFile); err != nil {
		testenv.Missing(t, "UEFI firmware is not installed: "+codeFile)
	}
	image := buildTiny(t)
	for _, firmware := range []string{"bios", "efi"} {
		t.Run(firmware, func(t *testing.T) {
			g := boot(t, image, firmware)
			g.login()
			g.shell("echo kept > note && sync; df -m / | tail -1", `/dev/vda2\s+9\d\d\s`)
			g.shell("ip addr show eth0; id -Gn", `inet 10\.0\.2\.15/24[\s\S]*wheel`)
			assert.JSONEq(t, `{"return": {}}`, g.ask("agent", `{"execute": "guest-ping"}`))
			g.shell("su -c reboot", `Restarting system`)
			g.login()
			g.shell("cat note", `kept\r`)
			g.ask("qmp", `{"execute": "qmp_capabilities"}`, `{"execute": "system_powerdown"}`)
			g.expect(`Power down`)
			require.NoError(t, g.cmd.Wait())
		})
	}
}

func TestTinyIsTheSameTwice(t *testing.T) {
	buildTiny(t)
	_, stderr, err := nixBuild(t, "--rebuild")
	require.NoError(t, err, "%s", stderr)
}

func TestTinySaysWhatToInstall(t *testing.T) {
	testenv.Tool(t, "bash")
	bash, err := exec.LookPath("bash")
	require.NoError(t, err)
	script, err := filepath.Abs("tiny/build.sh")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), bash, script)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + t.TempDir(), "boot=/", "root=/", "out=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "hint: apt-get install busybox-static dropbear-bin qemu-guest-agent")
}

func nixBuild(t *testing.T, flags ...string) (stdout, stderr []byte, err error) {
	t.Helper()
	flake, err := filepath.Abs("tiny")
	require.NoError(t, err)
	args := append([]string{"--extra-experimental-features", "nix-command flakes", "build", "--json", "--no-link"}, flags...)
	cmd := exec.CommandContext(t.Context(), "nix",
		append(args, "path:"+flake+"#nixosConfigurations.tiny.config.system.build.qcow2")...)
	cmd.Env = append(os.Environ(), testenv.Nix(t)...)
	var buf bytes.Buffer
	cmd.Stderr = &buf
	stdout, err = cmd.Output()
	return stdout, buf.Bytes(), err
}

func buildTiny(t *testing.T) string {
	t.Helper()
	stdout, stderr, err := nixBuild(t)
	require.NoError(t, err, "%s", stderr)
	var built []struct{ Outputs struct{ Out string } }
	require.NoError(t, json.Unmarshal(stdout, &built))
	note, err := os.ReadFile(filepath.Join(built[0].Outputs.Out, "nix-support", "hydra-build-products"))
	require.NoError(t, err)
	words := strings.Fields(string(note))
	require.Len(t, words, 3)
	return words[2]
}

// guest is a QEMU whose serial console is its standard input and output.
type guest struct {
	t       *testing.T
	cmd     *exec.Cmd
	dir     string
	typed   io.Writer
	printed chan []byte
	seen    []byte
}

func boot(t *testing.T, image, firmware string) *guest {
	t.Helper()
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk.qcow2")
	out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", disk, "1G").CombinedOutput()
	require.NoError(t, err, "%s", out)
	args := []string{
		"-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-display", "none", "-serial", "stdio",
		"-drive", "if=virtio,format=qcow2,file=" + disk, "-nic", "user,model=virtio-net-pci",
		"-device", "virtio-serial", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-chardev", "socket,id=agent,server=on,wait=off,path=" + filepath.Join(dir, "agent"),
		"-qmp", "unix:" + filepath.Join(dir, "qmp") + ",server=on,wait=off",
	}
	if firmware == "efi" {
		vars, err := os.ReadFile(varsFile)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "vars"), vars, 0o600))
		args = append(args, "-drive", "if=pflash,format=raw,readonly=on,file="+codeFile,
			"-drive", "if=pflash,format=raw,file="+filepath.Join(dir, "vars"))
	}
	g := &guest{t: t, dir: dir, cmd: exec.CommandContext(t.Context(), "qemu-system-x86_64", args...), printed: make(chan []byte, 64)}
	g.typed, err = g.cmd.StdinPipe()
	require.NoError(t, err)
	read, write := io.Pipe()
	g.cmd.Stdout, g.cmd.Stderr = write, write
	require.NoError(t, g.cmd.Start())
	go func() {
		defer close(g.printed)
		for {
			b := make([]byte, 4096)
			n, err := read.Read(b)
			if err != nil {
				return
			}
			g.printed <- b[:n]
		}
	}()
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill() // it may be gone already
		_ = g.cmd.Wait()
		_ = write.Close()
	})
	return g
}

// expect waits until the console has printed a match, and forgets all up to it.
func (g *guest) expect(pattern string) {
	g.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(bootTimeout)
	for {
		if at := re.FindIndex(g.seen); at != nil {
			g.seen = g.seen[at[1]:]
			return
		}
		select {
		case b, ok := <-g.printed:
			require.True(g.t, ok, "the guest ended before it printed %s:\n%q", pattern, g.seen)
			g.seen = append(g.seen, b...)
		case <-timeout:
			require.FailNow(g.t, "the guest did not print "+pattern, "%q", g.seen)
		}
	}
}

func (g *guest) shell(line, answer string) {
	g.t.Helper()
	_, err := fmt.Fprintln(g.typed, line)
	require.NoError(g.t, err)
	g.expect(`\n` + `[\s\S]*` + answer)
}

func (g *guest) login() {
	g.t.Helper()
	g.expect(`tiny login: `)
	g.shell("tarn", `tarn@tiny:~\$ `)
}

// ask sends lines to one of QEMU's sockets and returns the last answer.
func (g *guest) ask(socket string, lines ...string) string {
	g.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(g.t.Context(), "unix", filepath.Join(g.dir, socket))
	require.NoError(g.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(g.t, conn.SetDeadline(time.Now().Add(bootTimeout)))
	from := json.NewDecoder(conn)
	var answer json.RawMessage
	if socket == "qmp" {
		require.NoError(g.t, from.Decode(&answer)) // the greeting
	}
	for _, line := range lines {
		_, err := fmt.Fprintln(conn, line)
		require.NoError(g.t, err)
		require.NoError(g.t, from.Decode(&answer))
	}
	return string(answer)
}

// TestTinyTakesSecretsAsNixOSDoes: a flake sees no files outside of itself, so that the
// script is there twice.
func TestTinyTakesSecretsAsNixOSDoes(t *testing.T) {
	module, err := os.ReadFile("module/credentials.sh")
	require.NoError(t, err)
	tiny, err := os.ReadFile("tiny/root/etc/init.d/credentials")
	require.NoError(t, err)
	assert.Equal(t, string(module), string(tiny))
}

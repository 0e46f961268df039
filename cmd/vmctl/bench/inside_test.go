//go:build bench

package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// inside compares what reaches into a guest that runs: ssh, and the serial console.
func (h *host) inside(rounds int) []row {
	definition := "image: images/tiny\nmemory: 256MiB\ncpus: 1\ndisk: 1GiB\nports: [\"auto:22\"]\nssh: {user: tarn}\n"
	require.NoError(h.t, os.WriteFile(filepath.Join(h.project, "domain/inside.yaml"), []byte(definition), 0o644))
	h.must(h.vmctl, "-C", h.project, "up", "inside")
	config := filepath.Join(h.dir, "ssh.conf")
	require.NoError(h.t, os.WriteFile(config, []byte(h.must(h.vmctl, "-C", h.project, "ssh-config")), 0o600))
	h.must(h.vmctl, "-C", h.project, "ssh", "inside", "true") // its host key is known from here on

	var info struct{ Ports []struct{ Host int } }
	require.NoError(h.t, json.Unmarshal([]byte(h.must(h.vmctl, "-C", h.project, "-o", "json", "info", "inside")), &info))
	require.Len(h.t, info.Ports, 1)
	port := strconv.Itoa(info.Ports[0].Host)

	var ours, theirs, console, virsh []run
	for range rounds {
		ours = append(ours, h.time(h.vmctl, "-C", h.project, "ssh", "inside", "true"))
		theirs = append(theirs, h.time("ssh", "-F", config, "-o", "ProxyCommand=none", "-o", "Hostname=127.0.0.1", "-p", port, "inside", "true"))
	}
	h.login()
	for range min(rounds, 3) {
		console = append(console, h.prints(h.vmctl, "-C", h.project, "console", "inside"))
		virsh = append(virsh, h.prints("virsh", "console", "inside"))
	}
	h.must(h.vmctl, "-C", h.project, "down", "--force", "inside")
	require.NoError(h.t, os.Remove(filepath.Join(h.project, "domain/inside.yaml")))
	return []row{
		compare("`ssh` into a guest", "plain `ssh` to the same port", "", ours, theirs),
		compare("256 KiB on the serial console", "`virsh console`", "≤ 1.1", console, virsh),
	}
}

// terminal is a program in a terminal of its own.
type terminal struct {
	h   *host
	cmd *exec.Cmd
	tty *os.File
	// said is what it writes, until it ends.
	said chan []byte
	seen bytes.Buffer
}

func (h *host) terminal(argv ...string) *terminal {
	cmd := h.command(argv...)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
	require.NoError(h.t, err)
	x := &terminal{h: h, cmd: cmd, tty: tty, said: make(chan []byte, 16)}
	go func() {
		defer close(x.said)
		for {
			buffer := make([]byte, 64<<10)
			n, err := tty.Read(buffer)
			x.said <- buffer[:n]
			if err != nil {
				return
			}
		}
	}()
	return x
}

func (x *terminal) send(text string) {
	_, err := io.WriteString(x.tty, text)
	require.NoError(x.h.t, err)
}

// until reads until the program has shown the text.
func (x *terminal) until(text string) {
	require.True(x.h.t, x.shows(text, 2*time.Minute), "waiting for %q", text)
}

// shows reads until the program has shown the text, and says whether it has in time.
func (x *terminal) shows(text string, patience time.Duration) bool {
	late := time.After(patience)
	for !bytes.Contains(x.seen.Bytes(), []byte(text)) {
		select {
		case said, open := <-x.said:
			if !open {
				return false
			}
			x.seen.Write(said)
		case <-late:
			return false
		}
		if keep := 1 << 10; x.seen.Len() > 64*keep {
			x.seen.Next(x.seen.Len() - keep)
		}
	}
	x.seen.Reset()
	return true
}

// mark is a word that nothing has printed yet, in parts, so that the echo of a command in
// which they stand is none.
func mark() (word, parts string) {
	n := strconv.FormatInt(time.Now().UnixNano(), 10)
	return "END" + n, "E''ND" + n
}

// answered asks the guest's shell until it answers: what is typed before virsh has made its
// terminal raw is lost, and vmctl shows first what was printed before.
func (x *terminal) answered() {
	word, parts := mark()
	for range 120 {
		x.send("echo " + parts + "\n")
		if x.shows(word, time.Second) {
			return
		}
	}
	require.Fail(x.h.t, "the guest's shell does not answer")
}

// leave ends the program as a person does, or by force.
func (x *terminal) leave() {
	x.send("\x1d")
	kill := time.AfterFunc(10*time.Second, func() { _ = x.cmd.Process.Kill() })
	for range x.said { // until it ends
		continue
	}
	_ = x.cmd.Wait()
	kill.Stop()
	_ = x.tty.Close()
}

// login leaves a shell on the guest's console.
func (h *host) login() {
	x := h.terminal(h.vmctl, "-C", h.project, "console", "inside")
	x.until("leave with")
	x.send("\n")
	x.until("login: ")
	x.send("tarn\n")
	x.until("$ ")
	x.leave()
}

// prints is how long a program takes to show what the guest's shell prints on its console.
func (h *host) prints(argv ...string) run {
	x := h.terminal(argv...)
	defer x.leave()
	x.answered()
	begin := time.Now()
	word, parts := mark()
	x.send("head -c 262144 /dev/zero | tr '\\0' x; echo " + parts + "\n")
	x.until(word)
	return run{wall: time.Since(begin)}
}

// upload compares the memory that an upload of 10 GiB takes, a tenth of it data.
func (h *host) upload(way, uri string) amount {
	project := filepath.Join(h.dir, "upload")
	require.NoError(h.t, os.MkdirAll(filepath.Join(project, "domain"), 0o755))
	disk := filepath.Join(project, "disk.raw")
	h.must("sh", "-c", "head -c 1073741824 /dev/urandom >"+disk+" && printf '\\125\\252' | dd of="+disk+" bs=1 seek=510 conv=notrunc status=none && truncate -s 10G "+disk)
	text := "image: ./disk.raw\nmemory: 32MiB\ncpus: 1\nnetwork: none\naccel: tcg\n"
	require.NoError(h.t, os.WriteFile(filepath.Join(project, "domain/large-disk.yaml"), []byte(text), 0o644))
	ours := h.time(h.vmctl, "-C", project, "-c", uri, "up", "--no-wait", "large-disk")
	h.must(h.vmctl, "-C", project, "down", "--force", "large-disk")
	h.must(h.vmctl, "-C", project, "image", "prune")
	h.must("virsh", "vol-create-as", "vmctl", "large", "10G", "--allocation", "0", "--format", "raw")
	theirs := h.time("virsh", "-c", uri, "vol-upload", "--pool", "vmctl", "--sparse", "large", disk)
	h.must("virsh", "vol-delete", "--pool", "vmctl", "large")
	require.NoError(h.t, os.Remove(disk))
	return amount{
		What: "peak memory while 10 GiB are uploaded, " + way, Vmctl: float64(ours.rss) / (1 << 20),
		Reference: "`virsh vol-upload --sparse`", Other: float64(theirs.rss) / (1 << 20), Target: "64 MiB",
	}
}

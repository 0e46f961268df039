//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patience is how long anything may take that a person waits for: a guest that boots
// in software emulation on a busy machine is the slowest of it.
const patience = 60 * time.Second

// terminal is a program in a terminal, and everything it ever wrote there.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	pty  *os.File
	exit chan int

	mu sync.Mutex
	// raw is all output; text is the same without control sequences, as far as they
	// are whole; read is how much of text was expected already.
	raw     []byte
	pending []byte
	text    string
	read    int
	ended   bool
	// more is closed and replaced whenever something was added.
	more chan struct{}
}

// inTerminal starts a program in a terminal of its own.
func inTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
	require.NoError(t, err)
	w := &terminal{t: t, cmd: cmd, pty: file, exit: make(chan int, 1), more: make(chan struct{})}
	collected := make(chan struct{})
	go func() { defer close(collected); w.collect() }()
	go func() {
		_ = cmd.Wait() // the exit code says it
		w.exit <- cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, unless the test failed
		_ = file.Close()
		<-collected
		if t.Failed() {
			t.Logf("--- terminal of %s\n%s", cmd, w.transcript())
		}
	})
	return w
}

func (w *terminal) collect() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.pty.Read(buf)
		w.mu.Lock()
		w.raw = append(w.raw, buf[:n]...)
		w.add(buf[:n])
		w.ended = err != nil
		close(w.more)
		w.more = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return // EIO once nobody has the other side open
		}
	}
}

// sequence is a control sequence as vmctl, shells and guests write them.
var sequence = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[=>78cDEHMNOZ])`)

// add takes the control sequences out; a part of one waits for its rest.
func (w *terminal) add(p []byte) {
	w.pending = append(w.pending, p...)
	whole := len(w.pending)
	if i := strings.LastIndexByte(string(w.pending), 0x1b); i >= 0 && !sequence.Match(w.pending[i:]) {
		whole = i
	}
	w.text += sequence.ReplaceAllString(string(w.pending[:whole]), "")
	w.pending = append([]byte(nil), w.pending[whole:]...)
}

// expect waits for text that the pattern matches, behind all that was expected before,
// and gives the match and its groups.
func (w *terminal) expect(pattern string) []string {
	w.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		w.mu.Lock()
		rest, more, ended := w.text[w.read:], w.more, w.ended
		at := re.FindStringSubmatchIndex(rest)
		if at != nil {
			w.read += at[1]
		}
		w.mu.Unlock()
		switch {
		case at != nil:
			return re.FindStringSubmatch(rest[:at[1]])
		case ended:
			require.FailNow(w.t, "the terminal closed before it showed "+pattern, "%s", w.transcript())
		}
		select {
		case <-more:
		case <-deadline.C:
			require.FailNow(w.t, fmt.Sprintf("no %s within %s", pattern, patience), "%s", w.transcript())
		}
	}
}

// seen is the text since the beginning.
func (w *terminal) seen() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text
}

// frames are a progress display drawn again and again.
var frames = regexp.MustCompile(`(?:[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏][^⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓✗\n]*)+([⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓✗])`)

// transcript is all that was shown, for reading.
func (w *terminal) transcript() string {
	return frames.ReplaceAllString(strings.ReplaceAll(w.seen(), "\r\n", "\n"), "$1")
}

// send types.
func (w *terminal) send(keys string) {
	w.t.Helper()
	_, err := w.pty.WriteString(keys)
	require.NoError(w.t, err)
}

// end waits until the program has ended, and gives its exit code.
func (w *terminal) end() int {
	w.t.Helper()
	select {
	case code := <-w.exit:
		w.exit <- code
		return code
	case <-time.After(patience):
		require.FailNow(w.t, fmt.Sprintf("%s did not end", w.cmd), "%s", w.transcript())
		return -1
	}
}

// settings are the terminal's, as its program left them.
func (w *terminal) settings() unix.Termios {
	w.t.Helper()
	mode, err := unix.IoctlGetTermios(int(w.pty.Fd()), unix.TCGETS)
	require.NoError(w.t, err)
	return *mode
}

// Keys.
const (
	ctrlC   = "\x03"
	ctrlD   = "\x04"
	bracket = "\x1d" // Ctrl-]
)

// shell is bash in a terminal; its prompt shows how the last command ended.
type shell struct{ *terminal }

const shellPrompt = `(?:^|\n|\r)\[(\d+)\]> $`

func (p *person) shell(t *testing.T, dir string) *shell {
	t.Helper()
	cmd := p.command(t, dir, "bash", "--norc", "--noprofile", "--noediting")
	cmd.Env = append(cmd.Env, "PS1=[$?]> ", "TERM=xterm-256color", "HISTFILE=", "COLUMNS=100", "LINES=30")
	s := &shell{inTerminal(t, cmd)}
	s.expect(shellPrompt)
	return s
}

// run types a command, waits for the next prompt, and gives what was shown and the
// exit code.
func (s *shell) run(command string) (string, int) {
	s.t.Helper()
	s.send(command + "\n")
	return s.prompt(command)
}

// prompt waits for the shell's prompt.
func (s *shell) prompt(command string) (string, int) {
	s.t.Helper()
	s.mu.Lock()
	from := s.read
	s.mu.Unlock()
	m := s.expect(shellPrompt)
	code, err := strconv.Atoi(m[1])
	require.NoError(s.t, err)
	s.mu.Lock()
	shown := s.text[from:s.read]
	s.mu.Unlock()
	shown = strings.TrimSuffix(shown, m[0])
	shown = strings.TrimPrefix(shown, command)
	return strings.TrimSpace(strings.ReplaceAll(shown, "\r\n", "\n")), code
}

// ok runs a command that must succeed.
func (s *shell) ok(command string) string {
	s.t.Helper()
	shown, code := s.run(command)
	require.Zero(s.t, code, "%s\n%s", command, shown)
	return shown
}

// leave ends the shell.
func (s *shell) leave() {
	s.t.Helper()
	s.send("exit 0\n")
	require.Zero(s.t, s.end())
}

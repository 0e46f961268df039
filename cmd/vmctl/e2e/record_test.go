//go:build e2e && record

package e2e

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

const readme = "../../../README.md"

// TestRecord plays the README's session in a real terminal and writes what it showed
// into the README. It is no test: go tool task record runs it.
func TestRecord(t *testing.T) {
	testenv.Tool(t, "tmux")
	p := tester(t)
	pr := p.project(t)
	r := record(t, pr)
	r.type_("cat domain/tiny.yaml | grep -v '^#'")
	r.type_("vmctl up tiny")
	r.keys("vmctl console tiny", "Enter")
	r.until(`tiny login:\s*$`)
	r.keys("tarn", "Enter")
	r.until(`tarn@tiny:~\$\s*$`)
	r.keys("df -h /", "Enter")
	r.until(`vda2.*\n.*tarn@tiny:~\$\s*$`)
	r.keys("C-]")
	r.prompt()
	r.type_("sed -i 's/disk: 1GiB/disk: 2GiB/' domain/tiny.yaml")
	r.type_("vmctl plan tiny")
	r.type_("vmctl up tiny")
	r.type_("vmctl list")
	r.type_("vmctl down tiny")
	replace(t, r.screen())
}

// recording is a person's shell inside tmux, which draws what they see.
type recording struct {
	t   *testing.T
	cmd func(args ...string) *exec.Cmd
	// prompts is how many prompts were waited for.
	prompts int
}

func record(t *testing.T, pr *project) *recording {
	t.Helper()
	r := &recording{t: t, cmd: func(args ...string) *exec.Cmd {
		cmd := pr.p.command(t, pr.dir, "tmux", append([]string{"-L", "record", "-f", "/dev/null"}, args...)...)
		cmd.Env = append(cmd.Env, "LANG=C.UTF-8", "TERM=xterm-256color")
		return cmd
	}}
	r.tmux("new-session", "-d", "-x", "96", "-y", "100",
		"PS1='$ ' PROMPT_COMMAND='tmux -L record wait-for -S prompt-$((++prompts))' bash --norc --noprofile")
	t.Cleanup(func() { _ = r.cmd("kill-server").Run() }) // the session is over
	r.prompt()
	return r
}

func (r *recording) tmux(args ...string) string {
	r.t.Helper()
	out, err := r.cmd(args...).CombinedOutput()
	require.NoError(r.t, err, "%v\n%s", args, out)
	return string(out)
}

// prompt waits for the shell's next prompt. Each signals under a name of its own,
// because tmux remembers a signal that nobody waited for.
func (r *recording) prompt() {
	r.prompts++
	r.tmux("wait-for", fmt.Sprintf("prompt-%d", r.prompts))
	r.until(`(?:^|\n)\$\s*$`) // the signal comes right before the prompt is drawn
}

func (r *recording) keys(keys ...string) { r.tmux(append([]string{"send-keys"}, keys...)...) }

// type_ types a command and waits until it has ended.
func (r *recording) type_(command string) {
	r.keys(command, "Enter")
	r.prompt()
}

func (r *recording) screen() string { return r.tmux("capture-pane", "-p", "-S", "-") }

// until waits until the screen ends in something.
func (r *recording) until(pattern string) {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	require.Eventually(r.t, func() bool { return re.MatchString(strings.TrimRight(r.screen(), "\n")) }, patience, 100*time.Millisecond, r.screen)
}

// replace writes the session into the README, with the usual store's name for the
// private one.
func replace(t *testing.T, screen string) {
	t.Helper()
	screen = regexp.MustCompile(`/var/tmp/vmctl-test-\d+/store`).ReplaceAllString(screen, "/nix/store")
	screen = strings.TrimSuffix(strings.TrimSpace(screen), "$")
	var block strings.Builder
	for line := range strings.Lines(strings.TrimSpace(screen) + "\n") {
		block.WriteString(strings.TrimRight("    "+strings.TrimRight(line, "\n"), " ") + "\n")
	}
	testenv.Section(t, readme, "session", block.String())
}

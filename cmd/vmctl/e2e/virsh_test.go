//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// virshes are the virsh that wait for the next question, by connection: a look at the host asks
// several, and most of what one takes is its start.
type virshes map[string]*virshell

// virshell is a virsh that reads commands.
type virshell struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	question int
}

// ask is virsh for what is looked at often.
func (p *person) ask(t *testing.T, command string) string {
	t.Helper()
	if p.name != "root" {
		return p.virsh(t, command) // a connection that stays would keep their daemon from ending
	}
	if p.asked[p.uri] == nil {
		p.asked[p.uri] = newVirshell(t, p.commandIn(context.Background(), "/", "stdbuf", "-oL", "virsh", "-q", "-c", p.uri))
	}
	answer, err := p.asked[p.uri].ask(command)
	if err != nil || strings.Contains("\n"+answer, "\nerror:") {
		// Perhaps its libvirtd is gone and another one there.
		p.asked[p.uri].end()
		delete(p.asked, p.uri)
		return p.virsh(t, command)
	}
	return answer
}

func newVirshell(t *testing.T, cmd *exec.Cmd) *virshell {
	t.Helper()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout // in one order
	require.NoError(t, cmd.Start())
	return &virshell{cmd: cmd, in: in, out: bufio.NewReader(out)}
}

// ask sends a command and reads until virsh shows that it has read the next one.
func (v *virshell) ask(command string) (string, error) {
	v.question++
	next := fmt.Sprintf("echo question %d", v.question)
	if _, err := fmt.Fprintf(v.in, "%s\n%s\n", command, next); err != nil {
		return "", err
	}
	var answer strings.Builder
	for {
		line, err := v.out.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case strings.HasSuffix(line, "virsh # "+next+"\n"):
			return strings.TrimSpace(answer.String()), nil
		case strings.HasSuffix(line, "virsh # "+command+"\n"):
		default:
			answer.WriteString(line)
		}
	}
}

func (all virshes) end() {
	for _, v := range all {
		v.end()
	}
}

func (v *virshell) end() {
	_ = v.in.Close()
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait() // it was killed
}

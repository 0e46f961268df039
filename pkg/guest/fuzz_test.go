package guest

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
)

// liar is an agent that answers what it was told to, whatever it is asked, and falls
// silent at the end.
type liar struct {
	answers [][]byte
	asked   int
}

func (l *liar) AgentCommand(context.Context, string, string, time.Duration) (string, error) {
	if l.asked++; l.asked > len(l.answers) {
		return "", engine.ErrNoAgent
	}
	answer := l.answers[l.asked-1]
	if reason, refuses := bytes.CutPrefix(answer, []byte("!")); refuses {
		return "", &engine.AgentError{Command: "guest-exec", Reason: string(reason)}
	}
	return string(answer), nil
}

// An agent that hands over more than was asked for is not believed.
func TestMoreThanWasAskedFor(t *testing.T) {
	for most, ok := range map[int]bool{3: true, 2: false} {
		agent := NewAgent(&engine.Host{Agents: &liar{answers: [][]byte{[]byte(`{"return":{"buf-b64":"AAAA"}}`)}}}, "example")
		_, err := (&file{agent, 1}).read(t.Context(), most)
		assert.Equal(t, ok, err == nil, "%v", err)
	}
}

// endless is a port that always has more, which a guest sends until nobody listens.
type endless struct{ sent int }

func (e *endless) Read(p []byte) (int, error) {
	if e.sent > 4*maxReports {
		return 0, io.ErrUnexpectedEOF // so that this test ends
	}
	for i := range p {
		p[i] = "{\n"[(e.sent+i)%2]
	}
	e.sent += len(p)
	return len(p), nil
}

// A guest that says too much is heard no more.
func TestAnEndlessPortIsHeardNoMore(t *testing.T) {
	port := &endless{}
	require.ErrorIs(t, readReports(port, func(Report) { assert.Fail(t, "that is no report") }), io.EOF)
	assert.LessOrEqual(t, port.sent, maxReports)
}

// FuzzAgent lets an agent lie through everything that is asked of agents.
func FuzzAgent(f *testing.F) {
	for _, lines := range [][]string{
		{`{"return":{}}`},
		{`{"return":{"pid":1}}`, `{"return":{"exited":true,"exitcode":-1,"out-data":"G10wO3gH","err-data":"bw=="}}`},
		{`{"return":{"pid":1}}`, `{"return":{"exited":true,"signal":300}}`},
		{`{"return":{"pid":-9}}`, `{"return":{"exited":true,"exitcode":256}}`, `{"return":7}`},
		{`{"return":7}`, `{"return":{"buf-b64":"AAAA","count":99999999}}`, `{"return":{"buf-b64":""}}`, `{"return":{}}`},
		{`{"return":7}`, `{"return":{"count":-1}}`}, {`{"return":7}`, `{"return":{"count":9223372036854775807}}`},
		{"!Command guest-exec has been disabled", `{"return":3}`, `{"return":{"buf-b64":"c3NoLWVkMjU1MTkgQUFBQQ=="}}`, `{"return":{}}`},
		{"!Failed to execute child process", `{"return":{"pid":1}}`, `{"return":{"exited":true,"out-truncated":true}}`},
		{"!\x1b]52;c;eA==\x07 No such file"}, {"null", "{", `{"return":null}`},
	} {
		f.Add([]byte(strings.Join(lines, "\n")))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		answers := bytes.Split(said, []byte("\n"))
		if len(answers) > 16 {
			return
		}
		agent := func() *Agent { return NewAgent(&engine.Host{Agents: &liar{answers: answers}}, "example") }
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var out, diag bytes.Buffer
		status, err := agent().Run(ctx, Command{Argv: []string{"true"}, Stdout: &out, Stderr: &diag})
		if err == nil {
			assert.True(t, status >= 0 && status < 256, "%d", status)
		} else {
			assert.NoError(t, ctx.Err())
			assert.Less(t, len(err.Error()), 3*len(said)+1000, "what is no UTF-8 becomes three bytes each")
		}
		keys, _ := agent().HostKeys(ctx)
		assert.LessOrEqual(t, len(keys), maxKeys)
		for _, key := range keys {
			assert.Negative(t, strings.IndexFunc(string(key), unicode.IsControl), "%q", key)
		}
		_ = agent().readFile(ctx, "/etc/passwd", io.Discard)
		_ = agent().writeFile(ctx, "/tmp/x", strings.NewReader("x"))
	})
}

// FuzzReports reads a port on which a guest says whatever it likes, in pieces of any size.
func FuzzReports(f *testing.F) {
	f.Add([]byte("x\n{\"vmctl\":1,\"state\":\"booting\"}\n{\"vmctl\":1,\"state\":\"ready\",\"addresses\":[\"192.0.2.7\"]}\n"), uint8(3))
	f.Add([]byte("{\"vmctl\":1,\"state\":\"ready\",\"addresses\":[\"::ffff:127.0.0.1\",\"255.255.255.255\",\"::ffff:0.0.0.0\",\"64:ff9b::7f00:1\"]}\n"), uint8(0))
	f.Fuzz(func(t *testing.T, said []byte, step uint8) {
		heard := 0
		err := readReports(&slow{said, int(step) + 1}, func(r Report) {
			heard++
			assert.LessOrEqual(t, len(r.Addresses), maxAddresses)
			for _, s := range r.Addresses {
				assert.NotRegexp(t, loopback, s)
			}
		})
		require.ErrorIs(t, err, io.EOF)
		assert.LessOrEqual(t, heard, bytes.Count(said, []byte("\n")), "half a line is no report")
	})
}

var loopback = regexp.MustCompile(`^(::ffff:)?(127\.|0\.0\.0\.0|255\.255\.255\.255|22[4-9]\.|23[0-9]\.)|^::1$|^::$`)

// slow gives a few bytes at a time.
type slow struct {
	left []byte
	step int
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.left)
	s.left = s.left[n:]
	return n, nil
}

// FuzzConsole: what is told of a console is a few printable lines, whatever it printed.
func FuzzConsole(f *testing.F) {
	f.Add([]byte("SeaBIOS\r\n[    0.000000] Linux version 6\r\nhost login: "), uint16(7))
	f.Add([]byte("\x1b]52;c;eA==\x07\x9b2J\x1bP\x00\u202eKernel panic - not syncing: \x1b[2J\xc2"), uint16(1))
	f.Fuzz(func(t *testing.T, said []byte, step uint16) {
		console := tail{pattern: regexp.MustCompile(`(?m)^((a*)*b)*$|login`)}
		n, err := io.CopyBuffer(struct{ io.Writer }{&console}, &slow{said, int(step) + 1}, make([]byte, 64<<10))
		require.NoError(t, err)
		assert.Equal(t, int64(len(said)), n)
		assert.LessOrEqual(t, cap(console.text), 2*tailBytes)
		lines := console.lines()
		assert.LessOrEqual(t, len(lines), tailLines)
		text := console.said()
		for _, shown := range append(lines, sentence(text), console.last()) {
			assert.True(t, utf8.ValidString(shown))
			assert.Negative(t, strings.IndexFunc(shown, func(r rune) bool {
				return r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
			}), "%q", shown)
		}
		secureBootRefusal(text)
	})
}

var _ engine.Agents = (*liar)(nil)

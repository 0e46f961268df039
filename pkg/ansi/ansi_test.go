package ansi

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func filtered(t testing.TB, f func(io.Writer) *Filter, in string, step int) string {
	var out bytes.Buffer
	w := f(&out)
	for rest := in; rest != ""; {
		n := min(step, len(rest))
		done, err := w.Write([]byte(rest[:n]))
		require.NoError(t, err)
		require.Equal(t, n, done)
		rest = rest[n:]
	}
	require.NoError(t, w.Flush())
	return out.String()
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"empty":               {"", ""},
		"text":                {"grüße 日本\n\tok", "grüße 日本\n\tok"},
		"colour":              {"\x1b[1;31mred\x1b[0m", "red"},
		"C1 CSI as a rune":    {"\u009b31mred", "red"},
		"C1 CSI as a byte":    {"\x9b31mred", "red"},
		"title":               {"\x1b]0;owned\x07text", "text"},
		"clipboard":           {"\x1b]52;c;cm0gLXJm\x1b\\text", "text"},
		"C1 OSC":              {"\u009d0;owned\u009ctext", "text"},
		"DCS":                 {"\x1bP$qm\x1b\\text", "text"},
		"unfinished string":   {"\x1b]0;hidden\nseen", "\nseen"},
		"unfinished sequence": {"a\x1b[31", "a"},
		"NUL and BEL":         {"a\x00b\x07c\x7fd", "abcd"},
		"carriage return":     {"a\r\nb\rc", "a\nbc"},
		"bidi":                {"a\u202eb\u2066c\u200fd", "abcd"},
		"not UTF-8":           {"a\xffb\xc3", "a\ufffdb\ufffd"},
		"C1 byte":             {"a\x85b", "ab"},
		"UTF-8 with C1 bytes": {"ě\u00a0", "ě\u00a0"},
		"charset":             {"\x1b(0lqk\x1b(B", "lqk"},
		"abandoned":           {"\x1b[31\x18ok", "ok"},
		"text inside":         {"\x1b[3é1m", "é1m"},
		"escape in sequence":  {"\x1b[3\x1b[1mok", "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, Plain(c.in))
		})
	}
}

func TestWriterLines(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\r\nb\r\n":          "a\nb\n",
		"a\r\r\nb":            "a\nb",
		"a\n\rb":              "a\nb",
		"10%\r20%\rdone\n":    "10%\n20%\ndone\n",
		"\r\x1b[Klogin: ":     "login: ",
		"a\r\x1b[0m\nb":       "a\nb",
		"tail\r":              "tail",
		"\x1b]0;" + "x\r\ny":  "\ny",
		"\x1bPq\x1b[1mbold\n": "bold\n",
	} {
		assert.Equal(t, want, filtered(t, NewWriter, in, 1), "%q", in)
	}
}

// Sequences by what may pass: "r" replay, "l" live.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, seq, passes string }{
		{"colours", "\x1b[1;38:2:1:2:3m", "rl"},
		{"cursor position", "\x1b[3;4H", "rl"},
		{"erase line", "\x1b[K", "rl"},
		{"erase screen", "\x1b[2J", "rl"},
		{"erase scrollback", "\x1b[3J", "l"},
		{"erase scrollback, hidden", "\x1b[2;003J", "l"},
		{"save cursor", "\x1b7", "rl"},
		{"line drawing", "\x1b(0", "rl"},
		{"hyperlink", "\x1b]8;;http://localhost/\x1b\\", "rl"},
		{"where is the cursor", "\x1b[6n", "l"},
		{"where is the cursor, DEC", "\x1b[?6n", "l"},
		{"what are you", "\x1b[c", "l"},
		{"what are you, secondary", "\x1b[>c", "l"},
		{"version", "\x1b[>q", "l"},
		{"is a mode set", "\x1b[?25$p", "l"},
		{"VT52 identity", "\x1bZ", ""},
		{"answerback", "\x05", ""},
		{"NUL", "\x00", ""},
		{"bell", "\a", "l"},
		{"other character set", "\x0e", "l"},
		{"mouse", "\x1b[?1000h", "l"},
		{"bracketed paste", "\x1b[?2004h", "l"},
		{"focus", "\x1b[?1004h", "l"},
		{"alternate screen", "\x1b[?1049h", "l"},
		{"hidden cursor", "\x1b[?25l", "l"},
		{"scroll region", "\x1b[3;9r", "l"},
		{"keypad", "\x1b=", "l"},
		{"full reset", "\x1bc", "l"},
		{"background?", "\x1b]11;?\x1b\\", "l"},
		{"palette entry?", "\x1b]4;1;?\x1b\\", "l"},
		{"background!", "\x1b]11;#000000\x1b\\", ""},
		{"clipboard", "\x1b]52;c;aGk=\x1b\\", ""},
		{"clipboard?", "\x1b]52;c;?\a", ""},
		{"title", "\x1b]0;x\a", ""},
		{"title of a screen", "\x1bkx\x1b\\", ""},
		{"title 2", "\x1b]2;x\x1b\\", ""},
		{"title?", "\x1b[21t", ""},
		{"window size?", "\x1b[18t", ""},
		{"window", "\x1b[3;0;0t", ""},
		{"font?", "\x1b]50;?\a", ""},
		{"notification", "\x1b]9;x\a", ""},
		{"shell's directory", "\x1b]7;file:///\a", ""},
		{"DECRQSS", "\x1bP$qm\x1b\\", ""},
		{"XTGETTCAP", "\x1bP+q544e\x1b\\", ""},
		{"through tmux", "\x1bPtmux;\x1b\x1b]52;c;aGk=\a\x1b\\", ""},
		{"graphics from a file", "\x1b_Gt=f;L2V0Yw==\x1b\\", ""},
		{"privacy", "\x1b^x\x1b\\", ""},
		{"start of string", "\x1bXx\x1b\\", ""},
		{"checksum", "\x1b[1;1;1;1;9;9*y", ""},
		{"printer", "\x1b[5i", ""},
		{"locked keyboard", "\x1b[2h", ""},
		{"VT52", "\x1b[?2l", ""},
		{"leave UTF-8", "\x1b%@", ""},
		{"8-bit answers", "\x1b G", ""},
		{"other keys", "\x1b[>4;2m", ""},
		{"kitty's keys", "\x1b[>1u", ""},
		{"key records", "\x1b[?9001h", ""},
		{"malformed", "\x1b[1?2h", ""},
		{"endless parameters", "\x1b[" + strings.Repeat("1;", 500) + "m", ""},
		{"endless string", "\x1b]8;;" + strings.Repeat("x", 1<<14) + "\a", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for step := range 3 {
				assert.Equal(t, "<>", filtered(t, NewWriter, "<"+c.seq+">", step+1), "text")
				for letter, f := range map[string]func(io.Writer) *Filter{"r": NewReplay, "l": NewLive} {
					want := "<>"
					if strings.Contains(c.passes, letter) {
						want = "<" + c.seq + ">"
					}
					assert.Equal(t, want, filtered(t, f, "<"+c.seq+">", step+1), letter)
				}
			}
		})
	}
}

func TestC1IsPassedAsSevenBits(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "\x1b[31mred", filtered(t, NewLive, "\u009b31mred", 1))
	assert.Empty(t, filtered(t, NewLive, "\u009d52;c;aGk=\u009c", 1))
	assert.Equal(t, "\ufffd31mred\xff", filtered(t, NewLive, "\x9b31mred\xff", 1), "a UTF-8 terminal shows such bytes, an 8-bit one obeys them")
	assert.Equal(t, "a\nb", filtered(t, NewLive, "\x1b]0;a\u0085"+"\x1b\\a\nb", 1))
}

func TestGoLiveInTheMiddleOfASequence(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := NewReplay(&out)
	_, err := f.Write([]byte("old\x1b[6n\x1b[3"))
	require.NoError(t, err)
	f.GoLive()
	_, err = f.Write([]byte("1mnew\x1b[6n"))
	require.NoError(t, err)
	assert.Equal(t, "old\x1b[31mnew\x1b[6n", out.String())
	w := NewWriter(&out)
	w.GoLive()
	assert.Equal(t, text, w.policy)
}

func TestLeave(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                   Reset,
		"\x1b[?1049h":                        "\x1b[?1049l" + Reset,
		"\x1b[?1049h\x1b[?1049l":             Reset,
		"\x1b[?1;1047h\x1b[2;5r\x1b[?6h":     "\x1b[?6l\x1b7\x1b[r\x1b8\x1b[?1049l" + Reset,
		"\x1b[1;2H\x1b[?r\x1b[?25l\x1b[?6h0": "\x1b[?6l" + Reset,
	} {
		f := NewLive(io.Discard)
		_, err := f.Write([]byte(in))
		require.NoError(t, err)
		assert.Equal(t, want, f.Leave(), "%q", in)
	}
}

type failing struct{ err error }

func (w failing) Write([]byte) (int, error) { return 0, w.err }

func TestWriteErrorsAreReported(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	_, err := NewWriter(failing{broken}).Write([]byte("x"))
	require.ErrorIs(t, err, broken)
}

func TestEndlessStringKeepsNothing(t *testing.T) {
	t.Parallel()
	f := NewLive(io.Discard)
	chunk := bytes.Repeat([]byte("x"), 1<<16)
	for _, begin := range []string{"\x1b]8;;", "\x1bP", "\x1b["} {
		_, err := f.Write([]byte(begin))
		require.NoError(t, err)
		for range 64 {
			_, err := f.Write(chunk)
			require.NoError(t, err)
		}
	}
	assert.LessOrEqual(t, cap(f.seq), 2*maxCommand)
	assert.LessOrEqual(t, cap(f.buf), 4*(32<<10))
}

func seeds(f *testing.F) {
	for _, s := range []string{
		"plain\r\ntext", "\x1b]0;t\a", "\x1b[1;31mx\x1b[0m", "\u009b6n", "\x9b6n\x9d52;c;?\x9c", "\xe2\x80", "\xe2\x1b\x80\xae",
		"\x1bP$qm\x1b\\", "\x1b\x1b[[c", "\x1b[\x05c", "\x1b(0", "a\r\r\nb\rc", "\x1b]8;;\u202e\x1b\\",
	} {
		f.Add(s, uint8(3))
	}
}

func FuzzPlain(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string, _ uint8) {
		got := Plain(s)
		require.True(t, utf8.ValidString(got))
		for _, r := range got {
			bad := r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f || isBidi(r)
			require.Falsef(t, bad, "%q in %q", r, got)
		}
		require.Equal(t, got, Plain(got))
	})
}

func FuzzSplit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string, step uint8) {
		for _, filter := range []func(io.Writer) *Filter{NewWriter, NewReplay, NewLive} {
			whole := filtered(t, filter, s, len(s)+1)
			require.Equal(t, whole, filtered(t, filter, s, int(step)+1))
			require.Equal(t, whole, filtered(t, filter, s, 1))
		}
	})
}

// Whatever passed once passes again unchanged: no removal puts a new sequence together.
func FuzzFilterOfFiltered(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string, _ uint8) {
		for _, filter := range []func(io.Writer) *Filter{NewWriter, NewReplay, NewLive} {
			once := filtered(t, filter, s, len(s)+1)
			require.Equal(t, once, filtered(t, filter, once, len(once)+1))
		}
	})
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                      "''",
		"/srv/web-1_a.b":        "/srv/web-1_a.b",
		"/srv/my project":       "'/srv/my project'",
		"/x; curl evil | sh":    "'/x; curl evil | sh'",
		"$(id)`id`":             "'$(id)`id`'",
		"it's":                  `'it'\''s'`,
		"a\nb\x1b]0;t\x07c":     "'a bc'",
		"~/x":                   "'~/x'",
		"qemu+ssh://h/s?a=1&id": "'qemu+ssh://h/s?a=1&id'",
	} {
		assert.Equal(t, want, ShellWord(in), "%q", in)
	}
}

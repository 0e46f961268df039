package ui

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestCells(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "abc": 3, "é": 1, "e\u0301": 1, "東京": 4, "한국": 4, "\u1112\u1161\u11ab": 2,
		"✓": 1, "🚀": 2, "a\u200bb": 2, "ｆ": 2, "❤\ufe0f": 2,
	} {
		assert.Equal(t, want, cells(text), "%q", text)
	}
}

func TestCut(t *testing.T) {
	tests := []struct {
		text  string
		width int
		want  string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdef", 5, "abcd…"}, {"abcdef", 1, "…"}, {"abcdef", 0, ""}, {"abcdef", -3, ""},
		{"東京都", 6, "東京都"}, {"東京都", 5, "東京…"}, {"東京都", 4, "東…"}, {"東京都", 1, "…"},
		{"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	}
	for _, test := range tests {
		assert.Equal(t, test.want, cut(test.text, test.width, "…"), "%q in %d", test.text, test.width)
	}
	assert.Equal(t, "ab..", cut("abcdef", 4, ".."))
	assert.Equal(t, "a", cut("abcdef", 1, ".."))
}

func TestWrap(t *testing.T) {
	tests := []struct {
		text   string
		width  int
		indent string
		want   []string
	}{
		{"one two three", 0, "  ", []string{"one two three"}},
		{"one two three", 13, "  ", []string{"one two three"}},
		{"one two three", 9, "  ", []string{"one two", "  three"}},
		{"a /very/long/path b", 8, "  ", []string{"a", "  /very/", "  long/p", "  ath b"}},
		{"東京 都東京", 5, "", []string{"東京", "都東", "京"}},
		{"abc", 1, "    ", []string{"a", "b", "c"}},
	}
	for _, test := range tests {
		assert.Equal(t, test.want, wrap(test.text, test.width, test.indent), "%q in %d", test.text, test.width)
	}
}

func FuzzCut(f *testing.F) {
	f.Add("plain", 3)
	f.Add("東京 e\u0301 ❤\ufe0f 🚀\u200d🚀", 5)
	f.Add("\x1b[31mred\x1b[0m\xff\xc3", 2)
	f.Fuzz(func(t *testing.T, text string, width int) {
		text = oneLine(text)
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\t\x1b\x00\x7f") {
			t.Fatalf("not clean: %q", text)
		}
		width %= 300
		for _, more := range []string{"…", "..", ""} {
			got := cut(text, width, more)
			if cells(got) > max(width, 0) {
				t.Fatalf("%q takes %d cells of %d", got, cells(got), width)
			}
			if !strings.HasPrefix(text, strings.TrimSuffix(got, more)) {
				t.Fatalf("%q is no beginning of %q", got, text)
			}
			if cells(text) <= width && got != text {
				t.Fatalf("%q was cut for no reason to %q", text, got)
			}
		}
		for _, indent := range []string{"", "  "} {
			lines := wrap(text, width, indent)
			for _, line := range lines {
				if width > 2 && cells(line) > width {
					t.Fatalf("%q takes %d cells of %d", line, cells(line), width)
				}
			}
			squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
			if squeeze(strings.Join(lines, "")) != squeeze(text) {
				t.Fatalf("wrapping %q lost something: %q", text, lines)
			}
		}
	})
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0.0s", 440 * time.Millisecond: "0.4s", 999 * time.Millisecond: "0.9s",
		time.Second: "1s", 12900 * time.Millisecond: "12s", 3*time.Minute + 5*time.Second: "3m05s",
		time.Hour + 2*time.Minute + 59*time.Second: "1h02m", 51 * time.Hour: "2d03h",
	} {
		assert.Equal(t, want, Duration(d))
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "0B", 0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 99 << 10: "99KiB", 150<<20 + 1: "150MiB",
		1<<20 - 1: "1.0MiB", 1<<30 - 1: "1.0GiB", 10 << 30: "10GiB", 9_999_999_999: "9.3GiB", 5 << 50: "5120TiB", 1<<63 - 1: "8388608TiB",
	} {
		assert.Equal(t, want, Bytes(n), "%d", n)
	}
	assert.Equal(t, "35MiB/s", Rate(35<<20))
}

func TestETA(t *testing.T) {
	assert.Equal(t, "ETA 10s", ETA(100, 10.5))
	assert.Equal(t, "ETA 1s", ETA(1, 1e9))
	assert.Empty(t, ETA(100, 0))
	assert.Empty(t, ETA(0, 100))
	assert.Empty(t, ETA(1<<62, 1))
}

func TestSpeed(t *testing.T) {
	var s speed
	start := time.Unix(0, 0)
	for i := range 100 {
		s.add(start.Add(time.Duration(i)*100*time.Millisecond), int64(i)*10)
	}
	assert.InDelta(t, 100, s.perSecond(), 1)
	assert.LessOrEqual(t, len(s.samples), 40, "old samples go")
	s.add(start.Add(time.Minute), 5)
	assert.Zero(t, s.perSecond(), "begun anew")
}

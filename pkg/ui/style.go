package ui

// style colours text by SGR sequences, or leaves it alone.
type style struct{ on bool }

// The colours in use: the eight that every theme defines, never a background.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	alarm  = "1;31"
)

func (s style) paint(code, text string) string {
	if !s.on || code == plain || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// stateColor is the colour of a machine's state or a check's result.
func stateColor(word string) string {
	switch word {
	case "running", "ready", "ok", "yes":
		return green
	case "paused", "in shutdown", "starting", "warning":
		return yellow
	case "crashed", "failed", "error", "no":
		return red
	case "shut off", "not created", "-":
		return dim
	}
	return plain
}

// glyphs are the signs in front of lines.
type glyphs struct {
	spinner                     []string
	done, failed, skipped, note string
	more, full, empty           string
}

func (s *Streams) glyphs() glyphs {
	if !s.UTF8 {
		return glyphs{
			spinner: []string{"|", "/", "-", "\\"},
			done:    "+", failed: "x", skipped: "-", note: "!",
			more: "..", full: "#", empty: ".",
		}
	}
	return glyphs{
		spinner: []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"},
		done:    "✓", failed: "✗", skipped: "·", note: "!",
		more: "…", full: "█", empty: "░",
	}
}

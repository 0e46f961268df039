package cli

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestCheckFitsTheTerminal(t *testing.T) {
	k := check{Name: "kvm", Status: statusWarn, Detail: "guests run under software emulation, which is slow", Hint: "switch virtualisation on in the machine's firmware"}
	assert.Equal(t, `warn  kvm          guests run under software emulation, which is slow
      hint: switch virtualisation on in the machine's firmware
`, k.text(false, 0))
	narrow := k.text(false, 40)
	assert.Equal(t, `warn  kvm          guests run under
                   software emulation,
                   which is slow
      hint: switch virtualisation on in
      the machine's firmware
`, narrow)
	for line := range strings.Lines(narrow) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 41)
	}
}

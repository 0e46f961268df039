package push

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// What is compressed depends on what takes longer, the line or the processor.
func TestPace(t *testing.T) {
	const piece = 512 << 10
	at := func(mbps float64) time.Duration { return time.Duration(piece / (mbps * 1e6) * float64(time.Second)) }
	for name, tt := range map[string]struct {
		line, work float64 // MB/s
		hurries    bool
	}{
		"100 Mbit/s":                  {12, 300, false},
		"1 Gbit/s":                    {115, 300, false},
		"a line like the processor":   {300, 300, true},
		"10 Gbit/s":                   {600, 300, true},
		"a processor with other work": {50, 40, true},
	} {
		t.Run(name, func(t *testing.T) {
			var p pace
			assert.False(t, p.hurries())
			for range soaked / piece {
				assert.False(t, p.hurries(), "what is soaked up tells nothing")
				p.compressed(piece/32, at(tt.work)/32)
				p.wrote(piece, time.Microsecond) // into some buffer
			}
			for range 50 {
				p.compressed(piece/32, at(tt.work)/32)
				p.wrote(piece, at(tt.line))
			}
			assert.Equal(t, tt.hurries, p.hurries())
		})
	}
}

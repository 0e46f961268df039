package cli

import (
	"fmt"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/builder"
	"vmctl/pkg/guest"
	"vmctl/pkg/ui"
)

// systemResult is what apply and rollback tell of one machine.
type systemResult struct {
	Name string `json:"name"`
	Host string `json:"host"`
	// Changed says that there was something to do.
	Changed bool       `json:"changed"`
	Mode    guest.Mode `json:"mode"`
	// System is the store path of what was asked for, Previous of what ran before.
	System     string `json:"system"`
	Previous   string `json:"previous"`
	Generation int    `json:"generation"`
	// Copied is what was copied to the guest.
	Copied builder.Copied `json:"copied"`
	// Differences are nix's own words for what changed.
	Differences []string `json:"differences"`
	// Waiting are the parts that take effect at the next boot.
	Waiting     []string `json:"waiting"`
	Rebooted    bool     `json:"rebooted"`
	FailedUnits []string `json:"failedUnits"`
	// Ready says how the guest showed that it is ready.
	Ready string `json:"ready"`
}

// systemJSON is the example of a document, with the last key of the machine.
func systemJSON(last string) string {
	return `{
  "machines": [
    {
      "name": "example",
      "host": "qemu:///session",
      "changed": true,
      "mode": "switch",
      "system": "/nix/store/3kq0w7z2m1s9v5c8a4b6d7f9g0h2i3j4-nixos-system-example-25.11",
      "previous": "/nix/store/8d4fjrwy8yn6vqkq6ikdzzhqjm8w0hjp-nixos-system-example-25.11",
      "generation": 2,
      "copied": { "paths": 12, "bytes": 18350080 },
      "differences": ["nginx: 1.26.1 → 1.26.2, +12.3 KiB"],
      "waiting": ["kernel"],
      "rebooted": false,
      "failedUnits": [],
      "ready": "the guest agent answers",
      ` + last + `
    }
  ]
}`
}

// shownDifferences is how many lines a person is shown; JSON has all.
const shownDifferences = 20

// saySystem tells a person how a change of the system ended.
func (c *call) saySystem(r *systemResult, took time.Duration) {
	c.progress.Pause()
	defer c.progress.Resume()
	var b strings.Builder
	switch {
	case !r.Changed && r.Mode == guest.ModeBoot:
		fmt.Fprintf(&b, "%s boots that system next already", r.Name)
	case !r.Changed:
		fmt.Fprintf(&b, "%s runs that system already: generation %d", r.Name, r.Generation)
	case r.Mode == guest.ModeBoot && !r.Rebooted:
		fmt.Fprintf(&b, "%s boots generation %d next; vmctl restart %[1]s does it now", r.Name, r.Generation)
	case r.Mode == guest.ModeTest:
		fmt.Fprintf(&b, "%s runs the system after %s, until it is rebooted", r.Name, ui.Duration(took))
	default:
		fmt.Fprintf(&b, "%s runs generation %d after %s", r.Name, r.Generation, ui.Duration(took))
	}
	for i, line := range r.Differences {
		if i == shownDifferences {
			fmt.Fprintf(&b, "\n  and %s more, which -o json shows", counted(len(r.Differences)-i, "change"))
			break
		}
		b.WriteString("\n  " + line)
	}
	if len(r.Waiting) > 0 && r.Mode != guest.ModeBoot {
		fmt.Fprintf(&b, "\n  waits for the next boot: %s; vmctl restart %s does it now", ansi.Line(join(r.Waiting, ", ")), r.Name)
	}
	if len(r.FailedUnits) > 0 {
		fmt.Fprintf(&b, "\n  units that have failed: %s", join(r.FailedUnits, ", "))
	}
	c.say(b.String())
}

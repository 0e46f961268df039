// Package bench measures vmctl against the tools that people use without it, in the
// same run and on the same private host. It is run by `go tool task bench` only: no
// test of the project depends on a time.
package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// run is one finished command.
type run struct {
	began time.Time
	wall  time.Duration
	// rss is the peak memory of the command's largest process, in bytes.
	rss int64
	// said is what it wrote on its standard error.
	said string
}

// timed runs a command as a whole process.
func timed(cmd *exec.Cmd) (run, error) {
	var said strings.Builder
	cmd.Stderr = &said
	small()
	begin := time.Now()
	err := cmd.Run()
	r := run{began: begin, wall: time.Since(begin), said: said.String()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.rss = usage.Maxrss << 10
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return r, nil
}

// small makes this process's peak memory what it needs now. A process begins in that of the
// one that starts it, and its own peak, as the kernel tells it, is never less (mm_struct's
// hiwater_rss, which exec takes along; 5 in clear_refs sets it back: proc(5)).
func small() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // without it only that figure is wrong
}

// spread is a sample's middle and ends.
type spread[T cmp.Ordered] struct {
	Min    T `json:"min"`
	Median T `json:"median"`
	Max    T `json:"max"`
}

func spreadOf[T cmp.Ordered](sample []T) spread[T] {
	s := slices.Sorted(slices.Values(sample))
	return spread[T]{s[0], s[len(s)/2], s[len(s)-1]}
}

// row compares vmctl with a reference, round by round.
type row struct {
	What      string          `json:"what"`
	Vmctl     spread[float64] `json:"vmctl_ms"`
	Reference string          `json:"reference"`
	Other     spread[float64] `json:"reference_ms"`
	Ratio     spread[float64] `json:"ratio"`
	Target    string          `json:"target"`
	PeakMiB   float64         `json:"vmctl_peak_mib"`
	// OtherPeakMiB is that of the reference's largest process.
	OtherPeakMiB float64 `json:"reference_peak_mib"`
}

// compare pairs the rounds: a ratio within one round is honest where the machine's
// speed drifts between rounds.
func compare(what, reference, target string, vmctl, other []run) row {
	var ours, theirs, ratios []float64
	var peak, otherPeak int64
	for i := range vmctl {
		ours = append(ours, ms(vmctl[i].wall))
		theirs = append(theirs, ms(other[i].wall))
		ratios = append(ratios, ours[i]/theirs[i])
		peak, otherPeak = max(peak, vmctl[i].rss), max(otherPeak, other[i].rss)
	}
	return row{
		What: what, Vmctl: spreadOf(ours), Reference: reference, Other: spreadOf(theirs),
		Ratio: spreadOf(ratios), Target: target, PeakMiB: float64(peak) / (1 << 20), OtherPeakMiB: float64(otherPeak) / (1 << 20),
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// table writes the rows as Markdown.
func table(w io.Writer, rows []row) error {
	var b strings.Builder
	b.WriteString("| what | vmctl ms | reference | ms | ratio | target | vmctl peak MiB |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %.0f (%.0f–%.0f) | %s | %.0f (%.0f–%.0f) | **%.2f** (%.2f–%.2f) | %s | %.0f |\n",
			r.What, r.Vmctl.Median, r.Vmctl.Min, r.Vmctl.Max, r.Reference, r.Other.Median, r.Other.Min, r.Other.Max,
			r.Ratio.Median, r.Ratio.Min, r.Ratio.Max, r.Target, r.PeakMiB)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// amount compares what vmctl and a reference write.
type amount struct {
	What      string  `json:"what"`
	Vmctl     float64 `json:"vmctl_mib"`
	Reference string  `json:"reference"`
	Other     float64 `json:"reference_mib"`
	Target    string  `json:"target"`
}

// amountTable writes the amounts as Markdown.
func amountTable(w io.Writer, amounts []amount) error {
	var b strings.Builder
	b.WriteString("\n| what | vmctl MiB | reference | MiB | ratio | target |\n|---|---|---|---|---|---|\n")
	for _, a := range amounts {
		fmt.Fprintf(&b, "| %s | %.1f | %s | %.1f | **%.2f** | %s |\n", a.What, a.Vmctl, a.Reference, a.Other, a.Vmctl/a.Other, a.Target)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// machineReadable writes the rows and amounts as JSON.
func machineReadable(w io.Writer, rows []row, amounts []amount) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Rows    []row    `json:"rows"`
		Amounts []amount `json:"amounts"`
	}{rows, amounts})
}

package ui

import (
	"fmt"
	"time"
)

// Duration is a time span for people: "0.4s", "12s", "3m05s", "1h02m", "2d03h".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%.1fs", float64(d/(time.Second/10))/10)
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Bytes is a number of bytes for people, in the units of spec.Size but rounded,
// for numbers that move: "9.3GiB", "120MiB", "12B".
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", max(n, 0))
	}
	value := float64(n)
	suffixes := []string{"KiB", "MiB", "GiB", "TiB"}
	for i, suffix := range suffixes {
		value /= 1024
		switch last := i == len(suffixes)-1; {
		case value < 99.95 && value == float64(int64(value)):
			return fmt.Sprintf("%d%s", int64(value), suffix)
		case value < 99.95:
			return fmt.Sprintf("%.1f%s", value, suffix)
		case value < 1023.5 || last:
			return fmt.Sprintf("%.0f%s", value, suffix)
		}
	}
	return "" // not reached: the last suffix takes every value
}

// Rate is a speed in bytes a second: "35MiB/s".
func Rate(bytesPerSecond float64) string { return Bytes(int64(bytesPerSecond)) + "/s" }

// ETA is the time that is left at a speed: "ETA 12s", or empty when nobody can say.
func ETA(left int64, perSecond float64) string {
	const longest = 100 * 24 * time.Hour
	if left <= 0 || perSecond <= 0 {
		return ""
	}
	seconds := float64(left) / perSecond
	if seconds > longest.Seconds() {
		return ""
	}
	return "ETA " + Duration(time.Duration(seconds)*time.Second+time.Second)
}

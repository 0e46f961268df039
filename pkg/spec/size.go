package spec

import (
	"fmt"
	"math"
	"math/big"
	"strings"

	"vmctl/pkg/fault"
)

// Size is a number of bytes. GiB is 1024³ and GB is 1000³, everywhere.
type Size uint64

// The binary units.
const (
	Byte Size = 1
	KiB       = 1024 * Byte
	MiB       = 1024 * KiB
	GiB       = 1024 * MiB
	TiB       = 1024 * GiB
)

// More characters than any size needs.
const sizeLength = 40

type unit struct {
	suffix string
	size   uint64
}

// Suffixes, longest first so that "GiB" is not read as "B".
func units() []unit {
	return []unit{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3},
		{"B", 1},
	}
}

func binaryUnits() []unit { return units()[:4] }

// ParseSize reads "1536MiB", "1.5 GiB" or "10GB". A unit is required, because
// tools disagree on what a bare number would mean. Its errors carry a hint.
func ParseSize(s string) (Size, error) {
	text := strings.TrimSpace(s)
	end := len(text) - len(strings.TrimLeft(text, "0123456789."))
	number, suffix := text[:end], strings.TrimSpace(text[end:])
	value, ok := new(big.Rat).SetString(number)
	if !ok || len(s) > sizeLength || number[0] == '.' || strings.HasSuffix(number, ".") {
		return 0, fault.New(fault.Usage, "%s is not a size", quote(s)).
			WithHint("write a number and a unit, such as 512MiB or 1.5GiB")
	}
	if suffix == "" {
		return 0, fault.New(fault.Usage, "%s has no unit", quote(s)).WithHint("write it as %sMiB or %sGiB", number, number)
	}
	for _, u := range units() {
		if suffix != u.suffix {
			continue
		}
		value.Mul(value, new(big.Rat).SetUint64(u.size))
		if !value.IsInt() {
			return 0, fault.New(fault.Usage, "%s is not a whole number of bytes", quote(s))
		}
		if value.Num().Cmp(big.NewInt(math.MaxInt64)) > 0 {
			return 0, fault.New(fault.Usage, "%s is too large", quote(s))
		}
		return Size(value.Num().Uint64()), nil
	}
	return 0, unknownUnit(s, number, suffix)
}

// unknownUnit offers the right spelling of units that other tools use.
func unknownUnit(s, number, suffix string) error {
	err := fault.New(fault.Usage, "%s has an unknown unit", quote(s))
	letter := strings.ToUpper(suffix[:1])
	if !strings.Contains("KMGT", letter) || len(suffix) > 5 {
		return err.WithHint("the units are MiB, GiB, TiB (1024-based) and MB, GB, TB (1000-based)")
	}
	decimal := letter
	if letter == "K" {
		decimal = "k"
	}
	if lower := strings.ToLower(suffix); len(lower) > 1 && strings.HasPrefix(lower[1:], "i") {
		return err.WithHint("write it as %s%siB", number, letter)
	}
	return err.WithHint("write it as %s%siB (1024-based) or %s%sB (1000-based)", number, letter, number, decimal)
}

// String is the size in the largest binary unit that divides it, if the number
// stays readable, else with one decimal in the largest unit below it: "1536MiB",
// "10GiB", "9.3GiB" for 10GB. It is for people: use Exact for what is read again.
func (s Size) String() string {
	const readable = 100_000
	for _, u := range binaryUnits() {
		if uint64(s)%u.size == 0 && uint64(s) >= u.size && uint64(s)/u.size < readable {
			return s.Exact()
		}
	}
	for _, u := range binaryUnits() {
		if uint64(s) >= u.size {
			return fmt.Sprintf("%.1f%s", float64(s)/float64(u.size), u.suffix)
		}
	}
	return fmt.Sprintf("%dB", uint64(s))
}

// Exact is the size without loss, such that ParseSize gives it back: the largest
// binary unit that divides it, else bytes.
func (s Size) Exact() string {
	for _, u := range binaryUnits() {
		if uint64(s) >= u.size && uint64(s)%u.size == 0 {
			return fmt.Sprintf("%d%s", uint64(s)/u.size, u.suffix)
		}
	}
	return fmt.Sprintf("%dB", uint64(s))
}

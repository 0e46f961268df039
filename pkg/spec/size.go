package spec

import (
	"fmt"
	"math"
	"math/big"
	"strings"
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

// Suffixes, longest first so that "GiB" is not read as "B".
var units = []struct {
	suffix string
	size   uint64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3},
	{"B", 1},
}

// ParseSize reads "1536MiB", "1.5 GiB" or "10GB". A unit is required, because
// tools disagree on what a bare number would mean.
func ParseSize(s string) (Size, error) {
	text := strings.TrimSpace(s)
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		number = strings.TrimSpace(number)
		if number == "" || strings.Trim(number, "0123456789.") != "" || len(number) > 32 {
			return 0, fmt.Errorf("%q is not a size: write a number and a unit, such as 512MiB or 1.5GiB", s)
		}
		value, ok := new(big.Rat).SetString(number)
		if !ok {
			return 0, fmt.Errorf("%q is not a size: write a number and a unit, such as 512MiB or 1.5GiB", s)
		}
		value.Mul(value, new(big.Rat).SetUint64(u.size))
		if !value.IsInt() {
			return 0, fmt.Errorf("%q is not a whole number of bytes", s)
		}
		if value.Num().Cmp(big.NewInt(math.MaxInt64)) > 0 {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return Size(value.Num().Uint64()), nil
	}
	return 0, fmt.Errorf("%q has no unit: write it as %sMiB or %sGiB", s, text, text)
}

// String is the size in the largest binary unit that divides it, else with one
// decimal in the largest unit below it: "1536MiB", "10GiB", "9.3GiB".
func (s Size) String() string {
	for _, u := range units[:4] {
		if uint64(s) >= u.size && uint64(s)%u.size == 0 {
			return fmt.Sprintf("%d%s", uint64(s)/u.size, u.suffix)
		}
	}
	for _, u := range units[:4] {
		if uint64(s) >= u.size {
			return fmt.Sprintf("%.1f%s", float64(s)/float64(u.size), u.suffix)
		}
	}
	return fmt.Sprintf("%dB", uint64(s))
}

package spec

import "strings"

// Nearest is the candidate that a person who typed word most likely meant, or
// empty when none is near. Case, and - against _, count for nothing; swapped,
// missing, extra and wrong letters count one each. Of equals the first wins.
func Nearest(word string, candidates []string) string {
	const longest = 64
	if word == "" || len(word) > longest {
		return ""
	}
	typed := fold(word)
	best, bestDistance := "", 0
	for _, candidate := range candidates {
		meant := fold(candidate)
		if len(meant) > longest {
			continue
		}
		d := distance(typed, meant)
		// A shortened word ("mem") is far from its whole by letters alone.
		if len(typed) >= 3 && strings.HasPrefix(meant, typed) {
			d = min(d, 1)
		}
		if d > max(1, min(len(typed), len(meant))/3) || d >= max(len(typed), len(meant)) {
			continue
		}
		if best == "" || d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts single-letter edits and swaps of neighbours between a and b
// (the optimal string alignment distance), by bytes.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

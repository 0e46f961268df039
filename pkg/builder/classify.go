package builder

import (
	"regexp"
	"strings"
)

// verdict is what a known class of error means for a person. Empty fields leave
// the general wording.
type verdict struct {
	class    string
	sentence string
	hint     string
	points   []string
	// file is what the sentence is about already: not where the error was made.
	file string
}

// evidence is what a class is recognised by.
type evidence struct {
	p   problem
	log []string
	all string
	ref Ref
	// tracked asks git whether it tracks a file of the flake's tree.
	tracked func(root, file string) bool
	// env is the environment of nix.
	env []string
}

// class is one row of the table of nix's errors.
type class struct {
	name string
	// match is looked for in the error; in everything nix said when anywhere is set,
	// in the failed build's log when inLog is.
	match           *regexp.Regexp
	anywhere, inLog bool
	// explain may decline with nil.
	explain func(m []string, e evidence) *verdict
}

// classify looks an error up. The order of the rows counts: what stands closer to
// the cause comes first.
func classify(e evidence) verdict {
	for _, c := range classes() {
		texts := []string{e.p.text}
		if c.inLog {
			texts = append(texts, strings.Join(e.log, "\n"))
		}
		if c.anywhere {
			texts = append(texts, e.all)
		}
		for _, text := range texts {
			m := c.match.FindStringSubmatch(text)
			if m == nil {
				continue
			}
			if v := c.explain(m, e); v != nil {
				v.class = c.name
				return *v
			}
		}
	}
	return verdict{}
}

package cli

import (
	"errors"
	"strings"

	"vmctl/pkg/fault"
)

// line is a command line, understood.
type line struct {
	// verb is nil when none was given, and a noun when only that was.
	verb *command
	// global and local are the flags, each as one "--name=value" word.
	global, local []string
	// args are the words that are no flags.
	args []string
	// help and version were asked for.
	help, version bool
}

// argv is the line in the only order that urfave/cli understands: it takes a flag
// behind an argument for another argument.
func (l *line) argv() []string {
	argv := append([]string{"vmctl"}, l.global...)
	if l.verb == nil {
		return argv
	}
	argv = append(append(argv, fields(l.verb.path())...), l.local...)
	return append(append(argv, "--"), l.args...)
}

// explain adds the verb's usage line to what is wrong with its line.
func (l *line) explain(err error) error {
	var wrong *fault.Error
	if l.verb != nil && errors.As(err, &wrong) && wrong.Kind == fault.Usage && wrong.Details() == "" {
		return wrong.WithDetails("usage: " + l.verb.usage())
	}
	return err
}

// reader takes a command line apart. Flags may stand anywhere, "--" ends them.
type reader struct {
	verbs  []*command
	global []option
	rest   []string
	line   *line
}

// read understands a command line. The line it returns with an error holds what was
// understood until then.
func read(verbs []*command, args []string, getenv func(string) string) (*line, error) {
	r := &reader{verbs: verbs, global: globals(), rest: args, line: &line{}}
	for len(r.rest) > 0 {
		if err := r.next(); err != nil {
			return r.line, err
		}
	}
	if r.line.help || r.line.version {
		return r.line, nil
	}
	if v := r.line.verb; v != nil && len(v.verbs) > 0 {
		return r.line, usagef("%s needs one of %s", v.name, join(verbNames(v.verbs), ", ")).
			WithHint("vmctl help %s explains them", v.name)
	}
	return r.line, r.environment(getenv)
}

// next reads one word, and the next one when it is a flag's value.
func (r *reader) next() error {
	word := r.rest[0]
	r.rest = r.rest[1:]
	switch {
	case word == "--":
		words := r.rest
		r.rest = nil
		for _, w := range words {
			if err := r.argument(w); err != nil {
				return err
			}
		}
		return nil
	case strings.HasPrefix(word, "--"):
		name, value, has := strings.Cut(word[2:], "=")
		return r.flag("--", name, value, has)
	case len(word) > 1 && word[0] == '-':
		return r.shorts(word[1:])
	default:
		return r.argument(word)
	}
}

// shorts reads "-aq", "-ojson" and "-o=json".
func (r *reader) shorts(letters string) error {
	for i := range len(letters) {
		name, rest := letters[i:i+1], letters[i+1:]
		o, _, ok := r.find(name)
		if !ok && i == 0 && len(letters) > 1 {
			return r.unknown("-", letters)
		}
		if ok && o.kind != isSwitch && rest != "" {
			return r.flag("-", name, strings.TrimPrefix(rest, "="), true)
		}
		if err := r.flag("-", name, "", false); err != nil {
			return err
		}
	}
	return nil
}

// find looks a flag up; global says whose it is.
func (r *reader) find(name string) (o option, global, ok bool) {
	// A verb may give a letter a meaning of its own, as screenshot does with -o.
	if r.line.verb != nil {
		if o, ok = r.line.verb.option(name); ok {
			return o, false, true
		}
	}
	o, ok = lookUp(r.global, name)
	return o, ok, ok
}

func (r *reader) flag(dashes, name, value string, has bool) error {
	o, global, ok := r.find(name)
	if !ok || (dashes == "-") != (o.short == name) {
		return r.unknown(dashes, name)
	}
	shown := "--" + o.name
	switch {
	case o.kind == isSwitch && !has:
		value = "true"
	case !has && (len(r.rest) == 0 || r.isFlag(r.rest[0])):
		return usagef("%s needs a value", shown).WithHint("write %s", o.synopsis())
	case !has:
		value, r.rest = r.rest[0], r.rest[1:]
	}
	if err := o.check(shown, value); err != nil {
		return err
	}
	switch {
	case o.name == "help":
		r.line.help = true
	case o.name == "version" && global:
		r.line.version = true
	case global:
		r.line.global = append(r.line.global, shown+"="+value)
	default:
		r.line.local = append(r.line.local, shown+"="+value)
	}
	return nil
}

// isFlag says that a word where a value should stand is a flag.
func (r *reader) isFlag(word string) bool {
	if !strings.HasPrefix(word, "-") || len(word) == 1 {
		return false
	}
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	_, _, known := r.find(name)
	return known || word == "--"
}

func (r *reader) argument(word string) error {
	among := r.verbs
	if r.line.verb != nil {
		among = r.line.verb.verbs
	}
	if len(among) == 0 {
		r.line.args = append(r.line.args, word)
		if a := r.line.verb.args; a != nil && a.command && len(r.line.args) == 2 {
			r.line.args, r.rest = append(r.line.args, r.rest...), nil
		}
		return nil
	}
	v := named(among, word)
	if v == nil {
		return noCommand(r.verbs, r.line.verb, word, "did you mean vmctl %s?")
	}
	r.line.verb = v
	return nil
}

// noCommand is the error about a word that is no command, or none of a noun's.
func noCommand(all []*command, noun *command, word, found string) *fault.Error {
	if noun != nil {
		wrong := usagef("%s has no command %q", noun.name, word)
		if verb := sameVerb(word, verbNames(noun.verbs)); verb != "" {
			return wrong.WithHint(found, noun.name+" "+verb)
		}
		return wrong.WithHint("%s", nearest(word, verbNames(noun.verbs),
			strings.Replace(found, "%s", noun.name+" %s", 1), "it has "+join(verbNames(noun.verbs), ", ")))
	}
	wrong := usagef("there is no command %q", word)
	if ours := ourWord(word); named(all, ours) != nil {
		return wrong.WithHint(found, ours)
	}
	if hint := elsewhereWord(word); hint != "" {
		return wrong.WithHint("%s", hint)
	}
	if suggest(word, verbNames(all)) == "" {
		for _, c := range all {
			if named(c.verbs, word) != nil {
				return wrong.WithHint(found, c.name+" "+word)
			}
		}
	}
	return wrong.WithHint("%s", nearest(word, verbNames(all), found, "vmctl help lists the commands"))
}

func (r *reader) unknown(dashes, name string) *fault.Error {
	known := r.global
	if o, _, ok := r.find(name); ok && o.short == name {
		return usagef("there is no flag --%s", name).WithHint("did you mean -%s?", name)
	}
	whose, help := "vmctl", "vmctl --help"
	later := withVerbs(r.verbs)
	if v := r.line.verb; v != nil {
		known = append(append([]option{}, v.options...), known...)
		whose, help = v.path(), "vmctl "+v.path()+" --help"
		later = v.verbs
	}
	for _, v := range later {
		if _, ok := v.option(name); ok {
			return usagef("the flag %s%s stands before the command it belongs to", dashes, name).
				WithHint("write it behind the command, as in vmctl %s %s%s", v.path(), dashes, name)
		}
	}
	words := make([]string, 0, len(known))
	for _, o := range known {
		words = append(words, o.name)
	}
	if name == outputJSON {
		return usagef("%s has no flag --json", whose).WithHint("write -o json")
	}
	return usagef("%s has no flag %s%s", whose, dashes, name).
		WithHint("%s", nearest(name, words, "did you mean --%s?", help+" lists the flags"))
}

// environment gives the flags that were not written their value from the environment.
func (r *reader) environment(getenv func(string) string) error {
	add := func(options []option, to *[]string) error {
		for _, o := range options {
			if o.env == "" || getenv(o.env) == "" || written(*to, o.name) != "" {
				continue
			}
			if err := o.check(o.env, getenv(o.env)); err != nil {
				return err
			}
			*to = append(*to, "--"+o.name+"="+getenv(o.env))
		}
		return nil
	}
	if err := add(r.global, &r.line.global); err != nil || r.line.verb == nil {
		return err
	}
	return add(r.line.verb.options, &r.line.local)
}

// written is the value of a flag among "--name=value" words; the last one counts.
func written(flags []string, name string) string {
	value := ""
	for _, f := range flags {
		if v, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			value = v
		}
	}
	return value
}

package cli

import (
	"path"
	"path/filepath"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/builder"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/project"
	"vmctl/pkg/spec"
)

// isFlake says that a word where a machine's name could stand is a flake: no name has
// any of these in it.
func isFlake(word string) bool {
	if strings.HasSuffix(word, ".yaml") || strings.HasSuffix(word, ".yml") {
		return false // the file of a definition
	}
	return word == "." || word == ".." || strings.ContainsAny(word, "#/") || strings.Contains(word, ":")
}

// isPath says that a reference is a path: a word without a scheme is one, never a name in
// nix's registry.
func isPath(ref string) bool { return !strings.Contains(ref, ":") }

// namedFlake is a flake that stands for a machine on the command line.
type namedFlake struct {
	// image has an absolute path, shown is as it was written.
	image spec.Image
	shown string
}

// takeFlake understands a flake on the command line, and gives the name of the machine
// that it stands for.
func (c *call) takeFlake(word string) (string, error) {
	img, err := spec.ParseImage(word)
	if err != nil {
		return "", err
	}
	if img.Kind != spec.ImageFlake {
		return "", usagef("%s is neither the name of a machine nor a flake", word).
			WithHint("vmctl init NAME --image %s writes a definition", ansi.ShellWord(word))
	}
	shown := img.Ref
	if isPath(img.Ref) && !filepath.IsAbs(img.Ref) {
		cwd, err := c.deps.Getwd()
		if err != nil {
			return "", fault.New(fault.NotFound, "the current directory cannot be read: %w", err)
		}
		img.Ref = filepath.Join(cwd, img.Ref)
	}
	name := nameOfFlake(img)
	if spec.CheckName(name) != nil {
		return "", usagef("%s gives the machine no name that it can have: %q", word, name).
			WithHint("write a definition, domain/NAME.yaml, with image: %s", word)
	}
	if other, ok := c.flakes[name]; ok && other.image != img {
		return "", usagef("%s and %s would both be the machine %s", other.image, img, name).
			WithHint("write a definition for one of them, with another name")
	}
	c.flakes[name] = namedFlake{img, shown}
	return name, nil
}

// nameOfFlake is what a flake's machine is called: as its configuration, else as the
// package, the directory or the repository.
func nameOfFlake(img spec.Image) string {
	if img.Attr != "" {
		return builder.Configuration(img.Attr)
	}
	ref, query, _ := strings.Cut(img.Ref, "?")
	if _, dir, ok := strings.Cut("&"+query, "&dir="); ok {
		ref, _, _ = strings.Cut(dir, "&")
	} else if _, rest, ok := strings.Cut(ref, ":"); ok && strings.Count(rest, "/") > 1 && !strings.HasPrefix(rest, "/") {
		ref = strings.Split(rest, "/")[1] // github:owner/repo/branch
	}
	return strings.ToLower(strings.TrimSuffix(path.Base(strings.TrimSuffix(ref, "/")), ".git"))
}

// ofFlake is the machine that a flake describes. A definition of the same name counts key
// by key, and must not mean another image.
func (c *call) ofFlake(name string, named namedFlake) (*target, error) {
	img := named.image
	p, err := c.projectOrNone()
	if err != nil {
		return nil, err
	}
	t := &target{name: name, project: p, machine: spec.Defaults(name)}
	if p == nil {
		t.shown = named.shown
		// Outside of a project the flake's directory owns the machine.
		t.project = &project.Project{}
		if isPath(img.Ref) {
			t.project.Dir = img.Ref
		}
	} else {
		if rel, err := filepath.Rel(p.Dir, img.Ref); isPath(img.Ref) && err == nil && filepath.IsLocal(rel) {
			img.Ref = rel
		}
		switch defined, err := c.defined(p, name); {
		case err == nil:
			t = defined
		case !fault.Is(err, fault.NotFound):
			return nil, err
		}
	}
	if own := t.machine.Image; spec.Sets(t.definition.Data, "image") && (own.Ref != img.Ref || own.Attr != "" && own.Attr != img.Attr) {
		return nil, usagef("%s takes its image from %s, and not from %s", t.definition.File, own, img).
			WithHint("vmctl %s %s, or take image: out of the definition", c.line.verb.path(), name)
	}
	t.machine.Image = img
	t.uri, err = c.uri(t.machine.Host)
	return t, err
}

// describe takes in what a configuration says of its machine, under what the definition
// says.
func (c *call) describe(t *target, built builder.Result) error {
	if err := t.describe(built); err != nil {
		return err
	}
	c.hideSecrets(t.machine)
	if len(built.Left) > 0 && !built.Cached {
		c.progress.Emit(progress.Event{
			ID: t.name + "/left", Status: progress.Note,
			Text: "left out of the image, since the machine does not have their disks: " + join(built.Left, ", "),
		})
	}
	return nil
}

func (t *target) describe(built builder.Result) error {
	if built.Spec == nil {
		return nil
	}
	said := spec.Description{From: t.machine.Image.String(), Foreign: !isPath(t.machine.Image.Ref), Spec: built.Spec}
	t.definition.Name = t.name
	m, err := t.definition.Describe(said)
	if err != nil {
		return err
	}
	m.Image = t.machine.Image
	t.machine = m
	return nil
}

// recall takes in what the configuration said when the image was last built, which costs
// nothing. Verbs that only look want to know, say, the ports that it declares.
func (c *call) recall(t *target) {
	dirs, err := c.dirs()
	if err != nil || t.machine.Image.Kind != spec.ImageFlake {
		return
	}
	if built, ok := c.deps.Images(dirs, c.progress, c.log).Recall(t.flake()); ok {
		if err := t.describe(built); err != nil {
			c.log.Debug("recall what a configuration said", "machine", t.name, "error", err)
			return
		}
		c.hideSecrets(t.machine)
	}
}

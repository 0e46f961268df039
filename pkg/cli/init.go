package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/fault"
	"vmctl/pkg/image"
	"vmctl/pkg/project"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func initCommand() *command {
	return &command{
		name: "init", group: build, takes: ownWords, run: runInit,
		summary: "Write a definition, and the smallest flake for it",
		about: []string{
			"Writes domain/NAME.yaml, and without --flake or --image also images/NAME: a flake with an ordinary NixOS configuration, pinned to a " +
				"release. A directory becomes a project with its first definition. No file that is there is ever written over.",
			"Without NAME the machine is called as what follows # in the flake, or as the directory. Paths are as seen from the current directory.",
		},
		args: &arguments{usage: "[NAME]", one: "a name", most: 1, hint: "vmctl init web", check: spec.CheckName},
		options: []option{
			{name: "flake", kind: isText, value: "REF", help: "a flake that describes the machine already: a directory or a URL, and #NAME of a configuration"},
			{name: "image", kind: isText, value: "REF", help: "a disk image instead of a flake: a file, a URL, or a known name such as debian:12"},
			{name: "sha256", kind: isText, value: "SUM", help: "the checksum of --image, which an image from the web needs"},
			{name: "checksums", kind: isText, value: "URL", help: "the publisher's file of checksums, instead of --sha256"},
		},
		examples: []example{
			{"vmctl init web", "then edit images/web/configuration.nix, and: vmctl up web"},
			{"vmctl init --flake .#web", "of the flake that is here"},
			{"vmctl init box --image debian:12", ""},
		},
		json: `{
  "name": "web",
  "project": "/home/me/vms",
  "files": ["images/web/flake.nix", "images/web/flake.lock", "images/web/configuration.nix", "domain/web.yaml"],
  "next": ["git add -N images/web", "vmctl up web"]
}`,
	}
}

// initResult is what init tells: the files that it wrote, below the project's directory,
// and what to do next.
type initResult struct {
	Name    string   `json:"name"`
	Project string   `json:"project"`
	Files   []string `json:"files"`
	Next    []string `json:"next"`
}

// beginning is what init was asked to write.
type beginning struct {
	name, dir string
	image     spec.Image
	// keys are the lines of the definition that say what the image is.
	keys string
	// own says that the flake is written, too.
	own bool
}

func runInit(_ context.Context, c *call, in *urfave.Context) error {
	b, err := c.beginning(in)
	if err != nil {
		return err
	}
	var files []project.File
	if b.own {
		if files, err = b.flake(); err != nil {
			return err
		}
	}
	text := b.definition()
	definition := project.DefinitionFile(b.name, text)
	if _, err := spec.Parse(b.name, definition.Path, []byte(text)); err != nil {
		return err // nothing is written that vmctl itself would refuse
	}
	files = append(files, definition)
	if err := project.Begin(b.dir, files); err != nil {
		return err
	}
	r := initResult{Name: b.name, Project: b.dir, Files: []string{}}
	for _, f := range files {
		r.Files = append(r.Files, f.Path)
	}
	r.Next = b.next(c)
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, r)
	}
	var said strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&said, "wrote %s\n", filepath.Join(b.shown(c), f))
	}
	said.WriteString("next:\n")
	for _, line := range r.Next {
		said.WriteString("  " + line + "\n")
	}
	c.say(strings.TrimSuffix(said.String(), "\n"))
	return nil
}

// beginning understands the command line.
func (c *call) beginning(in *urfave.Context) (*beginning, error) {
	flake, img := in.String("flake"), in.String("image")
	if flake != "" && img != "" {
		return nil, usagef("--flake and --image cannot both be the machine's image").WithHint("leave one of them out")
	}
	for _, flag := range []string{"sha256", "checksums"} {
		if img == "" && in.String(flag) != "" {
			return nil, usagef("--%s is about an image, and --image is not given", flag).WithHint("leave it out, or add --image URL")
		}
	}
	here, dir, err := c.whereToBegin()
	if err != nil {
		return nil, err
	}
	b := &beginning{dir: dir, own: flake == "" && img == ""}
	if ref := flake + img; ref != "" {
		if b.image, err = spec.ParseImage(ref); err != nil {
			return nil, err
		}
		if isFlake := b.image.Kind == spec.ImageFlake; isFlake != (flake != "") {
			return nil, usagef("%s is %s", ref, map[bool]string{true: "a flake", false: "no flake"}[isFlake]).
				WithHint("write --%s %s", map[bool]string{true: "flake", false: "image"}[isFlake], ref)
		}
	}
	if b.name, err = c.nameToBegin(b.image, dir); err != nil {
		return nil, err
	}
	if b.image.Kind == spec.ImageKnown {
		if err := image.CheckKnown(b.image.String()); err != nil {
			return nil, err
		}
	}
	if b.image.Kind == spec.ImageURL && in.String("sha256") == "" && in.String("checksums") == "" {
		return nil, usagef("an image from the web needs a checksum").
			WithHint("add --sha256 SUM, or --checksums URL, the publisher's file of them")
	}
	if b.own {
		b.image = spec.Image{Kind: spec.ImageFlake, Ref: "images/" + b.name}
	} else if b.image.Ref, err = fromProject(b.image, here, dir); err != nil {
		return nil, err
	}
	b.keys = "image: " + scalar(b.image.String()) + "\n"
	for _, key := range []string{"sha256", "checksums"} {
		if value := in.String(key); value != "" {
			b.keys += key + ": " + scalar(value) + "\n"
		}
	}
	return b, nil
}

// whereToBegin is the current directory, and the project's: the one that is there, or
// the directory that is to become one.
func (c *call) whereToBegin() (here, dir string, err error) {
	if here, err = c.deps.Getwd(); err != nil {
		return "", "", fault.New(fault.NotFound, "the current directory cannot be read: %w", err).WithHint("cd to a directory that exists")
	}
	named := c.global("project")
	if named != "" && !filepath.IsAbs(named) {
		named = filepath.Join(here, named)
	}
	p, err := c.project()
	switch {
	case err == nil:
		return here, p.Dir, nil
	case !fault.Is(err, fault.NotFound):
		return "", "", err
	case named == "":
		return here, here, nil
	}
	if info, statErr := os.Stat(named); statErr != nil || !info.IsDir() {
		return "", "", err
	}
	return here, named, nil
}

// nameToBegin is the machine's name: the one given, or one that offers itself.
func (c *call) nameToBegin(img spec.Image, dir string) (string, error) {
	if len(c.line.args) > 0 {
		return c.line.args[0], nil
	}
	name := filepath.Base(dir)
	if img.Attr != "" {
		name = img.Attr
	}
	if spec.CheckName(name) != nil {
		return "", usagef("init needs a name for the machine: %q cannot be one", name).
			WithHint("vmctl init web; a name is small letters, digits and -")
	}
	return name, nil
}

// fromProject makes a path as seen from the current directory one as seen from the
// project, which is how definitions have them.
func fromProject(img spec.Image, here, dir string) (string, error) {
	isPath := img.Kind == spec.ImageFile || img.Kind == spec.ImageFlake && !strings.Contains(img.Ref, ":")
	if !isPath || filepath.IsAbs(img.Ref) {
		return img.Ref, nil
	}
	ref, err := filepath.Rel(dir, filepath.Join(here, img.Ref))
	if err != nil {
		return "", fault.New(fault.Other, "%s has no path from the project: %w", img.Ref, err).WithHint("write the whole path")
	}
	if img.Kind == spec.ImageFile && !strings.Contains(ref, "/") {
		ref = "./" + ref
	}
	return ref, nil
}

// scalar is text as YAML: in quotes unless it can mean nothing but itself.
func scalar(text string) string {
	if regexp.MustCompile(`^([a-zA-Z]|\.{1,2}[/#])[a-zA-Z0-9/._+:#-]*[a-zA-Z0-9/]$`).MatchString(text) && strings.ContainsAny(text, "/#:") {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// definition is the text of the machine's definition.
func (b *beginning) definition() string {
	return b.keys + `memory: 1GiB
cpus: 1
disk: 10GiB # growing it needs no new image
# vmctl schema lists all that can stand here, for editors; the reference explains it.
`
}

// flake are the files of the flake that are not there yet. One that somebody has
// written is kept whole.
func (b *beginning) flake() ([]project.File, error) {
	if _, err := os.Lstat(filepath.Join(b.dir, "images", b.name, "flake.nix")); err == nil {
		return nil, nil
	}
	system := "x86_64-linux"
	if runtime.GOARCH == "arm64" {
		system = "aarch64-linux"
	}
	return project.Flake(b.name, system)
}

// next is what to do now.
func (b *beginning) next(c *call) []string {
	at := b.shown(c)
	var lines []string
	if b.own && inRepository(b.dir) {
		// nix sees only the files of a repository that git knows of.
		lines = append(lines, "git add -N "+filepath.Join(at, "images", b.name))
	}
	if where := written(c.line.global, "project"); where != "" {
		return append(lines, fmt.Sprintf("vmctl -C %s up %s", where, b.name))
	}
	return append(lines, "vmctl up "+b.name)
}

// shown is the project's directory as seen from the current one, empty for the same.
func (b *beginning) shown(c *call) string {
	here, err := c.deps.Getwd()
	if err != nil {
		return b.dir
	}
	at, err := filepath.Rel(here, b.dir)
	if err != nil {
		return b.dir
	}
	return at
}

// inRepository says that a directory lies in a git repository.
func inRepository(dir string) bool {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return true
		}
		if at == filepath.Dir(at) {
			return false
		}
	}
}

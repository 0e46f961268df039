package spec

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

const (
	maxShares = 16
	// shareLength is what 9p has for a tag.
	shareLength = 31
)

// Share is a directory of the host that the guest can mount.
type Share struct {
	// Tag is the name under which the guest finds it.
	Tag string
	// Source is the directory; relative to the project until it has been looked up.
	Source string
	// Target is where the guest mounts it.
	Target string
	// ReadOnly keeps the guest from changing it.
	ReadOnly bool
}

// ShareDriver is how a directory of the host gets into a guest; it is also the type of
// the file system that the guest mounts.
type ShareDriver string

// The drivers: a process beside QEMU, or QEMU itself.
const (
	ShareVirtiofs ShareDriver = "virtiofs"
	Share9p       ShareDriver = "9p"
)

// options are what the guest mounts with.
func (s Share) options(driver ShareDriver) string {
	words := []string{"rw"}
	if s.ReadOnly {
		words[0] = "ro"
	}
	if driver == Share9p {
		// Without msize a guest moves 8 KiB at a time.
		words = append(words, "trans=virtio", "version=9p2000.L", "msize=524288")
	}
	return strings.Join(words, ",")
}

// Fstab is the line of fstab(5) that mounts the share. A guest boots also when that
// cannot be.
func (s Share) Fstab(driver ShareDriver) string {
	return fmt.Sprintf("%s %s %s %s,nofail 0 0", s.Tag, s.Target, driver, s.options(driver))
}

// Mount is the command that mounts the share in the guest.
func (s Share) Mount(driver ShareDriver) string {
	return fmt.Sprintf("mount -t %s -o %s %s %s", driver, s.options(driver), s.Tag, s.Target)
}

// String is the share for people.
func (s Share) String() string {
	text := s.Source + " → " + s.Target
	if s.ReadOnly {
		text += " (read-only)"
	}
	return text
}

func sharesField() field {
	return named(field{
		Field: Field{
			Key: "shares", Type: "mapping NAME: share", Default: "none",
			Example: `{"src": {"source": ".", "target": "/mnt/src"}}`,
			Doc: "Directories of this machine that the guest sees too, by virtiofs where the host can do that, else by 9p. " +
				"They need a host that is this machine. A change takes effect at the next boot.",
		},
		words: []string{"share", "mounts", "shared", "shareddirectories", "synced-folders", "filesystems"},
	}, record[Share]{
		what: "a share", example: "src: {source: ., target: /mnt/src}",
		fields: shareFields, fresh: func(name string) Share { return Share{Tag: name} },
	}, maxShares, shareLength, func(p *parser, s Share) {
		for _, other := range p.m.Shares {
			if other.Target == s.Target {
				at := "shares." + s.Tag + ".target"
				p.add(p.keys[at], at, fmt.Sprintf("share %s is mounted there already", other.Tag), "choose another directory")
				return
			}
		}
		p.m.Shares = append(p.m.Shares, s)
	})
}

func shareFields(t *Share) fieldTable {
	return fieldTable{
		{
			Field: Field{
				Key: "source", Type: "directory", Example: ".",
				Doc: "The directory, relative to the project. It must be there.",
			},
			words: []string{"src", "path", "dir", "host"}, required: true,
			schema: text(`^[^\x00-\x1f\x7f~$][^\x00-\x1f\x7f]*$`, pathLength),
			read:   func(p *parser, v value) { readShareSource(p, v, &t.Source) },
		},
		{
			Field: Field{
				Key: "target", Type: "path in the guest", Example: "/mnt/src",
				Doc: "Where the guest mounts it. Guests with systemd 254 or newer do that by themselves; for others vmctl info shows the command.",
			},
			words: []string{"mount", "mountpoint", "mount-point", "dest", "guest"}, required: true,
			schema: text(mountPattern, mountLength),
			read:   func(p *parser, v value) { readMount(p, v, &t.Target) },
		},
		{
			Field: Field{
				Key: "read-only", Type: "true or false", Default: "false", Example: "true",
				Doc: "Keep the guest from changing what is in it.",
			},
			words:  []string{"readonly", "ro"},
			schema: truth(), read: func(p *parser, v value) { readBool(p, v, &t.ReadOnly) },
		},
	}
}

func readShareSource(p *parser, v value, dst *string) {
	s, ok := p.text1(v, "a directory", "such as . for the project's own, or ../src")
	switch {
	case !ok:
	case s[0] == '~' || s[0] == '$':
		p.add(v.at, v.path, fmt.Sprintf("%s: ~ and variables are not expanded", quote(s)), "write the whole path")
	case len(s) > pathLength || regexp.MustCompile(`[\x00-\x1f\x7f]`).MatchString(s):
		p.add(v.at, v.path, fmt.Sprintf("%s is not a directory's path", quote(s)), "")
	default:
		*dst = path.Clean(s)
	}
}

//go:build acceptance

package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/state"
	"vmctl/pkg/ui"
)

// bait are words that do something where a name or a path is expected, if they get to a
// shell, to ssh, to nix, into XML or into a file system unchecked. TRAP is a file that only
// an attack makes, UP leads out of every directory.
func bait() []string {
	return []string{
		"-oProxyCommand=touch${IFS}TRAP", "-", "--", "-rf", "$(touch TRAP)", "'; touch TRAP; '", "x\ntouch TRAP\n", "%h%d", "UP/TRAP", "..", "x/../../UP/TRAP",
		"</name><metadata/>", "]]>", `x" onload="y`, ".#${builtins.readFile \"/etc/passwd\"}", ".#a\"; builtins.abort \"x", ".#-x",
		"qemu+ext:///system?command=TRAP", "qemu+ssh://h/system?netcat=TRAP", "qemu+ssh://-oProxyCommand=x/system", "qemu+ssh://h/system?no_verify=1",
		"\x1b]52;c;eA==\x07", "\u009b2J\u202e", "a\x00b", "\xff", strings.Repeat("a", 5000), "EXAMPLE",
	}
}

// recorders are programs in front of PATH that write down how they were started.
var recorders = []string{"ssh", "scp", "nix", "git", "qemu-img", "sops", "age", "virsh", "sh", "bash", "remote-viewer", "virt-viewer"}

// lab is a project with a machine that runs, on a host in memory.
type lab struct {
	t         *testing.T
	dir, trap string
	calls     string
	host      *enginetest.Host
	uris      []string
	files     []string
	environ   map[string]string
	// seen counts how often each program was started.
	seen map[string]int
}

func newLab(t *testing.T) *lab {
	t.Helper()
	top := t.TempDir()
	l := &lab{t: t, seen: map[string]int{}, dir: filepath.Join(top, "outer", "project"), trap: filepath.Join(top, "trap"), calls: filepath.Join(top, "calls")}
	bin := filepath.Join(top, "bin")
	for _, dir := range []string{bin, filepath.Join(l.dir, "domain"), filepath.Join(l.dir, "images", "x"), filepath.Join(top, "home")} {
		require.NoError(t, os.MkdirAll(dir, 0o700))
	}
	for _, name := range recorders {
		script := "#!/bin/dash\n{ printf '%s\\0' \"$0\" \"$@\"; printf '\\n\\0'; } >>" + l.calls + "\nexit 1\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	disk, err := os.ReadFile("testdata/image/4M.qcow2")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(l.dir, "disk.qcow2"), disk, 0o600))
	l.environ = map[string]string{"HOME": filepath.Join(top, "home"), "LANG": "C.UTF-8", "PATH": os.Getenv("PATH")}
	l.host = newHost(enginetest.Options{})
	l.host.SetGuest("example", enginetest.Guest{Agent: true, Addresses: []string{"192.0.2.7"}})
	l.define("example", "image: ./disk.qcow2\nnetwork: default\n")
	code, _, errs := l.run("up", "--no-wait", "example")
	require.Zero(t, code, errs)
	l.files = l.tree()
	return l
}

func (l *lab) define(name, text string) {
	require.NoError(l.t, os.WriteFile(filepath.Join(l.dir, "domain", name+".yaml"), []byte(text), 0o600))
}

// run is vmctl in this process. Connecting is held to what the real one is held to.
func (l *lab) run(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	streams := ui.Fixed(strings.NewReader(""), &stdout, &stderr, 0)
	streams.Getenv = func(name string) string { return l.environ[name] }
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	code = Main(ctx, args, &Deps{
		Version: "1.2.3", Streams: streams, Terminal: &stdout, Diagnostics: &stderr, Root: true,
		Getwd: func() (string, error) { return l.dir, nil },
		Now:   time.Now,
		OpenHost: func(_ context.Context, uri, _ string, _ func(bool)) (*engine.Host, io.Closer, error) {
			if err := libvirt.CheckURI(uri); err != nil {
				return nil, nil, err
			}
			l.uris = append(l.uris, uri)
			host := l.host.Connect()
			host.URI = "qemu:///system"
			return host, io.NopCloser(nil), nil
		},
		Token:  func(state.Dirs, string) engine.Token { return engine.Token{} },
		Images: systemImages,
	})
	return code, stdout.String(), stderr.String()
}

// tree are all files around the project.
func (l *lab) tree() (files []string) {
	top := filepath.Dir(l.trap)
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if path == filepath.Join(top, "home") || path == l.dir {
			return fs.SkipDir
		}
		if err == nil && path != l.calls {
			files = append(files, path)
		}
		return nil
	})
	return files
}

// started are the command lines of what was started since the last time.
func (l *lab) started() (all [][]string) {
	content, _ := os.ReadFile(l.calls)
	_ = os.Remove(l.calls)
	for call := range strings.SplitSeq(string(content), "\n\x00") {
		if words := strings.Split(strings.TrimSuffix(call, "\x00"), "\x00"); len(words) > 0 && words[0] != "" {
			words[0] = filepath.Base(words[0])
			all = append(all, words)
		}
	}
	return all
}

// holds says that nothing of what an attack would do has happened.
func (l *lab) holds(what, word string, code int, out, errs string) {
	l.t.Helper()
	label := fmt.Sprintf("%s with %q", what, word)
	require.NoFileExists(l.t, l.trap, label)
	assert.True(l.t, code >= 0 && code <= 8, "%s exits with %d: %s", label, code, errs)
	assert.NotContains(l.t, errs, "panic", label)
	for _, text := range []string{out, errs} {
		at := strings.IndexFunc(text, func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
		})
		assert.Negative(l.t, at, "%s: a terminal would obey %q", label, text)
	}
	assert.Equal(l.t, l.files, l.tree(), "%s: made or removed files elsewhere", label)
	for _, argv := range l.started() {
		l.seen[argv[0]]++
		end := slices.Index(argv, "--")
		for i, w := range argv[1:] {
			i++
			if strings.HasPrefix(word, "-") && len(word) > 2 && w == word {
				assert.True(l.t, end >= 0 && end < i, "%s became an option: %q", label, argv)
			}
			if argv[0] == "sh" || argv[0] == "bash" {
				assert.NotContains(l.t, w, "touch", "%s reached a shell: %q", label, argv)
			}
		}
	}
	for _, uri := range l.uris {
		for _, bad := range []string{"command=", "netcat=", "no_verify", "+ext", "://-"} {
			assert.NotContains(l.t, uri, bad, label)
		}
	}
	l.uris = nil
	assert.Equal(l.t, []string{"example"}, l.host.DomainNames(), "%s: other machines", label)
	for _, volume := range l.host.VolumeNames() {
		assert.Equal(l.t, filepath.Base(volume), volume, label)
		assert.Regexp(l.t, `^[a-zA-Z0-9._-]+$`, volume, label)
	}
}

func (l *lab) arm(word string) string {
	return strings.NewReplacer("TRAP", l.trap, "UP", "../../../../../../../..").Replace(word)
}

// TestArgumentsAreNoCommands hands every verb hostile words for everything that it takes:
// each is refused, or does no harm.
func TestArgumentsAreNoCommands(t *testing.T) {
	l := newLab(t)
	lines := [][]string{
		{"up", "W"}, {"plan", "W"}, {"down", "--yes", "W"}, {"start", "W"}, {"stop", "W"}, {"restart", "W"}, {"console", "W"}, {"logs", "W"}, {"info", "W"}, {"ip", "W"},
		{"build", "W"}, {"validate", "W"}, {"outdated", "W"}, {"exec", "W", "true"}, {"ssh", "W"}, {"ssh", "--user", "W", "example"}, {"ssh", "example", "W"},
		{"cp", "W", "example:/tmp/"}, {"cp", "disk.qcow2", "W:x"}, {"cp", "W:x", "got"}, {"cp", "--via", "W", "disk.qcow2", "example:"}, {"forward", "example", "W"}, {"forward", "W", "1:2"},
		{"ssh-proxy", "W"}, {"key", "W"}, {"secret", "list", "W"}, {"secret", "push", "W"}, {"secret", "push", "example", "W"},
		{"volume", "list", "W"}, {"volume", "create", "W", "8MiB"}, {"volume", "create", "example/W", "8MiB"}, {"volume", "create", "example/d", "W"}, {"volume", "rm", "--yes", "example/W"},
		{"volume", "import", "example/W", "disk.qcow2"}, {"volume", "import", "example/d", "W"}, {"volume", "export", "example/W", "out"},
		{"image", "inspect", "W"}, {"image", "list", "W"}, {"init", "W"}, {"init", "new", "--image", "W"}, {"init", "new", "--flake", "W"}, {"screenshot", "W"}, {"view", "W"},
		{"host", "add", "W", "qemu:///system"}, {"host", "add", "x", "W"}, {"host", "remove", "W"}, {"host", "check", "W"}, {"completion", "W"}, {"help", "W"}, {"W"},
		{"list", "-c", "W"}, {"list", "-H", "W"}, {"list", "-C", "W"}, {"list", "-o", "W"}, {"list", "--progress", "W"}, {"up", "--accel", "W", "example"}, {"up", "--timeout", "W", "example"},
	}
	for _, line := range lines {
		for _, word := range bait() {
			if line[0] == "down" && word == "EXAMPLE" || strings.HasPrefix(line[0], "W") && word == "--" {
				continue
			}
			word = l.arm(word)
			args := make([]string, len(line))
			for i, a := range line {
				args[i] = strings.ReplaceAll(a, "W", word)
			}
			code, out, errs := l.run(args...)
			l.holds("vmctl "+strings.Join(line, " "), word, code, out, errs)
			if t.Failed() {
				return
			}
			_ = os.Remove(filepath.Join(l.dir, "domain", "new.yaml"))
		}
	}
	assert.Positive(t, l.seen["ssh"], "some of it got as far as ssh")
}

// TestTheEnvironmentIsNoCommand puts hostile words into the variables that vmctl reads.
func TestTheEnvironmentIsNoCommand(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{
		"VMCTL_PROJECT", "VMCTL_HOST", "VMCTL_OUTPUT", "VMCTL_PROGRESS", "VMCTL_ACCEL", "LIBVIRT_DEFAULT_URI", "VMCTL_AGE_IDENTITY", "COLUMNS", "TERM", "LANG", "NIX_STORE_DIR", "TMPDIR",
	} {
		for _, word := range bait() {
			word = l.arm(word)
			was, had := l.environ[name]
			l.environ[name] = word
			for _, args := range [][]string{{"list"}, {"plan", "example"}} {
				code, out, errs := l.run(args...)
				l.holds(name+" for "+args[0], word, code, out, errs)
			}
			if delete(l.environ, name); had {
				l.environ[name] = was
			}
			if t.Failed() {
				return
			}
		}
	}
	l.environ["LIBVIRT_DEFAULT_URI"] = "qemu+ssh://h/system?netcat=/bin/evil"
	code, _, errs := l.run("list")
	assert.Equal(t, 2, code)
	assert.Contains(t, errs, `parameter "netcat"`)
}

// TestDefinitionsAreNoCommands writes hostile words wherever a definition takes a word.
func TestDefinitionsAreNoCommands(t *testing.T) {
	l := newLab(t)
	places := []string{
		"image: W", "image: images/W", "image: .#W", "image: github:o/r#W", "image: https://W", "image: ./disk.qcow2\nhost: W", "image: ./disk.qcow2\nnetwork: W",
		"image: ./disk.qcow2\nhostname: W", "image: ./disk.qcow2\nssh: {user: W}", "image: ./disk.qcow2\nssh: {key: W}", "image: ./disk.qcow2\nports: [W]", "image: ./disk.qcow2\nready: W",
		"image: ./disk.qcow2\nready: console /W/", "image: ./disk.qcow2\ncpu: W", "image: ./disk.qcow2\nmemory: W",
		"image: ./disk.qcow2\nvolumes: {W: {size: 1GiB}}", "image: ./disk.qcow2\nvolumes: {d: {size: 1GiB, mount: W}}", "image: ./disk.qcow2\nvolumes: {d: {path: W}}", "image: ./disk.qcow2\nvolumes: {d: {source: W, size: 1GiB}}",
		"image: ./disk.qcow2\nshares: {W: {source: ., target: /mnt}}", "image: ./disk.qcow2\nshares: {s: {source: W, target: /mnt}}", "image: ./disk.qcow2\nshares: {s: {source: ., target: W}}",
		"image: ./disk.qcow2\ninterfaces: [{bridge: W}]", "image: ./disk.qcow2\ninterfaces: [{network: W}]", "image: ./disk.qcow2\ninterfaces: [{macvtap: W}]", "image: ./disk.qcow2\ninterfaces: [{network: default, mac: W}]", "image: ./disk.qcow2\ninterfaces: [{network: default, address: W}]",
		"image: ./disk.qcow2\nsecrets: {W: {file: x}}", "image: ./disk.qcow2\nsecrets: {s: {file: W}}", "image: ./disk.qcow2\nsecrets: {s: {env: W}}", "image: ./disk.qcow2\nsecrets: {s: {sops: W}}", "image: ./disk.qcow2\nsecrets: {s: {age: W}}",
		"image: ./disk.qcow2\ncloud-init: {hostname: W}", "image: ./disk.qcow2\ncloud-init: {user: W}", "image: ./disk.qcow2\ncloud-init: {user-data: W}", "image: ./disk.qcow2\ncloud-init: {ssh-keys: [W]}",
		"image: ./disk.qcow2\ndevices: {usb: [W]}", "image: ./disk.qcow2\ndevices: {pci: [W]}", "image: ./disk.qcow2\ngraphics: W", "image: ./disk.qcow2\nxml: [{at: W, add: <x/>}]", "image: ./disk.qcow2\nxml: [{at: devices, add: W}]",
	}
	for _, place := range places {
		for _, word := range bait() {
			word = l.arm(word)
			quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\x00", `\0`, "\x1b", `\e`, "\x07", `\a`).Replace(word) + `"`
			var text string
			if strings.Contains(place, "W/") || strings.Contains(place, "/W") || strings.Contains(place, "#W") {
				// Within a longer word.
				head, tail, _ := strings.Cut(place, ": ")
				if i := strings.LastIndex(place, ": "); i > len(head) {
					head, tail = place[:i], place[i+2:]
				}
				text = head + ": " + strings.Replace(`"`+tail+`"`, "W", quoted[1:len(quoted)-1], 1)
			} else {
				text = strings.Replace(place, "W", quoted, 1)
			}
			l.define("wild", text+"\n")
			code, out, errs := l.run("plan", "wild")
			l.holds("vmctl plan of "+place, word, code, out, errs)
			if t.Failed() {
				return
			}
		}
	}
	assert.Positive(t, l.seen["nix"], "some of it got as far as nix")
}

// TestAVolumeOfAHostileHostReadsNothingHere: what a host that was broken into gives for a volume is
// judged before QEMU sees it, as any image is.
func TestAVolumeOfAHostileHostReadsNothingHere(t *testing.T) {
	l := newLab(t)
	code, _, errs := l.run("volume", "import", "example/d", "disk.qcow2")
	require.Zero(t, code, errs)
	names := l.host.VolumeNames()
	at := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, "d.qcow2") })
	require.GreaterOrEqual(t, at, 0, "%q", names)
	disk, err := os.ReadFile(filepath.Join(l.dir, "disk.qcow2"))
	require.NoError(t, err)
	volumes := l.host.Connect().Volumes
	export := func(content []byte) (int, string) {
		require.NoError(t, volumes.Upload(t.Context(), names[at], bytes.NewReader(content), int64(len(content)), nil))
		code, _, errs := l.run("volume", "export", "--format", "raw", "example/d", "out.raw")
		return code, errs
	}
	_, _ = export(disk)
	require.Contains(t, fmt.Sprint(l.started()), "qemu-img", "else the rest means nothing")

	secret := filepath.Join(l.dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("mine"), 0o600))
	const nameAt = 1024
	backed := slices.Clone(disk)
	binary.BigEndian.PutUint64(backed[8:], nameAt)
	binary.BigEndian.PutUint32(backed[16:], uint32(copy(backed[nameAt:], secret)))
	for why, content := range map[string][]byte{"has a backing file": backed, "is no qcow2": make([]byte, 1<<20)} {
		code, errs := export(content)
		assert.Equal(t, 5, code, errs)
		assert.Contains(t, errs, why)
		assert.Contains(t, errs, "find out who changed it on the host")
		assert.Empty(t, l.started(), "QEMU does not get to see it")
		assert.NoFileExists(t, filepath.Join(l.dir, "out.raw"))
	}
}

// A file that is exchanged between the look at it and its way to the host is not imported.
func TestAFileThatChangesIsNotImported(t *testing.T) {
	l := newLab(t)
	l.host.Before("CreateVolume", func() {
		file, err := os.OpenFile(filepath.Join(l.dir, "disk.qcow2"), os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = file.WriteAt([]byte{0, 0, 0, 0, 0, 0, 2, 0}, 8) // a backing file
		require.NoError(t, err)
		require.NoError(t, file.Close())
	})
	before := l.host.VolumeNames()
	code, _, errs := l.run("volume", "import", "example/d", "disk.qcow2")
	assert.NotZero(t, code)
	assert.Contains(t, errs, "was written to while it was imported")
	assert.Equal(t, before, l.host.VolumeNames())
}

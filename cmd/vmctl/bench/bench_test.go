//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// host is where everything is measured: a private libvirtd and a project with one
// machine whose image is built already.
type host struct {
	t       *testing.T
	vmctl   string
	project string
	env     []string
	dir     string
	// image is the built image; domain and volume are XML files of a machine just like
	// vmctl's own, for virsh.
	image, domain, volume string
}

func TestBench(t *testing.T) {
	testenv.Host(t)
	testenv.Tool(t, "virsh", "virt-install", "qemu-img", "nix", "cp", "ssh")
	h := prepare(t)
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	var rows []row
	var amounts []amount
	few, pusher := min(rounds, 3), sync.OnceValue(h.pusher)
	only := os.Getenv("BENCH_ONLY")
	for _, part := range []struct {
		name    string
		measure func() ([]row, []amount)
	}{
		{"up", func() ([]row, []amount) { return h.up(rounds), nil }},
		{"idle", func() ([]row, []amount) { return h.idle(rounds), nil }},
		{"boot", func() ([]row, []amount) { return []row{h.boots(min(rounds, 5))}, nil }},
		{"many", func() ([]row, []amount) { return h.many(min(rounds, 5)), nil }},
		{"inside", func() ([]row, []amount) { return h.inside(rounds), nil }},
		{"images", func() ([]row, []amount) {
			return []row{h.large(rounds), h.prune(few)}, []amount{h.shared()}
		}},
		{"far", func() ([]row, []amount) { return []row{h.farUp(min(rounds, 5))}, nil }},
		{"hosts", func() ([]row, []amount) { return h.crowded(min(rounds, 5)) }},
		{"upload", func() ([]row, []amount) { return nil, []amount{h.upload("through libvirt", "qemu:///system")} }},
		// What takes longest comes last.
		{"first", func() ([]row, []amount) { return []row{pusher().whole(rounds)}, nil }},
		{"memory", func() ([]row, []amount) { return nil, []amount{pusher().memory()} }},
		{"lines", func() ([]row, []amount) { return pusher().first() }},
		{"rebuilt", func() ([]row, []amount) { return pusher().rebuilt(few) }},
		{"resumed", func() ([]row, []amount) { return []row{pusher().resumed()}, nil }},
	} {
		if only != "" && !slices.Contains(strings.Split(only, ","), part.name) {
			continue
		}
		moreRows, moreAmounts := part.measure()
		rows, amounts = append(rows, moreRows...), append(amounts, moreAmounts...)
		publish(t, rounds, rows, amounts, "")
	}
	if only == "" {
		publish(t, rounds, rows, amounts, os.Getenv("BENCH_README"))
	}
	if file := os.Getenv("BENCH_JSON"); file != "" {
		out, err := os.Create(file)
		require.NoError(t, err)
		require.NoError(t, machineReadable(out, rows, amounts))
		require.NoError(t, out.Close())
	}
}

// publish writes the tables, and into a file when there is one.
func publish(t *testing.T, rounds int, rows []row, amounts []amount, file string) {
	var figures strings.Builder
	require.NoError(t, table(&figures, rows))
	require.NoError(t, amountTable(&figures, amounts))
	t.Log("\n" + figures.String())
	if file != "" {
		testenv.Section(t, file, "bench", fmt.Sprintf(intro, rounds)+figures.String())
	}
}

// intro says what the figures are.
const intro = `Whole processes on one machine with two cores and software emulation, vmctl and the other in turn, up to %d rounds (few where one takes long): median
(least–most) in milliseconds; the ratio is taken round by round. ` + "`go tool task bench`" + ` measures it again.

`

func prepare(t *testing.T) *host {
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	h := &host{t: t, vmctl: filepath.Join(root, "bin", "vmctl"), dir: testenv.Dir(t, "")}
	require.FileExists(t, h.vmctl, "go tool task build makes it")
	h.project = filepath.Join(h.dir, "project")
	for _, part := range []string{"images/tiny", "domain/tiny.yaml"} {
		to := filepath.Join(h.project, filepath.Dir(part))
		require.NoError(t, os.MkdirAll(to, 0o755))
		h.must("cp", "-r", filepath.Join(root, part), to)
	}
	h.env = append(os.Environ(), testenv.Nix(t)...)
	h.env = append(h.env, "HOME="+h.dir, "XDG_CACHE_HOME="+h.dir+"/cache", "XDG_STATE_HOME="+h.dir+"/state", "XDG_RUNTIME_DIR="+h.dir)
	h.must("git", "-C", h.project, "init", "-q")
	h.must("git", "-C", h.project, "add", ".")
	h.image = strings.TrimSpace(h.must(h.vmctl, "-C", h.project, "build", "tiny"))
	h.references()
	return h
}

// references writes the XML of a machine like vmctl's, under another name.
func (h *host) references() {
	h.must(h.vmctl, "-C", h.project, "up", "--no-wait", "tiny")
	h.domain, h.volume = h.like("tiny", "reference")
	h.must(h.vmctl, "-C", h.project, "down", "--force", "tiny")
}

// like writes the XML of a domain and of its root disk that are just like a machine's that
// is up, under another name.
func (h *host) like(machine, name string) (domain, volume string) {
	xml := h.must("virsh", "dumpxml", "--inactive", machine)
	root := regexp.MustCompile(`'([^']*root\.qcow2)'`).FindStringSubmatch(xml)
	require.Len(h.t, root, 2, xml)
	write := func(kind, s string) string {
		s = regexp.MustCompile(`<uuid>[^<]*</uuid>|(?s)<metadata>.*</metadata>|<key>[^<]*</key>|(?s)<timestamps>.*?</timestamps>|<permissions>(?s).*?</permissions>`).ReplaceAllString(s, "")
		s = strings.ReplaceAll(s, "<name>"+machine+"</name>", "<name>"+name+"</name>")
		s = strings.ReplaceAll(s, filepath.Base(root[1]), name+".qcow2")
		s = strings.ReplaceAll(s, "console.log", name+".log")
		path := filepath.Join(h.dir, name+"."+kind+".xml")
		require.NoError(h.t, os.WriteFile(path, []byte(s), 0o644))
		return path
	}
	return write("domain", xml), write("volume", h.must("virsh", "vol-dumpxml", root[1]))
}

func (h *host) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = h.env, h.dir
	return cmd
}

func (h *host) must(argv ...string) string {
	h.t.Helper()
	cmd := h.command(argv...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(h.t, err, "%v\n%s", argv, said.String())
	return string(out)
}

func (h *host) time(argv ...string) run {
	h.t.Helper()
	r, err := timed(h.command(argv...))
	require.NoError(h.t, err)
	return r
}

// up compares bringing a machine up from an image that is built.
func (h *host) up(rounds int) []row {
	var ours, calls, install []run
	copied := filepath.Join(h.dir, "copy.qcow2")
	for range rounds {
		ours = append(ours, h.time(h.vmctl, "-C", h.project, "up", "--no-wait", "tiny"))
		h.must(h.vmctl, "-C", h.project, "down", "--force", "tiny")

		calls = append(calls, h.time("virsh", "vol-create vmctl "+h.volume+"; define "+h.domain+"; start reference"))
		h.must("virsh", "destroy reference; undefine reference; vol-delete --pool vmctl reference.qcow2")

		install = append(install, h.time("sh", "-c", "cp "+h.image+" "+copied+" && chmod 644 "+copied+
			" && exec virt-install --import --name installed --memory 256 --vcpus 1 --disk "+copied+
			" --virt-type qemu --cpu mode=maximum --osinfo linux2022 --network user --graphics none --noautoconsole"))
		// It is a comparison only when both machines run, on the same kind of hardware.
		require.Equal(h.t, "running", strings.TrimSpace(h.must("virsh", "domstate", "installed")))
		h.must("virsh", "destroy installed; undefine installed")
	}
	return []row{
		compare("`up` of a built image", "one `virsh` with vol-create, define, start", "≤ 1.10", ours, calls),
		compare("`up` of a built image", "`cp` + `virt-install --import`", "≤ 0.60", ours, install),
	}
}

// idle compares what a person does while nothing changes.
func (h *host) idle(rounds int) []row {
	h.must(h.vmctl, "-C", h.project, "up", "tiny") // and waits: a guest that boots takes a core
	pairs := []struct {
		what, target string
		vmctl, other []string
	}{
		{"`up` with nothing to do", "≤ 2", []string{"-C", h.project, "up", "tiny"}, []string{"virsh", "domstate", "tiny"}},
		{"`list`", "", []string{"-C", h.project, "list"}, []string{"virsh", "list", "--all"}},
		{"`--help`", "≤ 0.5", []string{"--help"}, []string{"virsh", "--version"}},
		{"`validate`", "≤ 0.5", []string{"-C", h.project, "validate"}, []string{"virsh", "--version"}},
	}
	var rows []row
	for _, p := range pairs {
		var ours, theirs []run
		for range rounds {
			ours = append(ours, h.time(append([]string{h.vmctl}, p.vmctl...)...))
			theirs = append(theirs, h.time(p.other...))
		}
		rows = append(rows, compare(p.what, "`"+strings.Join(p.other, " ")+"`", p.target, ours, theirs))
	}
	h.must(h.vmctl, "-C", h.project, "down", "--force", "tiny")
	return rows
}

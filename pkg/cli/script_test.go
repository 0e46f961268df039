package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/builder"
	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
	"vmctl/pkg/state"
	"vmctl/pkg/ui"
)

const scripts = "testdata/script"

// TestScripts runs the acceptance scripts: vmctl in this process, on a host in memory
// that lives as long as the script.
func TestScripts(t *testing.T) {
	entries, err := os.ReadDir(scripts)
	require.NoError(t, err)
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir: filepath.Join(scripts, entry.Name()), RequireUniqueNames: true, UpdateScripts: *update,
				Setup: setUpScript,
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"vmctl": scriptVmctl, "exits": scriptExits, "host": scriptHost, "disk": scriptDisk, "roots": scriptRoots,
				},
			})
		})
	}
}

// TestEveryScriptRuns fails on files that no test would look at, and on verbs without
// a script.
func TestEveryScriptRuns(t *testing.T) {
	directories := map[string]bool{"vmctl": true}
	for _, v := range commands() {
		directories[v.name] = true
		// A noun's directory holds VERB.txtar and VERB-*.txtar for each of its verbs.
		patterns := []string{"*.txtar"}
		for _, of := range v.verbs {
			patterns = append(patterns, of.name+"*.txtar")
		}
		for _, pattern := range patterns {
			found, err := filepath.Glob(filepath.Join(scripts, v.name, pattern))
			require.NoError(t, err)
			assert.True(t, v.hidden || len(found) > 0, "no script %s/%s", v.name, pattern)
		}
	}
	for _, pattern := range []string{"testdata/*", "testdata/image/*"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range found {
			assert.Contains(t, []string{scripts, "testdata/image", "testdata/image/4M.qcow2", "testdata/image/8M.qcow2"}, path, "no test looks at it")
		}
	}
	require.NoError(t, filepath.WalkDir(scripts, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(scripts, path)
		require.NoError(t, err)
		dir, file := filepath.Split(relative)
		assert.True(t, directories[strings.TrimSuffix(dir, "/")], "%s lies in no verb's directory", path)
		assert.Equal(t, ".txtar", filepath.Ext(file), path)
		return nil
	}))
}

// script is what one script's commands share.
type script struct {
	host *enginetest.Host
	// others are hosts at URIs of their own; nil is one that nobody reaches.
	others map[string]*enginetest.Host
	// dial is why connecting fails, if it does.
	dial error
	// interrupt ends the context of the vmctl that runs.
	interrupt context.CancelCauseFunc
	nix       *fakeNix
	// cut is the method at which the connection breaks.
	cut string
}

type scriptKey struct{}

func setUpScript(env *testscript.Env) error {
	s := &script{nix: &fakeNix{store: filepath.Join(env.WorkDir, "nix", "store"), last: map[string]builder.Result{}}}
	s.use(enginetest.Options{Session: true})
	env.Values[scriptKey{}] = s
	home := filepath.Join(env.WorkDir, ".home")
	env.Setenv("HOME", home)
	env.Setenv("LANG", "C.UTF-8")
	return os.MkdirAll(home, 0o700)
}

// use begins anew with another host.
func (s *script) use(o enginetest.Options) { s.host = newHost(o) }

// newHost is a host on which guests answer as soon as they run.
func newHost(o enginetest.Options) *enginetest.Host {
	host := enginetest.NewHost(o)
	for _, name := range []string{"example", "web", "db"} {
		host.SetGuest(name, enginetest.Guest{Agent: true, Echo: true, Prints: "Linux boots\r\n" + name + " login: "})
	}
	return host
}

// each does something with all hosts.
func (s *script) each(do func(*enginetest.Host)) {
	do(s.host)
	for _, other := range s.others {
		if other != nil {
			do(other)
		}
	}
}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

// took is a duration in what a person is told; done is one of a task, which is left
// out when it was short.
var (
	took = regexp.MustCompile(`\b(in|after) [0-9][0-9.hms]*s\b`)
	done = regexp.MustCompile(`: done in [0-9][0-9.hms]*s\b`)
)

// quick makes of a task that took long, and was told of when it began and when it was
// done, one that did not: how fast the machine is must not show.
func quick(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		task, detail, slow := strings.Cut(line, ": done: ")
		if slow {
			line = task + ": " + detail
		}
		begun := strings.TrimSuffix(line, ": done\n") + "\n"
		if slow {
			begun = line
		}
		if i := slices.Index(kept, begun); i >= 0 && (slow || begun != line) {
			kept = slices.Delete(kept, i, i+1)
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

func (s *script) run(ts *testscript.TestScript, args []string) int {
	work := ts.Getenv("WORK")
	for i := range args {
		args[i] = strings.NewReplacer(`\n`, "\n", `\e`, "\x1b").Replace(args[i])
	}
	var stdin io.Reader = strings.NewReader(ts.Getenv("INPUT"))
	var out, errs bytes.Buffer
	var stdout io.Writer = &out
	if ts.Getenv("CLOSED") != "" {
		stdout = brokenPipe{}
	}
	columns, _ := strconv.Atoi(ts.Getenv("WIDTH"))
	streams := ui.Fixed(stdin, stdout, &errs, columns)
	streams.Getenv = ts.Getenv
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s.interrupt = cancel
	cwd := ts.MkAbs(".")
	code := Main(ctx, args, &Deps{
		PassphraseWork: 10,
		Version:        "1.2.3", Streams: streams, Terminal: streams.Out, Root: ts.Getenv("ROOT") != "",
		Getwd: func() (string, error) { return cwd, nil },
		OpenHost: func(_ context.Context, uri, _ string, _ func(bool)) (*engine.Host, io.Closer, error) {
			if s.dial != nil {
				return nil, nil, s.dial
			}
			at, other := s.others[uri]
			switch {
			case !other:
				at = s.host
			case at == nil:
				return nil, nil, fault.New(fault.Unreachable, "cannot connect to %s: the host does not answer", uri)
			}
			host := at.Connect()
			host.URI = uri
			return host, io.NopCloser(nil), nil
		},
		Now: func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) },
		// Without it an upload has the same name in each run.
		Token: func(state.Dirs, string) engine.Token { return engine.Token{} },
		Images: func(_ state.Dirs, sink progress.Sink, _ *slog.Logger) Images {
			s.nix.tell(sink)
			return s.nix
		},
	})
	for _, stream := range []struct {
		to   io.Writer
		text string
	}{{ts.Stdout(), out.String()}, {ts.Stderr(), errs.String()}} {
		text := strings.ReplaceAll(stream.text, work, "$WORK")
		text = done.ReplaceAllString(text, ": done")
		_, err := io.WriteString(stream.to, quick(took.ReplaceAllString(text, "$1 TIME")))
		ts.Check(err)
	}
	return code
}

// scriptVmctl runs vmctl, which has to succeed, or with ! to fail.
func scriptVmctl(ts *testscript.TestScript, neg bool, args []string) {
	code := scriptOf(ts).run(ts, args)
	if (code != 0) != neg {
		ts.Fatalf("vmctl exits with %d", code)
	}
}

// scriptExits runs vmctl, which has to end with a code: exits CODE ARGS...
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	if code := scriptOf(ts).run(ts, args[1:]); strconv.Itoa(code) != args[0] {
		ts.Fatalf("vmctl exits with %d and not with %s", code, args[0])
	}
}

// scriptHost does something to the host, see the switch.
func scriptHost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: host WHAT ARGS...")
	}
	s := scriptOf(ts)
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch args[0] {
	case "system":
		s.use(enginetest.Options{})
	case "nokvm":
		s.use(enginetest.Options{Session: true, Capabilities: engine.Capabilities{
			Arch: "x86_64", NoKVM: "/dev/kvm is there, but the CPU has neither vmx nor svm",
		}})
	case "remote":
		s.use(enginetest.Options{Remote: true})
	case "unreachable": // nobody listens from now on
		s.dial = fault.New(fault.Unreachable, "cannot connect to qemu:///session: libvirt is not running there").
			WithHint("start it: systemctl start libvirtd")
	case "other": // URI: a host of its own
		s.others = maps.Collect(maps.All(s.others))
		s.others[arg(1)] = newHost(enginetest.Options{Remote: true, URI: arg(1)})
	case "gone": // URI: nobody reaches it
		s.others = maps.Collect(maps.All(s.others))
		s.others[arg(1)] = nil
	case "foreign": // NAME: a domain that vmctl did not make
		s.host.PlantDomain(engine.Domain{Name: arg(1), UUID: "c7a5fdbd-edaf-9455-926a-d65c16db1809", State: engine.StateRunning, Memory: spec.GiB, CPUs: 1})
	case "fail": // METHOD [KIND]: the next call fails
		s.host.Fail(arg(1), 1, fault.New(kindOf(ts, arg(2)), "planted failure of %s", arg(1)))
	case "interrupt": // METHOD: Ctrl-C arrives with the next call
		s.host.Before(arg(1), func() { s.interrupt(errors.New("a signal")) })
	case "cut": // METHOD: the connection breaks with the next call
		s.cut = arg(1)
		s.host.Before(s.cut, s.host.Cut)
	case "lose": // METHOD: the connections to all hosts break with the next call on this one
		s.cut = arg(1)
		s.host.Before(s.cut, func() { s.each((*enginetest.Host).Cut) })
	case "mend":
		s.host.Before(s.cut, nil)
		s.each((*enginetest.Host).Mend)
	case "poweroff":
		s.host.PowerOff(arg(1))
	case "suspend": // NAME: somebody pauses it
		s.host.Suspend(arg(1))
	case "vanish": // NAME: somebody undefines it and removes its root disk
		s.host.PowerOff(arg(1))
		ts.Check(s.host.UndefineDomain(context.Background(), arg(1)))
		ts.Check(s.host.DeleteVolume(context.Background(), engine.RootVolume(arg(1))))
		ts.Check(s.host.DeleteVolume(context.Background(), engine.LogVolume(arg(1))))
	case "newer": // NAME: a newer vmctl has made it what it is
		d, err := s.host.Domain(context.Background(), arg(1))
		ts.Check(err)
		d.Record.Version++
		s.host.PlantDomain(*d)
	case "aside": // NAME TEXT: what was put aside of its console's log
		s.host.PlantVolume(engine.Volume{Name: engine.LogVolume(arg(1)) + ".0", Format: "raw"}, []byte(strings.ReplaceAll(arg(2), `\n`, "\r\n")))
	case "print": // NAME TEXT
		s.host.Print(arg(1), strings.NewReplacer(`\n`, "\r\n", `\e`, "\x1b").Replace(arg(2)))
	case "taken": // NAME: prints what the guest took when it was handed secrets last
		for r := tar.NewReader(bytes.NewReader(s.host.Taken(arg(1)))); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			content, err := io.ReadAll(r)
			ts.Check(err)
			if strings.HasPrefix(h.Name, "ssh/") {
				content = []byte("…")
			}
			_, err = fmt.Fprintf(ts.Stdout(), "%s %s\n", h.Name, bytes.TrimSpace(content))
			ts.Check(err)
		}
	case "guest": // NAME obeys|takes|stubborn|silent|ADDRESS: how it behaves from its next boot on
		switch arg(2) {
		case "obeys":
			s.host.SetGuest(arg(1), enginetest.Guest{Agent: true})
		case "takes":
			s.host.SetGuest(arg(1), enginetest.Guest{Agent: true, TakesSecrets: true})
		case "stubborn":
			s.host.SetGuest(arg(1), enginetest.Guest{IgnoresShutdown: true})
		case "silent":
			s.host.SetGuest(arg(1), enginetest.Guest{})
		default:
			s.host.SetGuest(arg(1), enginetest.Guest{Agent: true, Addresses: args[2:]})
		}
	case "changes": // prints what was changed since the last time
		_, err := io.WriteString(ts.Stdout(), lines(s.host.Changes()))
		ts.Check(err)
		s.host.Forget()
	case "reserved": // NETWORK: prints the addresses that it keeps
		for _, r := range s.host.Reserved(arg(1)) {
			_, err := fmt.Fprintln(ts.Stdout(), r.Address, r.MAC)
			ts.Check(err)
		}
	case "left": // prints the domains and volumes there are
		_, err := io.WriteString(ts.Stdout(), lines(append(s.host.DomainNames(), s.host.VolumeNames()...)))
		ts.Check(err)
	default:
		ts.Fatalf("host cannot %s", args[0])
	}
}

func lines(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, "\n") + "\n"
}

func kindOf(ts *testscript.TestScript, word string) fault.Kind {
	for kind := fault.Other; kind <= fault.Interrupted; kind++ {
		if ui.KindName(kind) == word {
			return kind
		}
	}
	if word != "" {
		ts.Fatalf("there is no kind of error %s", word)
	}
	return fault.Other
}

// scriptDisk makes a disk image: disk SIZE FILE.
func scriptDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: disk 4M|8M FILE")
	}
	data, err := os.ReadFile(filepath.Join("testdata", "image", args[0]+".qcow2"))
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[1])), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
}

// scriptRoots prints what the garbage collection roots of all machines lead to.
func scriptRoots(ts *testscript.TestScript, neg bool, _ []string) {
	var targets []string
	root := filepath.Join(ts.Getenv("HOME"), ".local/state/vmctl/gcroots")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			ts.Check(err)
			targets = append(targets, filepath.Base(filepath.Dir(path))+" "+strings.ReplaceAll(target, ts.Getenv("WORK"), "$WORK"))
		}
		return nil
	})
	slices.Sort(targets)
	if neg && len(targets) > 0 {
		ts.Fatalf("there are roots: %s", targets)
	}
	_, err := io.WriteString(ts.Stdout(), lines(targets))
	ts.Check(err)
}

// brokenPipe is a standard output that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

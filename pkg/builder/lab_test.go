package builder

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vmctl/pkg/progress"
	"vmctl/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a sink that keeps what it gets.
type recorder struct {
	mu     sync.Mutex
	events []progress.Event
	// on is called with each event.
	on func(progress.Event)
}

func (r *recorder) Emit(e progress.Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	on := r.on
	r.mu.Unlock()
	if on != nil {
		on(e)
	}
}

func (r *recorder) of(status progress.Status) (events []progress.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Status == status {
			events = append(events, e)
		}
	}
	return events
}

// lab is a project with one flake, a private nix store, and a nix that counts how
// often it is called.
type lab struct {
	*Builder
	t        testing.TB
	project  string
	flake    string
	calls    string
	env      []string
	recorder *recorder
}

const flakeDir = "images/test"

// drv is a derivation's text: a shell script that makes $out.
func drv(name, script string, more ...string) string {
	return fmt.Sprintf(`derivation { name = %q; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/usr/bin:/bin"; args = [ "-c" %q ]; %s }`,
		name, script, strings.Join(more, " "))
}

// goodScript writes what make-disk-image writes.
const goodScript = `echo running nixos-install...; mkdir -p $out/nix-support; echo QFI > $out/nixos.qcow2; ` +
	`echo file qcow2-image $out/nixos.qcow2 > $out/nix-support/hydra-build-products; echo last line`

// flakeOf makes a flake.nix with configurations.
func flakeOf(configurations map[string]string) string {
	var b strings.Builder
	b.WriteString("{\n  outputs = { self }: {\n")
	for name, value := range configurations {
		fmt.Fprintf(&b, "    nixosConfigurations.%q.config.system.build.qcow2 = %s;\n", name, value)
	}
	b.WriteString("  };\n}\n")
	return b.String()
}

func goodFlake() string { return flakeOf(map[string]string{"build-qcow2": drv("image", goodScript)}) }

func newLab(t testing.TB, files map[string]string) *lab {
	t.Helper()
	testenv.Tool(t, "nix", "git")
	base, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	program, err := exec.LookPath("nix")
	require.NoError(t, err)
	l := &lab{
		t: t, project: filepath.Join(base, "project"), flake: filepath.Join(base, "project", flakeDir),
		calls: filepath.Join(base, "calls"), recorder: &recorder{},
	}
	bin := filepath.Join(base, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "nix"),
		fmt.Appendf(nil, "#!/bin/sh\necho \"$*\" >> %s\nexec %s \"$@\"\n", l.calls, program), 0o755))
	l.env = append(testenv.NixIn(t, filepath.Join(base, "nix")),
		"HOME="+filepath.Join(base, "home"), "XDG_CACHE_HOME=", "XDG_CONFIG_HOME=",
		"PATH="+bin+":"+os.Getenv("PATH"))
	// nix makes its store read-only, and the test's directory must go.
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", filepath.Join(base, "nix")).Run() })
	l.Builder = New(Options{CacheDir: filepath.Join(base, "cache"), Env: l.env, Sink: l.recorder})
	for name, text := range files {
		l.write(filepath.Join(flakeDir, name), text)
	}
	return l
}

func (l *lab) ref() Ref {
	return Ref{Flake: l.flake, Display: flakeDir, Machine: "test", TaskID: "test/build"}
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	path := filepath.Join(l.project, name)
	require.NoError(l.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(l.t, os.WriteFile(path, []byte(text), 0o644))
}

// git runs git in the project; "init" makes the repository with everything tracked.
func (l *lab) git(args ...string) {
	l.t.Helper()
	if args[0] == "init" {
		l.git("-c", "init.defaultBranch=main", "init", "-q", "--", ".")
		args = []string{"add", "-A"}
	}
	cmd := exec.CommandContext(l.t.Context(), "git", args...)
	cmd.Dir = l.project
	out, err := cmd.CombinedOutput()
	require.NoError(l.t, err, string(out))
}

// runs is how often nix was started.
func (l *lab) runs() int {
	text, _ := os.ReadFile(l.calls)
	return strings.Count(string(text), "\n")
}

func (l *lab) build(ref Ref) (Result, error) {
	return l.Build(l.t.Context(), ref, "", false)
}

// nix runs one of nix's programs in the lab's store.
func (l *lab) nix(name string, args ...string) string {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), name, args...)
	cmd.Env = append(os.Environ(), l.env...)
	out, err := cmd.CombinedOutput()
	require.NoError(l.t, err, string(out))
	return string(out)
}

// traces says that nix showed a trace without being asked, as newer versions do.
func (e *Error) traces() bool { return strings.Contains(e.Raw, "\n       … ") }

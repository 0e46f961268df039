package builder

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

func TestBuildInRepository(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	l.git("init")
	res, err := l.build(l.ref())
	require.NoError(t, err)
	assert.Equal(t, "nixosConfigurations.build-qcow2.config.system.build.qcow2", res.Attr)
	assert.Equal(t, filepath.Join(res.OutPath, "nixos.qcow2"), res.Path)
	assert.FileExists(t, res.Path)
	assert.True(t, strings.HasSuffix(res.Drv, "-image.drv"), res.Drv)
	assert.False(t, res.Cached)
	assert.Equal(t, "x86_64", res.Arch)

	events := l.recorder.events
	assert.Equal(t, progress.Working, events[0].Status)
	last := events[len(events)-1]
	assert.Equal(t, progress.Event{ID: "test/build", Text: "build images/test", Status: progress.Done, Detail: res.Path}, last)
	var details []string
	for _, e := range l.recorder.of(progress.Working) {
		details = append(details, e.Detail)
		assert.LessOrEqual(t, e.Current, e.Total)
	}
	assert.Contains(t, details, "image: installing the system")
	working := l.recorder.of(progress.Working)
	assert.Equal(t, int64(1), working[len(working)-1].Total)
	var lines []string
	for _, e := range l.recorder.of(progress.Log) {
		lines = append(lines, e.Detail)
	}
	assert.Contains(t, lines, "last line")
	assert.NoFileExists(t, filepath.Join(l.flake, "flake.lock"))
	assert.NoFileExists(t, filepath.Join(l.flake, "result"))
}

func TestBuildChoosesAttribute(t *testing.T) {
	good := drv("image", goodScript)
	for name, test := range map[string]struct {
		names []string
		attr  string
		want  string
		err   string
	}{
		"walk-through's":  {names: []string{"build-qcow2", "test", "a"}, want: "build-qcow2"},
		"the machine's":   {names: []string{"a", "test"}, want: "test"},
		"the only one":    {names: []string{"a"}, want: "a"},
		"named":           {names: []string{"a", "b"}, attr: "b", want: "b"},
		"named in quotes": {names: []string{"a", "b.c"}, attr: `"b.c"`, want: `"b.c"`},
		"none fits": {
			names: []string{"b", "a"},
			err:   "images/test has several nixosConfigurations and none is called build-qcow2 or test: a, b",
		},
		"misspelt": {names: []string{"web", "mail", "example"}, attr: "exmaple", err: "images/test has no nixosConfigurations.exmaple; it has example, mail, web"},
		"none":     {err: "images/test has no nixosConfigurations to build an image from"},
		"path":     {names: []string{"a"}, attr: "nixosConfigurations.a.config.system.build.raw", err: "nixosConfigurations.a of images/test has no config.system.build.raw, so there is no image to build"},
		"package":  {names: []string{"a"}, attr: "packages.image", err: "images/test has no attribute packages.image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			configurations := map[string]string{}
			for _, name := range test.names {
				configurations[name] = good
			}
			l := newLab(t, map[string]string{"flake.nix": flakeOf(configurations)})
			ref := l.ref()
			ref.Attr = test.attr
			res, err := l.build(ref)
			if test.err != "" {
				require.EqualError(t, err, test.err)
				assert.Equal(t, fault.NotFound, fault.KindOf(err))
				assert.NotEmpty(t, fault.HintOf(err))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "nixosConfigurations."+test.want+".config.system.build.qcow2", res.Attr)
		})
	}
}

func TestBuildRefusesBeforeNix(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake(), "sub/other.nix": "1", "a b/flake.nix": goodFlake()})
	for name, test := range map[string]struct {
		ref  Ref
		text string
		kind fault.Kind
	}{
		"no directory": {Ref{Flake: l.flake + "/gone", Display: "x"}, "there is no directory x to build the image from", fault.NotFound},
		"not a flake":  {Ref{Flake: l.flake + "/sub", Display: "images/test/sub"}, "images/test/sub is not a flake: it holds no readable flake.nix", fault.NotFound},
		"a file":       {Ref{Flake: l.flake + "/flake.nix", Display: "f"}, "f is not the directory of a flake", fault.Invalid},
		"option":       {Ref{Flake: "--impure"}, `"--impure" is not the directory or URL of a flake`, fault.Invalid},
		"fragment":     {Ref{Flake: "github:a/b#c"}, `"github:a/b#c" is not the directory or URL of a flake`, fault.Invalid},
		"empty":        {Ref{}, `"" is not the directory or URL of a flake`, fault.Invalid},
		"space":        {Ref{Flake: l.flake + "/a b"}, "nix cannot read a flake below a path with spaces or special characters: " + strconv.Quote(l.flake+"/a b"), fault.Build},
		"injection":    {Ref{Flake: l.flake, Attr: `a" or "b`}, `"a\" or \"b" is not the name of a flake's attribute`, fault.Invalid},
		"empty name":   {Ref{Flake: l.flake, Attr: "a..b"}, `"a..b" is not the name of a flake's attribute`, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := l.build(test.ref)
			require.EqualError(t, err, test.text)
			assert.Equal(t, test.kind, fault.KindOf(err))
			assert.NotEmpty(t, fault.HintOf(err))
		})
	}
	assert.Zero(t, l.runs())
}

func TestBuildWithoutNix(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	b := New(Options{Env: []string{"PATH=" + t.TempDir()}})
	_, err := b.Build(t.Context(), l.ref(), "", false)
	require.EqualError(t, err, "nix is needed to build an image: nix is not installed, or not in PATH")
	assert.Equal(t, fault.Build, fault.KindOf(err))
	assert.Contains(t, fault.HintOf(err), "https://nixos.org/download")
	_, err = b.Version(t.Context())
	require.EqualError(t, err, "nix is needed to build an image: nix is not installed, or not in PATH")
}

func TestBuildFailureShowsTheLog(t *testing.T) {
	script := `for i in $(seq 1 300); do echo line $i; done; printf 'bad \033[31mthing\033[0m\n' >&2; exit 3`
	l := newLab(t, map[string]string{"flake.nix": flakeOf(map[string]string{"test": drv("image", script)})})
	_, err := l.build(l.ref())
	var failed *Error
	require.ErrorAs(t, err, &failed)
	require.EqualError(t, err, "images/test could not be built: image failed with exit code 3")
	assert.Equal(t, fault.Build, fault.KindOf(err))
	assert.Len(t, failed.LogTail, shownLogLines)
	assert.Equal(t, "bad thing", failed.LogTail[shownLogLines-1])
	assert.Contains(t, failed.Details(), "the end of the log of image:\n  | line 282\n")
	assert.Contains(t, failed.Hint(), "nix log "+failed.Drv)
	require.Len(t, l.recorder.of(progress.Failed), 1)
	assert.Equal(t, err, l.recorder.of(progress.Failed)[0].Err)
}

func TestBuildFailureOfADependency(t *testing.T) {
	dep := drv("kernel", `echo no config; exit 5`)
	l := newLab(t, map[string]string{"flake.nix": flakeOf(map[string]string{"test": drv("image", goodScript, "dep = ", dep, ";")})})
	_, err := l.build(l.ref())
	require.EqualError(t, err, "images/test could not be built: kernel failed with exit code 5")
	var failed *Error
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, []string{"no config"}, failed.LogTail)
	assert.Contains(t, failed.Drv, "-kernel.drv")
}

func TestBuildErrorsHavePositions(t *testing.T) {
	for name, test := range map[string]struct {
		git   bool
		files map[string]string
		want  string
		lines string
		hint  string
		// traced is the place that a nix adds which shows a trace without being asked.
		traced, tracedLines string
	}{
		"syntax": {
			files: map[string]string{"flake.nix": "{\n  outputs = { self }: {\n    x = 1\n    y = 2;\n  };\n}\n"},
			want:  "images/test could not be built: syntax error, unexpected '=', expecting ';' (images/test/flake.nix:4:7)",
			lines: " --> images/test/flake.nix:4:7\n 4 |     y = 2;\n   |       ^",
			hint:  "correct the line",
		},
		"undefined variable in a repository": {
			git: true,
			files: map[string]string{
				"flake.nix":         "{ outputs = { self }: import ./configuration.nix; }\n",
				"configuration.nix": "{\n\tnixosConfigurations.test.config.system.build.qcow2 = foo;\n}\n",
			},
			want:  "images/test could not be built: undefined variable 'foo' (images/test/configuration.nix:2:55)",
			lines: " --> images/test/configuration.nix:2:55\n 2 | \tnixosConfigurations.test.config.system.build.qcow2 = foo;\n   | \t" + strings.Repeat(" ", 53) + "^",
			hint:  "correct the name, or bring it in with `let`, `inherit` or an argument",
		},
		"untracked": {
			git:   true,
			files: map[string]string{"flake.nix": "{ outputs = { self }: { nixosConfigurations = import ./extra.nix; }; }\n"},
			want:  "images/test could not be built: it uses images/test/extra.nix, which git does not track, and nix sees only what git tracks",
			hint:  "git add -N images/test/extra.nix",

			traced:      "images/test/flake.nix:1:47",
			tracedLines: " --> images/test/flake.nix:1:47\n 1 | { outputs = { self }: { nixosConfigurations = import ./extra.nix; }; }\n   |                                               ^",
		},
		"untracked flake.nix": {
			git:   true,
			files: map[string]string{"other.nix": ""},
			want:  "images/test could not be built: it uses images/test/flake.nix, which git does not track, and nix sees only what git tracks",
			hint:  "git add -N images/test/flake.nix",
		},
		"absent": {
			files: map[string]string{"flake.nix": "{ outputs = { self }: { nixosConfigurations = import ./missing.nix; }; }\n"},
			want:  "images/test could not be built: it uses images/test/missing.nix, which does not exist",
			hint:  "create the file, or correct the path",

			traced:      "images/test/flake.nix:1:47",
			tracedLines: " --> images/test/flake.nix:1:47\n 1 | { outputs = { self }: { nixosConfigurations = import ./missing.nix; }; }\n   |                                               ^",
		},
		"absent in a repository": {
			git:   true,
			files: map[string]string{"flake.nix": "{ outputs = { self }: { nixosConfigurations = import ./missing.nix; }; }\n"},
			want:  "images/test could not be built: it uses images/test/missing.nix, which does not exist",
			hint:  "create the file, or correct the path",

			traced:      "images/test/flake.nix:1:47",
			tracedLines: " --> images/test/flake.nix:1:47\n 1 | { outputs = { self }: { nixosConfigurations = import ./missing.nix; }; }\n   |                                               ^",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, test.files)
			if test.git {
				l.git("init")
			}
			l.write(flakeDir+"/extra.nix", "{}")
			if test.files["flake.nix"] == "" {
				l.write(flakeDir+"/flake.nix", goodFlake())
			}
			_, err := l.build(l.ref())
			var failed *Error
			require.ErrorAs(t, err, &failed)
			lines := test.lines
			if test.traced != "" && failed.traces() {
				test.want += " (" + test.traced + ")"
				lines = test.tracedLines
			}
			require.EqualError(t, err, test.want)
			assert.Equal(t, lines, strings.Trim(failed.Details(), "\n"))
			assert.Equal(t, test.hint, failed.Hint())
		})
	}
}

func TestBuildInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	l := newLab(t, map[string]string{"flake.nix": flakeOf(map[string]string{
		"test": drv("image", "echo $$ > "+file+"; echo sleeping; sleep 1000 & wait"),
	})})
	ctx, cancel := context.WithCancel(t.Context())
	l.recorder.on = func(e progress.Event) {
		if e.Status == progress.Log && e.Detail == "sleeping" {
			cancel()
		}
	}
	roots := filepath.Join(t.TempDir(), "roots")
	_, err := l.Build(ctx, l.ref(), roots, false)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, fault.Interrupted, fault.KindOf(err))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	builder := strings.TrimSpace(string(text))
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + builder + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 20*time.Second, 5*time.Millisecond, "nix's builder must not outlive the interruption")
	require.NoError(t, KeepRoots(roots))
	assert.NoDirExists(t, roots)
}

func TestBuildVersion(t *testing.T) {
	l := newLab(t, nil)
	v, err := l.Version(t.Context())
	require.NoError(t, err)
	assert.Contains(t, v.Text, "nix")
	assert.Positive(t, v.Major)
}

// nix remembers that the evaluation of a commit failed, but not why.
func TestBuildFailureOfACommitTwice(t *testing.T) {
	l := newLab(t, nil)
	text := flakeOf(map[string]string{"test": `{ type = "derivation"; drvPath = builtins.throw "no luck"; name = "x"; outputName = "out"; outPath = "/x"; }`})
	column := strings.Index(strings.Split(text, "\n")[2], "builtins.throw") + 1
	l.write(flakeDir+"/flake.nix", text)
	l.git("init")
	l.git("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "one")
	for range 3 {
		_, err := l.build(l.ref())
		var failed *Error
		require.ErrorAs(t, err, &failed)
		want := "images/test could not be built: no luck"
		if failed.traces() {
			want += " (images/test/flake.nix:3:" + strconv.Itoa(column) + ")"
		}
		require.EqualError(t, err, want)
	}
}

func TestBuildForAnotherSystem(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": flakeOf(map[string]string{
		"test": strings.Replace(drv("image", goodScript), "x86_64-linux", "riscv64-linux", 1),
		"kvm":  drv("image", goodScript, `requiredSystemFeatures = [ "no-such-feature" ];`),
		"both": strings.Replace(drv("image", goodScript, `requiredSystemFeatures = [ "no-such-feature" ];`), "x86_64-linux", "riscv64-linux", 1),
	})})
	_, err := l.build(l.ref())
	require.EqualError(t, err, "images/test could not be built: it is for riscv64-linux, and this machine is x86_64-linux")
	assert.Contains(t, fault.HintOf(err), "remote builder for riscv64-linux")
	ref := l.ref()
	ref.Attr = "kvm"
	_, err = l.build(ref)
	require.EqualError(t, err, "images/test could not be built: building it needs a machine with the features no-such-feature")
	ref.Attr = "both"
	_, err = l.build(ref)
	require.EqualError(t, err, "images/test could not be built: it is for riscv64-linux, and this machine is x86_64-linux")
}

func TestTwoBuildsAtOnce(t *testing.T) {
	l := newLab(t, map[string]string{"flake.nix": goodFlake()})
	roots := filepath.Join(t.TempDir(), "roots")
	// Two processes that make one fresh store trip over each other in nix itself.
	_, err := l.build(l.ref())
	require.NoError(t, err)
	type answer struct {
		res Result
		err error
	}
	answers := make(chan answer)
	for range 4 {
		go func() {
			res, err := l.Build(t.Context(), l.ref(), roots, true)
			answers <- answer{res, err}
		}()
	}
	for range 4 {
		a := <-answers
		require.NoError(t, a.err)
		assert.FileExists(t, a.res.Path)
		assert.NotEmpty(t, rootsOf(roots, a.res.OutPath))
	}
}

func BenchmarkNothingToDo(b *testing.B) {
	l := newLab(b, map[string]string{"flake.nix": goodFlake()})
	l.git("init")
	_, err := l.build(l.ref())
	require.NoError(b, err)
	for b.Loop() {
		res, err := l.build(l.ref())
		if err != nil || !res.Cached {
			b.Fatal(err)
		}
	}
}

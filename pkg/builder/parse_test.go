package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"nix (Nix) 2.8.0\n":                     {"nix (Nix) 2.8.0", Nix, 2, 8},
		"nix (Nix) 2.36.0pre20260801_abcdef":    {"nix (Nix) 2.36.0pre20260801_abcdef", Nix, 2, 36},
		"nix (Lix, like Nix) 2.91.1\nSystem: x": {"nix (Lix, like Nix) 2.91.1", Lix, 2, 91},
		"nix (Determinate Nix 3.6.2) 2.29.0":    {"nix (Determinate Nix 3.6.2) 2.29.0", Determinate, 2, 29},
		"nix (Nix) 99999999999999999999.1":      {"nix (Nix) 99999999999999999999.1", Nix, 999999, 1},
	} {
		v, ok := parseVersion(text)
		if strings.Contains(text, "9999999") {
			assert.NotPanics(t, func() { parseVersion(text) })
			continue
		}
		assert.True(t, ok, text)
		assert.Equal(t, want, v)
	}
	for _, text := range []string{"", "bash 5.2", "nix"} {
		_, ok := parseVersion(text)
		assert.False(t, ok, text)
	}
}

func TestVersionRefuses(t *testing.T) {
	for name, test := range map[string]struct{ says, text string }{
		"old":     {"nix (Nix) 2.7.0", "nix (Nix) 2.7.0 is too old: vmctl needs nix 2.8 or newer"},
		"another": {"nixie 1", `%s --version does not answer as nix does: "nixie 1"`},
	} {
		t.Run(name, func(t *testing.T) {
			nix := filepath.Join(t.TempDir(), "nix")
			require.NoError(t, os.WriteFile(nix, []byte("#!/bin/sh\necho '"+test.says+"'\n"), 0o755))
			_, err := New(Options{Nix: nix}).Version(t.Context())
			require.EqualError(t, err, strings.ReplaceAll(test.text, "%s", nix))
			assert.Equal(t, fault.Build, fault.KindOf(err))
			assert.NotEmpty(t, fault.HintOf(err))
		})
	}
}

func TestArgv(t *testing.T) {
	b := New(Options{})
	assert.Equal(t, []string{
		"--extra-experimental-features", "nix-command flakes", "eval", "--json", "--no-accept-flake-config", "--no-write-lock-file", "--no-warn-dirty",
		"--log-format", "internal-json", "--", "x#y",
	}, b.argv("eval", nil, "x#y"))
	b = New(Options{Settings: map[string]string{"substitute": "false", "sandbox": "false"}})
	assert.Equal(t, []string{
		"--extra-experimental-features", "nix-command flakes", "build", "--json", "--no-accept-flake-config", "--no-write-lock-file", "--no-warn-dirty",
		"--option", "sandbox", "false", "--option", "substitute", "false", "--no-link",
		"--log-format", "internal-json", "--", "-x",
	}, b.argv("build", []string{"--no-link"}, "-x"))
}

func TestParseAttr(t *testing.T) {
	for text, want := range map[string]string{
		"web":                       "web",
		"a.b":                       "a.b",
		`"a.b".c`:                   `"a.b".c`,
		"packages.x86_64-linux.1st": `packages.x86_64-linux."1st"`,
		"it's":                      "it's",
	} {
		path, err := parseAttr(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, path.String())
	}
	for _, text := range []string{"", ".", "a.", ".a", `"a`, `a"b" c`, "a#b", "a$b", "${x}", "a^b", "a%41", "a\nb", `a\"b`, "a;b", strings.Repeat("a", 201)} {
		_, err := parseAttr(text)
		assert.Error(t, err, "%q", text)
		assert.Equal(t, fault.Invalid, fault.KindOf(err))
	}
}

func FuzzParseAttr(f *testing.F) {
	f.Add(`a."b.c".d`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, text string) {
		path, err := parseAttr(text)
		if err != nil {
			return
		}
		again, err := parseAttr(path.String())
		require.NoError(t, err)
		assert.Equal(t, path, again)
		assert.NotRegexp(t, `[\\#$%^?\s;]`, path.String())
	})
}

func TestParseBuilt(t *testing.T) {
	for text, want := range map[string][2]string{
		`[{"drvPath":"/s/a.drv","outputs":{"out":"/s/a"}}]`:                                     {"/s/a.drv", "/s/a"},
		`[{"drvPath":"/s/a.drv","outputs":{"doc":"/s/d","out":"/s/a"},"startTime":1,"new":{}}]`: {"/s/a.drv", "/s/a"},
		`[{"drvPath":"/s/a.drv","outputs":{"image":"/s/i"}}]`:                                   {"/s/a.drv", "/s/i"},
	} {
		drv, out, err := parseBuilt([]byte(text))
		require.NoError(t, err)
		assert.Equal(t, want, [2]string{drv, out})
	}
	for _, text := range []string{"", "{", "[]", "[{},{}]", `[{"outputs":{"out":"relative"}}]`, `[{"outputs":{"a":"/x","b":"/y"}}]`} {
		_, _, err := parseBuilt([]byte(text))
		assert.Error(t, err, text)
	}
}

func TestTrackerProgress(t *testing.T) {
	r := &recorder{}
	tr := newTracker(r, Ref{Flake: "/f", TaskID: "t"})
	for _, line := range []string{
		`@nix {"action":"start","id":1,"level":0,"text":"","type":102}`,
		`@nix {"action":"start","id":2,"level":0,"text":"","type":104}`,
		`@nix {"action":"start","fields":["https://cache.nixos.org/nar/x"],"id":3,"level":0,"text":"","type":101}`,
		`@nix {"action":"result","fields":[101,1000],"id":1,"type":106}`,
		`@nix {"action":"result","fields":[400,1000,0,0],"id":3,"type":105}`,
		`@nix {"action":"stop","id":3}`,
		`@nix {"action":"result","fields":[0,2,1,0],"id":2,"type":105}`,
		`@nix {"action":"start","fields":["/nix/store/` + someHash + `-linux.drv","",1,1],"id":4,"level":3,"text":"","type":105}`,
		`@nix {"action":"result","fields":["buildPhase"],"id":4,"type":104}`,
		`@nix {"action":"result","fields":["\u001b[1m  CC   main.o\u001b[0m"],"id":4,"type":101}`,
		`@nix {"action":"result","fields":[1,2,0,0],"id":2,"type":105}`,
	} {
		tr.line(line)
	}
	var got []string
	for _, e := range r.of(progress.Working) {
		got = append(got, fmt.Sprintf("%d/%d %d %s", e.Current, e.Total, e.Unit, e.Detail))
	}
	assert.Equal(t, []string{
		"0/0 0 evaluating the flake",
		"0/0 0 downloading https://cache.nixos.org/nar/x",
		"0/1000 1 downloading https://cache.nixos.org/nar/x",
		"400/1000 1 downloading https://cache.nixos.org/nar/x",
		"0/2 0 downloading https://cache.nixos.org/nar/x",
		"0/2 0 linux",
		"0/2 0 linux: build",
		"0/2 0 linux: CC   main.o",
		"1/2 0 linux: CC   main.o",
	}, got)
}

// While things are built and fetched at once, both are shown; of a disk image the step and
// the last line.
func TestTrackerShowsAllOfIt(t *testing.T) {
	r := &recorder{}
	tr := newTracker(r, Ref{Flake: "/f", TaskID: "t"})
	for _, line := range []string{
		`@nix {"action":"start","id":2,"level":0,"text":"","type":104}`,
		`@nix {"action":"result","fields":[0,2,1,0],"id":2,"type":105}`,
		`@nix {"action":"start","fields":["https://cache.nixos.org/nar/x"],"id":3,"level":0,"text":"","type":101}`,
		`@nix {"action":"result","fields":[101,10485760],"id":2,"type":106}`,
		`@nix {"action":"result","fields":[5242880,10485760,0,0],"id":3,"type":105}`,
		`@nix {"action":"stop","id":3}`,
		`@nix {"action":"start","fields":["/nix/store/` + someHash + `-image.drv","",1,1],"id":4,"level":3,"text":"","type":105}`,
		`@nix {"action":"result","fields":["copying staging root to image..."],"id":4,"type":101}`,
		`@nix {"action":"result","fields":["/nix/store/x"],"id":4,"type":101}`,
	} {
		tr.line(line)
	}
	working := r.of(progress.Working)
	var got []string
	for _, e := range working[len(working)-4:] {
		got = append(got, fmt.Sprintf("%d/%d %s", e.Current, e.Total, e.Detail))
	}
	assert.Equal(t, []string{
		"0/2 downloading https://cache.nixos.org/nar/x", "0/2 image",
		"0/2 image: copying files into the image", "0/2 image: copying files into the image: /nix/store/x",
	}, got)
	assert.Equal(t, "downloading https://cache.nixos.org/nar/x (5.0MiB of 10.0MiB fetched)", working[len(working)-5].Detail)
}

// Events that are damaged, of a newer nix, or of Determinate Nix never matter.
func TestTrackerTolerates(t *testing.T) {
	tr := newTracker(progress.Discard, Ref{Flake: "/f"})
	for _, line := range []string{
		"", "@nix", "@nix ", "@nix {", "@nix []", "@nix null", `@nix {"action":1}`, `@nix {"action":"dance"}`,
		`@nix {"action":"start","id":-1,"type":"x","fields":{"a":1}}`,
		`@nix {"action":"result","id":7,"type":101}`,
		`@nix {"action":"start","id":18446744073709551615,"type":105}`,
		`@nix {"action":"result","id":18446744073709551615,"type":101,"fields":[]}`,
		`@nix {"action":"result","id":18446744073709551615,"type":110,"payload":{"x":1}}`,
		`@nix {"action":"start","id":9,"type":112,"fields":["git"],"text":"fetching"}`,
		`@nix {"action":"start","id":10,"type":113,"text":"hashing"}`,
		`@nix {"action":"result","id":9,"type":109,"fields":["/nix/store/x"]}`,
		`@nix {"action":"result","id":9,"type":106,"fields":[-1,-5]}`,
		`@nix {"action":"msg","level":0,"msg":"x","line":"not a number"}`,
	} {
		assert.NotPanics(t, func() { tr.line(line) }, line)
	}
	require.Len(t, tr.problems, 1)
}

func TestTrackerIsBounded(t *testing.T) {
	tr := newTracker(progress.Discard, Ref{Flake: "/f"})
	long := strings.Repeat("x", 1<<16)
	for i := range 10_000 {
		tr.line(fmt.Sprintf(`@nix {"action":"start","fields":["/nix/store/%032d-x.drv"],"id":%d,"type":105}`, i, i))
		tr.line(fmt.Sprintf(`@nix {"action":"result","fields":["line %d"],"id":0,"type":101}`, i))
		tr.line(fmt.Sprintf(`@nix {"action":"msg","level":0,"msg":"problem %d"}`, i))
		tr.line("plain")
	}
	tr.line(long)
	assert.LessOrEqual(t, len(tr.activities), maxActivities)
	assert.Len(t, tr.logs, maxLogs)
	assert.Len(t, tr.activities[0].build.lines, maxLogLines)
	assert.Equal(t, "line 9999", tr.activities[0].build.lines[maxLogLines-1])
	assert.Len(t, tr.problems, maxProblems)
	assert.Len(t, tr.plain, maxLogLines)
	assert.LessOrEqual(t, len(tr.plain[maxLogLines-1]), maxLine+len("…"))
}

func FuzzTracker(f *testing.F) {
	f.Add("@nix {\"action\":\"start\",\"id\":1,\"type\":105,\"fields\":[\"/nix/store/x.drv\"]}\n@nix {\"action\":\"result\",\"id\":1,\"type\":101,\"fields\":[\"\\u001b[1mx\"]}")
	f.Add(msg("builder for '/nix/store/x.drv' failed with exit code 1"))
	f.Add("error: plain")
	f.Fuzz(func(t *testing.T, text string) {
		sink := progress.Func(func(e progress.Event) {
			assert.NotContains(t, e.Detail, "\x1b")
			assert.LessOrEqual(t, e.Current, max(e.Total, 0))
		})
		tr := newTracker(sink, Ref{Flake: "/f"})
		for line := range strings.SplitSeq(text, "\n") {
			tr.line(line)
		}
		_, _ = tr.cause()
	})
}

func TestSteps(t *testing.T) {
	for line, want := range map[string]string{
		"running nixos-install...":                                   "installing the system",
		"copying staging root to image...":                           "copying files into the image",
		"[    0.000000] Linux version 6.12.1":                        "starting a machine to install the boot loader",
		"installing the GRUB 2 boot loader on /dev/vda...":           "installing the boot loader",
		"+ qemu-img convert -f raw -O qcow2 nixos.raw x/nixos.qcow2": "converting the image",
		"copying path running nixos-install":                         "",
		"make all":                                                   "",
	} {
		assert.Equal(t, want, step(line), line)
	}
	assert.Equal(t, "linux", drvName("/nix/store/"+someHash+"-linux.drv"))
	assert.Equal(t, "x", drvName("x.drv"))
}

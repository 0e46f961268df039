package builder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
	"vmctl/pkg/progress"
)

// recorded are the versions whose events testdata/events holds: what each said to the
// same flakes, without the totals of nothing. The project's directory is madeIn there.
func recorded() []string { return []string{"2.8", "2.26", "2.34"} }

// replay feeds what a version said to a tracker.
func replay(t *testing.T, sink progress.Sink, ref Ref, version, name string) *tracker {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/events", version, name))
	require.NoError(t, err)
	tr := newTracker(sink, ref)
	for line := range strings.Lines(string(text)) {
		tr.line(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), madeIn, treeRoot(ref.Flake)))
	}
	return tr
}

// The same mistake reads the same, whichever nix found it.
func TestEveryVersionSaysTheSame(t *testing.T) {
	const (
		system    = "it is for riscv64-linux, and this machine is x86_64-linux"
		emulation = "set up a remote builder for riscv64-linux"
		untracked = ", which git does not track, and nix sees only what git tracks"
		network   = "check the network"
		daemon    = "install nix with its daemon"
		newer     = "its flake.lock was written by a newer nix than this one"
		variable  = "undefined variable 'foo'"
		pass      = "correct the name"
	)
	for name, test := range map[string]struct {
		says string
		// differs are the versions that lead to something else.
		differs map[string]string
		hint    string
		// place is a file:line:column all versions give, traced one that a trace gives.
		place, traced string
		log           string
		// plain is a flake outside of a repository.
		plain bool
		gone  string
	}{
		"absent":                 {says: "it uses images/web/missing.nix, which does not exist", hint: "create the file", traced: "flake.nix:1:47", plain: true},
		"absent-repository":      {says: "it uses images/web/missing.nix, which does not exist", hint: "create the file", traced: "flake.nix:1:47"},
		"assertion":              {says: "the configuration contradicts itself", hint: "as the points above say", traced: "flake.nix:2:78"},
		"build-users":            {says: "nix has no users to build as", hint: "build-users-group ="},
		"daemon":                 {says: "the nix daemon does not answer at /nix/var/nix/daemon-socket/socket", hint: "start nix-daemon"},
		"dependency":             {says: "kernel failed with exit code 5", hint: "-kernel.drv", log: "no config"},
		"dependency-system":      {says: system, hint: emulation},
		"failure":                {says: "image failed with exit code 3", hint: "-image.drv", log: "line 1\nline 2\nline 3"},
		"features":               {says: "building it needs a machine with the features no-such-feature", hint: "extra-system-features = no-such-feature"},
		"fetch":                  {says: "it could not download https://nowhere.invalid/x.tar.gz", hint: network},
		"fetch-git":              {says: "it could not download https://nowhere.invalid/x", hint: network},
		"fetch-github":           {says: "it could not download https://api.github.com/repos/nobody/nowhere/commits/HEAD", hint: network},
		"foreign-store":          {says: "this user may not write to /nix/var/nix/db/big-lock", differs: map[string]string{"2.8": "this user may not write to /nix/var/nix/profiles/per-user"}, hint: daemon},
		"hash":                   {says: "what was downloaded for image is not what the flake expects", hint: "sha256-c8s4WKaHqElMozIwUwFigvPa051Cz2LKTnndoqrH2aw="},
		"import-from-derivation": {says: "gen failed with exit code 4", hint: "-gen.drv", log: "boo", traced: "flake.nix:1:78"},
		"input":                  {says: variable, hint: pass},
		"lock-attribute":         {says: newer, hint: "install a current nix"},
		"lock-hash":              {says: "what path:/home/user/inp gives is no longer what flake.lock says", hint: "nix flake update"},
		"lock-version":           {says: newer, hint: "install a current nix"},
		"missing-attribute":      {says: "attribute 'b' missing", hint: pass, place: "flake.nix:3:58"},
		"no-builder":             {says: "its builder /no/such/sh does not exist where nix builds", hint: "sandbox = false", log: "executing '/no/such/sh': No such file or directory"},
		"no-output":              {says: "image failed to produce output path for output 'out'", hint: "-image.drv", log: "x"},
		"no-store":               {says: "this user may not write to /nix/store", differs: map[string]string{"2.8": "this user may not write to /nix"}, hint: daemon},
		"not-a-package": {
			says:    "expected flake output attribute 'nixosConfigurations.test.config.system.build.qcow2' to be a derivation or path but found an integer: 1",
			differs: map[string]string{"2.8": "flake output attribute 'nixosConfigurations.test.config.system.build.qcow2' is not a derivation"},
			hint:    "name the attribute of a disk image",
		},
		"not-owned":            {says: "the flake's repository belongs to another user", hint: "safe.directory"},
		"outside":              {says: "it reads /etc/hosts, which lies outside of the flake", differs: map[string]string{"2.26": "it reads /etc, which lies outside of the flake"}, hint: "into the flake's directory", traced: "flake.nix:1:78"},
		"recursion":            {says: "infinite recursion encountered", hint: "--show-trace", place: "flake.nix:1:86"},
		"relative-input":       {says: "it uses images/web/sub/flake.nix, which does not exist", differs: map[string]string{"2.8": "it uses images/web/sub, which does not exist"}, hint: "create the file", gone: "sub/flake.nix"},
		"sandbox-shell":        {says: "nix's sandbox wants /usr/bin/bash-static, which this machine does not have", differs: map[string]string{"2.8": "its builder /bin/sh does not exist where nix builds"}, hint: "sandbox = false"},
		"signal":               {says: "image failed due to signal 9 (Killed)", hint: "out of memory"},
		"syntax":               {says: "syntax error, unexpected '=', expecting ';'", hint: "correct the line", place: "flake.nix:4:7", plain: true},
		"system":               {says: system, hint: emulation},
		"system-and-features":  {says: system, hint: emulation},
		"throw":                {says: "no luck", traced: "flake.nix:2:111"},
		"type-error":           {says: "cannot coerce an integer to a string: 1", differs: map[string]string{"2.8": "cannot coerce an integer to a string"}, place: "flake.nix:1:84"},
		"undefined-directory":  {says: variable, hint: pass, place: "configuration.nix:1:56", plain: true},
		"undefined-repository": {says: variable, hint: pass, place: "configuration.nix:1:56"},
		"untracked":            {says: "it uses images/web/extra.nix" + untracked, hint: "git add -N images/web/extra.nix", traced: "flake.nix:1:47"},
		"untracked-everything": {says: "it uses images/web/flake.nix" + untracked, differs: map[string]string{"2.8": "it uses images" + untracked}, hint: "git add -N images"},
		"untracked-flake":      {says: "it uses images/web/flake.nix" + untracked, hint: "git add -N images/web/flake.nix"},
		"untracked-read":       {says: "it uses images/web/extra.sh" + untracked, hint: "git add -N images/web/extra.sh", traced: "flake.nix:1:178"},
		"untracked-source":     {says: "it uses images/web/extra.sh" + untracked, hint: "git add -N images/web/extra.sh", traced: "flake.nix:1:178"},
	} {
		for _, version := range recorded() {
			t.Run(name+" "+version, func(t *testing.T) {
				ref := tree(t)
				root := treeRoot(ref.Flake)
				if test.plain {
					require.NoError(t, os.Remove(filepath.Join(root, ".git")))
				}
				require.NoError(t, os.Mkdir(filepath.Join(ref.Flake, "sub"), 0o755))
				for _, file := range []string{"flake.nix", "extra.nix", "extra.sh", "sub/flake.nix"} {
					require.NoError(t, os.WriteFile(filepath.Join(ref.Flake, file), nil, 0o600))
				}
				if test.gone != "" {
					require.NoError(t, os.RemoveAll(filepath.Join(ref.Flake, filepath.Dir(test.gone))))
				}
				tr := replay(t, progress.Discard, ref, version, name)
				err := New(Options{}).failure(t.Context(), ref, tr, &proc.Error{Argv: []string{"nix"}, ExitCode: 1})
				var failed *Error
				require.ErrorAs(t, err, &failed)
				says, place := test.says, test.place
				if differs, ok := test.differs[version]; ok {
					says = differs
				}
				if version != "2.8" && test.traced != "" {
					place = test.traced
				}
				if place != "" {
					says += " (images/web/" + place + ")"
				}
				assert.EqualError(t, err, "images/web could not be built: "+says)
				assert.Contains(t, failed.Hint(), test.hint)
				if test.log != "" {
					assert.True(t, strings.HasSuffix(strings.Join(failed.LogTail, "\n"), test.log), "%q", failed.LogTail)
				}
			})
		}
	}
}

func TestEveryVersionIsInterrupted(t *testing.T) {
	for _, version := range recorded() {
		ref := tree(t)
		err := New(Options{}).failure(t.Context(), ref, replay(t, progress.Discard, ref, version, "interrupted"), &proc.Error{Argv: []string{"nix"}, ExitCode: 1})
		require.EqualError(t, err, "the build of images/web was interrupted")
		assert.Equal(t, fault.Interrupted, fault.KindOf(err))
	}
}

func TestEveryVersionLacksAttributes(t *testing.T) {
	for _, version := range recorded() {
		assert.True(t, replay(t, progress.Discard, tree(t), version, "no-attribute").lacksAttribute(), version)
	}
}

// The bar never goes back, and at the end it is full.
func TestEveryVersionCountsBuilds(t *testing.T) {
	for name, total := range map[string]int64{"good": 1, "two": 3} {
		for _, version := range recorded() {
			t.Run(name+" "+version, func(t *testing.T) {
				r := &recorder{}
				replay(t, r, tree(t), version, name)
				var last progress.Event
				for _, e := range r.of(progress.Working) {
					assert.GreaterOrEqual(t, e.Current, last.Current)
					assert.LessOrEqual(t, e.Total, total)
					last = e
				}
				assert.Equal(t, []int64{total, total}, []int64{last.Current, last.Total})
			})
		}
	}
}

package builder

import (
	"encoding/json"
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

// tree is a flake's directory with a configuration.nix, for errors that name it.
func tree(t *testing.T) Ref {
	t.Helper()
	project, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	dir := filepath.Join(project, "images", "web")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(project, ".git"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "configuration.nix"), []byte("{\n  services.foo.enable = true;\n}\n"), 0o644))
	return Ref{Flake: dir, Display: "images/web"}
}

const (
	// madeIn stands for the project's directory in nix's words.
	madeIn   = "/home/user/project"
	someHash = "0c5yz3mwv4yjqkq3bsn4bq1f0x5gb1zs"
	source   = "/nix/store/" + someHash + "-source/images/web"
)

// msg is a level-0 event as nix writes it.
func msg(text string) string {
	line, _ := json.Marshal(map[string]any{
		"action": "msg", "level": 0, "msg": "\x1b[31;1merror:\x1b[0m " + text, "raw_msg": text,
		"file": nil, "line": nil, "column": nil,
	})
	return eventPrefix + string(line)
}

// The wordings of errors in nix 2.8 to 2.3x and Lix, and what a person reads instead.
func TestClassify(t *testing.T) {
	for name, test := range map[string]struct {
		lines    []string
		sentence string
		hint     string
		points   []string
		position string
		log      []string
	}{
		"features off": {
			lines:    []string{msg("experimental Nix feature 'nix-command' is disabled; add '--extra-experimental-features nix-command' to enable it")},
			sentence: "this nix does not let 'nix-command' be turned on",
			hint:     "extra-experimental-features",
		},
		"no flake": {
			lines:    []string{msg("could not find a flake.nix file")},
			sentence: "it is not a flake", hint: "check image:",
		},
		"option does not exist": {
			lines:    []string{msg("The option `services.fooo' does not exist. Definition values:\n- In `" + source + "/configuration.nix':\n    {\n      enable = true;\n    }")},
			sentence: "there is no option services.fooo (images/web/configuration.nix)",
			hint:     "https://search.nixos.org/options", position: "images/web/configuration.nix",
		},
		"option of an input": {
			lines:    []string{msg("The option `a.b' does not exist. Definition values:\n- In `/nix/store/" + someHash + "-source/modules/x.nix': 1")},
			sentence: "there is no option a.b, which /nix/store/" + someHash + "-source/modules/x.nix sets",
			hint:     "https://search.nixos.org/options",
		},
		"type": {
			lines:    []string{msg("A definition for option `services.foo.port' is not of type `16 bit unsigned integer; between 0 and 65535 (both inclusive)'. Definition values:\n- In `" + source + "/configuration.nix': \"x\"")},
			sentence: "the value of the option services.foo.port is not of type 16 bit unsigned integer; between 0 and 65535 (both inclusive) (images/web/configuration.nix)",
			hint:     "correct the value", position: "images/web/configuration.nix",
		},
		"assertions": {
			lines:    []string{msg("\nFailed assertions:\n- The ‘fileSystems’ option does not specify your root file system.\n- You must set the option ‘boot.loader.grub.devices’\n  to make the system bootable.\n")},
			sentence: "the configuration contradicts itself", hint: "change the configuration as the points above say",
			points: []string{
				"The ‘fileSystems’ option does not specify your root file system.",
				"You must set the option ‘boot.loader.grub.devices’ to make the system bootable.",
			},
		},
		"syntax, 2.3x with the position in the file's name": {
			lines:    []string{`@nix {"action":"msg","column":3,"file":"` + source + `/configuration.nix:2:3","level":0,"line":2,"msg":"\u001b[31;1merror:\u001b[0m syntax error, unexpected ';'","raw_msg":"syntax error, unexpected ';'"}`},
			sentence: "syntax error, unexpected ';' (images/web/configuration.nix:2:3)", hint: "correct the line", position: "images/web/configuration.nix:2:3",
		},
		"undefined variable below a trace, without raw_msg": {
			lines:    []string{`@nix {"action":"msg","level":0,"msg":"error:\n       … while calling the 'head' builtin\n         at /nix/store/` + someHash + `-source/lib/attrsets.nix:1:2:\n\n       error: undefined variable 'foo'\n       at «git+file:///home/user/project»/images/web/configuration.nix:2:5:"}`},
			sentence: "undefined variable 'foo' (images/web/configuration.nix:2:5)",
			hint:     "correct the name", position: "images/web/configuration.nix:2:5",
		},
		"kvm, to 2.2x and Lix": {
			lines:    []string{msg("a 'x86_64-linux' with features {kvm} is required to build '/nix/store/" + someHash + "-nixos-disk-image.drv', but I am a 'x86_64-linux' with features {benchmark, big-parallel, nixos-test}")},
			sentence: "building its image needs KVM, and nix does not see it on this machine", hint: "/dev/kvm",
		},
		"kvm, from 2.30": {
			lines:    []string{msg("Cannot build '/nix/store/" + someHash + "-nixos-disk-image.drv'.\n       Reason: required system or feature not available\n       Required system: 'x86_64-linux' with features {kvm}\n       Current system: 'x86_64-linux' with features {benchmark, big-parallel, nixos-test}")},
			sentence: "building its image needs KVM, and nix does not see it on this machine", hint: "/dev/kvm",
		},
		"kvm, 2.34": {
			lines:    []string{msg("Cannot build '/nix/store/" + someHash + "-nixos-disk-image.drv'.\nReason: missing system features\nRequired features: {kvm}\nAvailable features: {benchmark, big-parallel, nixos-test, uid-range}")},
			sentence: "building its image needs KVM, and nix does not see it on this machine", hint: "/dev/kvm",
		},
		"input without a copy": {
			lines:    []string{`@nix {"action":"msg","column":5,"file":"«github:example/nixpkgs/0123456789012345678901234567890123456789»/images/web/configuration.nix:2:5","level":0,"line":2,"msg":"error: undefined variable 'foo'","raw_msg":"undefined variable 'foo'"}`},
			sentence: "undefined variable 'foo'", hint: "correct the name",
		},
		"wrong system, to 2.2x": {
			lines:    []string{msg("a 'aarch64-linux' with features {} is required to build '/nix/store/" + someHash + "-x.drv', but I am a 'x86_64-linux' with features {benchmark, big-parallel, kvm, nixos-test}")},
			sentence: "it is for aarch64-linux, and this machine is x86_64-linux", hint: "extra-platforms = aarch64-linux",
		},
		"wrong system, from 2.30": {
			lines:    []string{msg("Cannot build '/nix/store/" + someHash + "-x.drv'.\n       Reason: required system or feature not available\n       Required system: 'aarch64-linux' with features {}\n       Current system: 'x86_64-linux' with features {benchmark, big-parallel, kvm, nixos-test}")},
			sentence: "it is for aarch64-linux, and this machine is x86_64-linux", hint: "remote builder for aarch64-linux",
		},
		"fetch": {
			lines:    []string{msg("unable to download 'https://github.com/NixOS/nixpkgs/archive/x.tar.gz': Couldn't resolve host name (6)")},
			sentence: "it could not download https://github.com/NixOS/nixpkgs/archive/x.tar.gz", hint: "check the network",
		},
		"fetch without a token": {
			lines:    []string{msg("unable to download 'https://api.github.com/repos/a/b/commits/HEAD': HTTP error 403\n\n       response body: API rate limit exceeded")},
			sentence: "it could not download https://api.github.com/repos/a/b/commits/HEAD", hint: "access-tokens",
		},
		"disk too small": {
			lines: []string{
				`@nix {"action":"start","fields":["/nix/store/` + someHash + `-nixos-disk-image.drv","",1,1],"id":42,"level":3,"text":"","type":105}`,
				`@nix {"action":"result","fields":["ERROR: cptofs failed. diskSize might be too small for closure."],"id":42,"type":101}`,
				msg("builder for '\x1b[35;1m/nix/store/" + someHash + "-nixos-disk-image.drv\x1b[0m' failed with exit code 1"),
			},
			sentence: "the system does not fit into its disk image", hint: `diskSize = "auto"`,
			log: []string{"ERROR: cptofs failed. diskSize might be too small for closure."},
		},
		"store full": {
			lines:    []string{msg("writing to file: No space left on device")},
			sentence: "a disk is full: the nix store's, or the one that nix builds on", hint: "nix store gc",
		},
		"builders": {
			lines:    []string{msg("failed to start SSH connection to 'builder.example.org'")},
			sentence: "failed to start SSH connection to 'builder.example.org'", hint: "remote builder",
		},
		"nixpkgs wants a newer nix": {
			lines:    []string{msg("\nThis version of Nixpkgs requires Nix >= 2.18, please upgrade:\n\n- If you are running NixOS, `nixos-rebuild' can be used")},
			sentence: "its nixpkgs needs nix 2.18 or newer", hint: "install a current nix",
		},
		"lock of a newer nix": {
			lines:    []string{msg("unsupported tarball input attribute 'lastModified'")},
			sentence: "its flake.lock was written by a newer nix than this one", hint: "install a current nix",
		},
		"build users": {
			lines:    []string{msg("the group 'nixbld' specified in 'build-users-group' does not exist")},
			sentence: "nix has no users to build as", hint: "build-users-group =",
		},
		"sandbox": {
			lines:    []string{msg("unable to start build process")},
			sentence: "unable to start build process", hint: "sandbox = false",
		},
		"store permission": {
			lines:    []string{msg("opening lock file '/nix/var/nix/db/big-lock': Permission denied")},
			sentence: "this user may not write to /nix/var/nix/db/big-lock", hint: "nix-daemon",
		},
		"no store and no daemon": {
			lines:    []string{"error: creating directory '/nix': Permission denied"},
			sentence: "this user may not write to /nix", hint: "nix-daemon",
		},
		"another user's store": {
			lines:    []string{"error: could not set permissions on '/nix/var/nix/profiles/per-user' to 755: Operation not permitted"},
			sentence: "this user may not write to /nix/var/nix/profiles/per-user", hint: "nix-daemon",
		},
		"no shell in the sandbox": {
			lines: []string{
				`@nix {"action":"start","fields":["/nix/store/` + someHash + `-image.drv","",1,1],"id":42,"level":3,"text":"","type":105}`,
				`@nix {"action":"result","fields":["\u0005\u0000Error\u0000executing '\u001b[35;1m/bin/sh\u001b[0m': \u001b[35;1mNo such file or directory\u001b[0m\u0000"],"id":42,"type":101}`,
				msg("builder for '/nix/store/" + someHash + "-image.drv' failed with exit code 1"),
			},
			sentence: "its builder /bin/sh does not exist where nix builds", hint: "sandbox = false",
			log: []string{"Errorexecuting '/bin/sh': No such file or directory"},
		},
		"daemon": {
			lines:    []string{msg("cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused")},
			sentence: "the nix daemon does not answer at /nix/var/nix/daemon-socket/socket", hint: "nix-daemon",
		},
		"dependency, from 2.30": {
			lines: []string{
				msg("Cannot build '/nix/store/" + someHash + "-kernel.drv'.\n       Reason: builder failed with exit code 1.\n       Output paths:\n         /nix/store/" + someHash + "-kernel\n       Last 2 log lines:\n       > compiling\n       > no rule\n       For full logs, run:\n         nix log /nix/store/" + someHash + "-kernel.drv"),
				msg("Cannot build '/nix/store/" + someHash + "-image.drv'.\n       Reason: 1 dependency failed.\n       Output paths:\n         /nix/store/" + someHash + "-image"),
			},
			sentence: "kernel failed with exit code 1", hint: "nix log /nix/store/" + someHash + "-kernel.drv",
			log: []string{"compiling", "no rule"},
		},
		"build, 2.18 and Lix": {
			lines: []string{
				msg("builder for '/nix/store/" + someHash + "-kernel.drv' failed with exit code 2;\n       last 1 log lines:\n       > make: *** Error 1\n       For full logs, run 'nix log /nix/store/" + someHash + "-kernel.drv'."),
				msg("1 dependencies of derivation '/nix/store/" + someHash + "-image.drv' failed to build"),
			},
			sentence: "kernel failed with exit code 2", hint: "nix log", log: []string{"make: *** Error 1"},
		},
		"plain text before the logger": {
			lines:    []string{"warning: something", "error: unrecognised option '--json'", "Try 'nix --help' for more information."},
			sentence: "this nix is too old: it does not know --json", hint: "install nix 2.8 or newer",
		},
		"nothing known": {
			lines:    []string{msg("value is a set while a string was expected\nmore\n\nand more")},
			sentence: "value is a set while a string was expected more", hint: "",
		},
		"nothing at all": {sentence: "nix ended with exit code 1", hint: "run it by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := tree(t)
			tr := newTracker(progress.Discard, ref)
			for _, line := range test.lines {
				tr.line(strings.ReplaceAll(line, madeIn, treeRoot(ref.Flake)))
			}
			err := New(Options{}).failure(t.Context(), ref, tr, &proc.Error{Argv: []string{"nix"}, ExitCode: 1})
			var failed *Error
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, "images/web could not be built: "+test.sentence, failed.Error())
			assert.Contains(t, failed.Hint(), test.hint)
			assert.Equal(t, test.points, failed.Points)
			assert.Equal(t, test.log, failed.LogTail)
			assert.Equal(t, fault.Build, fault.KindOf(err))
			if test.position == "" {
				assert.Nil(t, failed.Position)
			} else if assert.NotNil(t, failed.Position) {
				assert.Equal(t, test.position, failed.Position.Place())
			}
			assert.NotContains(t, failed.Error()+failed.Details()+failed.Hint(), "\x1b")
		})
	}
}

func TestDetails(t *testing.T) {
	e := &Error{
		Msg: "m", Drv: "/nix/store/" + someHash + "-image.drv", LogTail: []string{"a", "b"}, Points: []string{"p"},
		Position: &Position{File: "f.nix", Line: 12, Column: 3, Source: "\tab"},
	}
	assert.Equal(t, "- p\n  --> f.nix:12:3\n 12 | \tab\n    | \t ^\nthe end of the log of image:\n  | a\n  | b", e.Details())
	assert.Empty(t, (&Error{}).Details())
}

func TestPositionIsNotAnInputs(t *testing.T) {
	ref := tree(t)
	store := filepath.Join(t.TempDir(), someHash+"-source")
	require.NoError(t, os.MkdirAll(filepath.Join(store, "images/web"), 0o755))
	file := filepath.Join(store, "images/web/configuration.nix")
	require.NoError(t, os.WriteFile(file, []byte("another"), 0o644))
	assert.Nil(t, locate(ref, problem{text: "at " + file + ":2:1"}))
	mine, err := os.ReadFile(filepath.Join(ref.Flake, "configuration.nix"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, mine, 0o644))
	pos := locate(ref, problem{text: "at " + file + ":2:3"})
	require.NotNil(t, pos)
	assert.Equal(t, "  services.foo.enable = true;", pos.Source)
	assert.Nil(t, locate(ref, problem{text: "/nix/store/" + someHash + "-source/../../../etc/passwd:1:1"}))
}

func FuzzClassify(f *testing.F) {
	f.Add("a 'x' with features {kvm} is required to build", "log", "all")
	f.Add("Failed assertions:\n- a\n b\n-", "", "")
	f.Add("The option `a' does not exist. In `"+source+"/configuration.nix:99999999:9'", "", "")
	f.Add("path '"+source+"/x' does not exist", "", "\x1b[1m")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, log, all string) {
		ref := Ref{Flake: dir, Display: "d"}
		tr := newTracker(progress.Discard, ref)
		tr.line(msg(text))
		tr.line(all)
		err := New(Options{Env: []string{"PATH="}}).failure(t.Context(), ref, tr, &proc.Error{Argv: []string{"nix"}, ExitCode: 1})
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "\x1b")
		assert.NotContains(t, err.Error(), "\n", "one sentence: %q", err.Error())
		_ = classify(evidence{p: problem{text: text}, log: []string{log}, all: all, ref: ref})
	})
}

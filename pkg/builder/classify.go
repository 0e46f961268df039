package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"vmctl/pkg/proc"
)

// verdict is what a known class of error means for a person. Empty fields leave
// the general wording.
type verdict struct {
	class    string
	sentence string
	hint     string
	points   []string
}

// evidence is what a class is recognised by.
type evidence struct {
	p   problem
	log []string
	all string
	ref Ref
	// tracked asks git whether it tracks a file of the flake's tree.
	tracked func(root, file string) bool
	// env is the environment of nix.
	env []string
}

// class is one row of the table of nix's errors.
type class struct {
	name string
	// match is looked for in the error; in everything nix said when anywhere is set,
	// in the failed build's log when inLog is.
	match           *regexp.Regexp
	anywhere, inLog bool
	// explain may decline with nil.
	explain func(m []string, e evidence) *verdict
}

// classify looks an error up. The order of the rows counts: what stands closer to
// the cause comes first.
func classify(e evidence) verdict {
	for _, c := range classes() {
		texts := []string{e.p.text}
		if c.inLog {
			texts = append(texts, strings.Join(e.log, "\n"))
		}
		if c.anywhere {
			texts = append(texts, e.all)
		}
		for _, text := range texts {
			m := c.match.FindStringSubmatch(text)
			if m == nil {
				continue
			}
			if v := c.explain(m, e); v != nil {
				v.class = c.name
				return *v
			}
		}
	}
	return verdict{}
}

// say makes an explanation that needs no thought. The sentence is a format for the
// match's first groups; empty keeps nix's own.
func say(sentence, hint string) func([]string, evidence) *verdict {
	return func(m []string, _ evidence) *verdict {
		v := &verdict{hint: hint}
		if sentence != "" {
			args := make([]any, strings.Count(sentence, "%s"))
			for i := range args {
				args[i] = oneSentence(m[i+1])
			}
			v.sentence = fmt.Sprintf(sentence, args...)
		}
		return v
	}
}

func re(expr string) *regexp.Regexp { return regexp.MustCompile(expr) }

// classes is the table. The wordings are of nix 2.8 to current and of Lix.
func classes() []class {
	return []class{
		{name: "features", match: re(`experimental (?:Nix|Lix) feature '([^']+)' is disabled`), anywhere: true,
			explain: say("this nix does not let '%s' be turned on", "check extra-experimental-features in nix.conf, or install a current nix: https://nixos.org/download")},
		{name: "no such option", match: re(`unrecogni[sz]ed (?:flag|option) '([^']+)'`), anywhere: true,
			explain: say("this nix is too old: it does not know %s", "install nix 2.8 or newer: https://nixos.org/download")},
		{name: "not a command", match: re(`'(build|eval)' is not a recogni[sz]ed command`), anywhere: true,
			explain: say("this nix is too old: it has no `nix %s`", "install nix 2.8 or newer: https://nixos.org/download")},
		{name: "nixpkgs wants newer nix", match: re(`[Tt]his version of Nixpkgs requires Nix\s*>=\s*([0-9.]+)`), anywhere: true,
			explain: say("its nixpkgs needs nix %s or newer", "install a current nix (https://nixos.org/download), or lock an older nixpkgs")},
		{name: "lock too new", match: re(`unsupported (?:\w+ )?input attribute '([^']+)'|lock file '[^']*' has unsupported version '?(\d+)'?`), anywhere: true,
			explain: say("its flake.lock was written by a newer nix than this one", "install a current nix: https://nixos.org/download")},
		{name: "no flake", match: re(`could not find a flake\.nix file|does not contain a '(?:/?)flake\.nix'|/flake\.nix' does not exist`),
			explain: say("it is not a flake", "check image: in the definition: it names the directory that holds flake.nix")},
		{name: "untracked", match: re(`(?:getting status of|opening file|path|access to (?:absolute )?path) '?([^'\n]+?)'?(?:: No such file or directory| does not exist|.*is not tracked by Git)|[Pp]ath '([^']+)' in the repository "?[^"]*"? is not tracked by Git`),
			explain: untracked},
		{name: "option", match: re("[Tt]he option [`'‘]([^'’]+)['’] does not exist"), explain: noOption},
		{name: "type", match: re("A definition for option [`'‘]([^'’]+)['’] is not of type [`'‘]?([^\n]*?)['’]?\\.(?:\\s|$)"),
			explain: say("the value of the option %s is not of type %s", "correct the value; what the option takes: https://search.nixos.org/options")},
		{name: "assertion", match: re(`Failed assertions:\s*\n((?s:.*))`), explain: assertions},
		{name: "syntax", match: re(`^syntax error`), explain: say("", "correct the line")},
		{name: "undefined", match: re(`^undefined variable '([^']+)'`), explain: say("", "correct the name, or bring it in with `let`, `inherit` or an argument")},
		{name: "missing attribute", match: re(`^attribute '([^']+)' missing`), explain: say("", "correct the name; `nix repl` shows what there is")},
		{name: "kvm or system", match: re(`a '([^']+)' with features \{([^}]*)\} is required to build`), anywhere: true, explain: machineNeeded},
		{name: "kvm or system", match: re(`[Rr]equired system: '([^']+)' with features \{([^}]*)\}`), anywhere: true, explain: machineNeeded},
		{name: "hash", match: re(`hash mismatch in fixed-output derivation '([^']+)'`), explain: hashMismatch},
		{name: "lock hash", match: re(`NAR hash mismatch in input '([^']+)'`), anywhere: true,
			explain: say("what %s gives is no longer what flake.lock says", "if that is expected, lock it anew: nix flake update")},
		{name: "store permission", match: re(`(?:creating (?:directory|symlink from)|opening lock file|could not set permissions on|(?:cannot open|opening) (?:SQLite )?(?:connection|database)) '([^']+)'.*(?:[Pp]ermission denied|Operation not permitted)`), anywhere: true,
			explain: say("this user may not write to %s", "install nix with its daemon (https://nixos.org/download), start it (`sudo systemctl start nix-daemon`), or join the group that may use it: nix-users on Debian")},
		{name: "daemon", match: re(`cannot connect to (?:socket|daemon) at '([^']+)'`), anywhere: true,
			explain: say("the nix daemon does not answer at %s", "start it: sudo systemctl start nix-daemon (and on Debian join the group nix-users)")},
		{name: "build users", match: re(`the group '([^']+)' specified in 'build-users-group' does not exist|no build users|build-users-group`), anywhere: true,
			explain: say("nix has no users to build as", "add `build-users-group =` (empty) to /etc/nix/nix.conf for single-user builds as root, or install nix with its daemon")},
		{name: "nothing in the sandbox", match: re(`executing '([^']+)'.*No such file or directory`), inLog: true,
			explain: say("its builder %s does not exist where nix builds", "if it exists on this machine, let nix see it: `sandbox = false` in nix.conf")},
		{name: "sandbox", match: re(`(?:unable to start build process|setting up a private mount namespace|cannot set up (?:a )?(?:private )?.*namespace|this system does not support the kernel namespaces|cloning builder process|unshare(?:\(|:)|pivot_root|mounting /proc)[^\n]*`), anywhere: true,
			explain: say("", "this machine does not let nix build in its sandbox: set `sandbox = false` in nix.conf")},
		{name: "store full", match: re(`No space left on device`), anywhere: true, inLog: true, explain: storeFull},
		{name: "disk too small", match: re(`cptofs failed|diskSize might be too small|No space left on (?:image|the image)|Could not allocate block in ext2`), inLog: true,
			explain: say("the system does not fit into its disk image", `set diskSize = "auto" where the flake calls make-disk-image; vmctl makes the disk as large as disk: says`)},
		{name: "builders", match: re(`cannot build on '(ssh[^']*)'|failed to start SSH connection to '([^']*)'`), anywhere: true,
			explain: say("", "check the remote builder: ssh to it as the user that nix builds as (root under a daemon), or build here with `builders =` in nix.conf")},
		{name: "fetch", match: re(`unable to download '([^']+)'|[Cc]ouldn't resolve host|[Cc]ould not resolve host|Failed to connect to|Connection (?:refused|timed out)|HTTP error (?:4|5)\d\d|Temporary failure in name resolution`), anywhere: true,
			explain: fetch},
		{name: "git", match: re(`program 'git' failed with exit code|[Cc]ould not read (?:from remote repository|Username)|Permission denied \(publickey`), anywhere: true,
			explain: gitFailed},
		{name: "not trusted", match: re(`is not a trusted user|ignoring (?:untrusted|the client-specified setting)`),
			explain: say("", "let root add this user to trusted-users in /etc/nix/nix.conf")},
		{name: "not owned", match: re(`repository path '([^']+)' is not owned by current user|detected dubious ownership`), anywhere: true,
			explain: say("the flake's repository belongs to another user", "run vmctl as its owner, or trust it: git config --global --add safe.directory DIRECTORY")},
		{name: "pure", match: re(`access to absolute path '([^']+)' is forbidden in pure`), anywhere: true,
			explain: say("it reads %s, which lies outside of the flake", "move the file into the flake's directory, or make it an input")},
		{name: "broken package", match: re(`Package '([^']+)' in \S+ (?:is marked as (\w+)|has an? (unfree) license)`), anywhere: true,
			explain: say("it wants the package %s, which nixpkgs refuses to build", "allow it in the configuration (nixpkgs.config.allowUnfree, permittedInsecurePackages), or leave it out")},
		{name: "out of memory", match: re(`[Oo]ut of memory|[Cc]annot allocate memory|failed due to signal 9`), inLog: true,
			explain: say("", "the machine ran out of memory: close something, add swap, or build on a larger one")},
		{name: "not a package", match: re(`is not a derivation|expected a derivation`),
			explain: say("", "name the attribute of a disk image, such as nixosConfigurations.NAME.config.system.build.qcow2")},
		{name: "recursion", match: re(`infinite recursion encountered`), explain: say("", "a module's options depend on themselves: see the whole trace with nix build --show-trace")},
		{name: "exit 127", match: re(`failed with exit code 127`), explain: say("", "the builder calls a program that is not there: see the log")},
	}
}

// untracked recognises a file that exists here, but not in what git shows to nix.
func untracked(m []string, e evidence) *verdict {
	if !e.ref.local() {
		return nil
	}
	named := m[1]
	if named == "" {
		named = m[2]
	}
	root := treeRoot(e.ref.Flake)
	rel := named
	if s := sourceFile.FindStringSubmatch(named); s != nil {
		rel = s[2]
	} else if filepath.IsAbs(named) {
		if r, err := filepath.Rel(root, named); err == nil {
			rel = r
		}
	}
	rel = filepath.Clean(rel)
	file := filepath.Join(root, rel)
	if !filepath.IsLocal(rel) {
		return nil
	}
	shown := e.ref.show(file)
	if _, err := os.Lstat(file); err != nil {
		if !strings.Contains(named, "-source") {
			return nil
		}
		return &verdict{
			sentence: fmt.Sprintf("it uses %s, which does not exist", shown),
			hint:     "create the file, or correct the path",
		}
	}
	if !exists(filepath.Join(root, ".git")) || e.tracked == nil || e.tracked(root, file) {
		return nil
	}
	return &verdict{
		sentence: fmt.Sprintf("it uses %s, which git does not track, and nix sees only what git tracks", shown),
		hint:     "git add -N " + shellQuote(shown),
	}
}

func shellQuote(s string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./@%+=:,-]+$`).MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// definedIn is the file that nix's module system names with a bad definition.
var definedIn = regexp.MustCompile("In [`'‘]([^'’]+)['’]")

func noOption(m []string, e evidence) *verdict {
	v := &verdict{
		sentence: fmt.Sprintf("there is no option %s", oneSentence(m[1])),
		hint:     "correct the name; the options that exist: https://search.nixos.org/options",
	}
	if in := definedIn.FindStringSubmatch(e.p.text); in != nil {
		if pos := own(e.ref, in[1]); pos == nil {
			v.sentence += fmt.Sprintf(", which %s sets", oneSentence(in[1]))
		}
	}
	return v
}

func assertions(m []string, _ evidence) *verdict {
	v := &verdict{sentence: "the configuration contradicts itself", hint: "change the configuration as the points above say"}
	for line := range strings.Lines(m[1]) {
		if point, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			v.points = append(v.points, clip(strings.TrimSpace(point), 500))
		} else if n := len(v.points); n > 0 && strings.TrimSpace(line) != "" {
			v.points[n-1] = clip(v.points[n-1]+" "+strings.TrimSpace(line), 500)
		}
	}
	if len(v.points) == 1 {
		v.hint = "change the configuration as the point above says"
	}
	return v
}

func machineNeeded(m []string, e evidence) *verdict {
	system, features := m[1], strings.Join(strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' }), ", ")
	have := regexp.MustCompile(`(?:but I am a|[Cc]urrent system:) '([^']+)'`).FindStringSubmatch(e.all)
	switch {
	case have != nil && have[1] != system:
		return &verdict{
			sentence: fmt.Sprintf("it is for %s, and this machine is %s", system, have[1]),
			hint:     fmt.Sprintf("set up a remote builder for %s, or emulation: boot.binfmt.emulatedSystems, or qemu-user-static and `extra-platforms = %s` in nix.conf", system, system),
		}
	case strings.Contains(features, "kvm"):
		return &verdict{
			sentence: "building its image needs KVM, and nix does not see it on this machine",
			hint:     "let this user open /dev/kvm, add a remote builder with the feature kvm, or add `extra-system-features = kvm` to nix.conf to build with slow emulation",
		}
	}
	return &verdict{
		sentence: fmt.Sprintf("building it needs a %s machine with the features %s", system, features),
		hint:     fmt.Sprintf("add `extra-system-features = %s` to nix.conf if this machine can, or a remote builder that does", strings.ReplaceAll(features, ",", "")),
	}
}

func hashMismatch(m []string, e evidence) *verdict {
	v := &verdict{sentence: fmt.Sprintf("what was downloaded for %s is not what the flake expects", drvName(m[1]))}
	v.hint = "if the new content is right, put its hash into the flake"
	if got := regexp.MustCompile(`got:\s*(\S+)`).FindStringSubmatch(e.all); got != nil {
		v.hint = "if the new content is right, write its hash into the flake: " + clip(got[1], 120)
	}
	return v
}

func storeFull([]string, evidence) *verdict {
	return &verdict{
		sentence: "a disk is full: the nix store's, or the one that nix builds on",
		hint:     "free space with `nix store gc`, and look at /nix, $TMPDIR and /nix/var/nix/builds with df",
	}
}

func fetch(m []string, e evidence) *verdict {
	v := &verdict{hint: "check the network and the proxy (https_proxy), then try again"}
	if m[1] != "" {
		v.sentence = "it could not download " + oneSentence(m[1])
	}
	switch {
	case regexp.MustCompile(`HTTP error 40[13]|HTTP error 429|rate limit`).MatchString(e.all):
		v.hint = "the server wants a token: add `access-tokens = github.com=TOKEN` to nix.conf, or try later"
	case strings.Contains(e.all, "HTTP error 404"):
		v.hint = "check the address: the repository, branch or revision does not exist, or needs a token (access-tokens in nix.conf)"
	case strings.Contains(e.all, "SSL") || strings.Contains(e.all, "certificate"):
		v.hint = "check the clock and the certificates (NIX_SSL_CERT_FILE)"
	}
	return v
}

func gitFailed(_ []string, e evidence) *verdict {
	if _, err := proc.LookPath("git", e.env); err != nil {
		return &verdict{hint: "install git: nix needs it to read a flake in a repository"}
	}
	if regexp.MustCompile(`publickey|Username|terminal prompts disabled`).MatchString(e.all) {
		return &verdict{sentence: "git may not read one of its inputs", hint: "load the key into ssh-agent (ssh-add), or set up git's credentials, and try again"}
	}
	return &verdict{hint: "run the same git command by hand to see why"}
}

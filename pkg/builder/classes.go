package builder

import (
	"fmt"
	"regexp"
	"strings"
)

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
		{name: "lock too new", match: re(`unsupported (?:\w+ )?input attribute '([^']+)'|input attribute '([^']+)' not supported by scheme|lock file ['"][^'"]*['"] has unsupported version '?(\d+)'?`), anywhere: true,
			explain: say("its flake.lock was written by a newer nix than this one", "install a current nix: https://nixos.org/download")},
		{name: "untracked", match: re(`(?:getting status of|opening file|path|access to (?:absolute )?path) ['"]?([^'"\n]+?)['"]?(?:: No such file or directory| does not exist|.*is not tracked by Git)|Path '([^']+)' (?:in the repository "[^"]*" is not tracked by Git|does not exist in Git repository)`),
			explain: untracked},
		{name: "no flake", match: re(`could not find a flake\.nix file|does not contain a '(?:/?)flake\.nix'|/flake\.nix' does not exist`),
			explain: say("it is not a flake", "check image: in the definition: it names the directory that holds flake.nix")},
		{name: "option", match: re("[Tt]he option [`'‘]([^'’]+)['’] does not exist"), explain: noOption},
		{name: "type", match: re("A definition for option [`'‘]([^'’]+)['’] is not of type [`'‘]?([^\n]*?)['’]?\\.(?:\\s|$)"),
			explain: say("the value of the option %s is not of type %s", "correct the value; what the option takes: https://search.nixos.org/options")},
		{name: "assertion", match: re(`Failed assertions:\s*\n((?s:.*))`), explain: assertions},
		{name: "syntax", match: re(`^syntax error`), explain: say("", "correct the line")},
		{name: "undefined", match: re(`^undefined variable '([^']+)'`), explain: say("", "correct the name, or bring it in with `let`, `inherit` or an argument")},
		{name: "missing attribute", match: re(`^attribute '([^']+)' missing`), explain: say("", "correct the name; `nix repl` shows what there is")},
		{name: "kvm or system", match: re(`a '([^']+)' with features \{([^}]*)\} is required to build`), anywhere: true, explain: machineNeeded},
		{name: "kvm or system", match: re(`[Rr]equired system: '([^']+)' with features \{([^}]*)\}`), anywhere: true, explain: machineNeeded},
		{name: "kvm or system", match: re(`Reason: (?:platform mismatch|missing system features)`), anywhere: true, explain: wrongMachine},
		{name: "hash", match: re(`hash mismatch in fixed-output derivation '([^']+)'`), explain: hashMismatch},
		{name: "lock hash", match: re(`NAR hash mismatch in input '([^']+)'|mismatch in field 'narHash' of input '(\{[^']*\})', got`), anywhere: true, explain: lockHash},
		{name: "no home", match: re(`cannot determine user's home directory`), anywhere: true,
			explain: say("nix does not know this user's home directory", "set HOME to a directory of this user's own")},
		{name: "store permission", match: re(`(?:creating (?:directory|symlink from)|opening lock file|could not set permissions on|(?:cannot open|opening) (?:SQLite )?(?:connection|database)) ['"]([^'"]+)['"].*(?:[Pp]ermission denied|Operation not permitted)`), anywhere: true,
			explain: say("this user may not write to %s", "install nix with its daemon (https://nixos.org/download), start it (`sudo systemctl start nix-daemon`), or join the group that may use it: nix-users on Debian")},
		{name: "daemon", match: re(`cannot connect to (?:socket|daemon) at ['"]([^'"]+)['"]`), anywhere: true,
			explain: say("the nix daemon does not answer at %s", "start it: sudo systemctl start nix-daemon (and on Debian join the group nix-users)")},
		{name: "build users", match: re(`the group '([^']+)' specified in 'build-users-group' does not exist|no build users|build-users-group`), anywhere: true,
			explain: say("nix has no users to build as", "add `build-users-group =` (empty) to /etc/nix/nix.conf for single-user builds as root, or install nix with its daemon")},
		{name: "nothing in the sandbox", match: re(`executing ['"]([^'"]+)['"].*No such file or directory`), inLog: true,
			explain: say("its builder %s does not exist where nix builds", "if it exists on this machine, let nix see it: `sandbox = false` in nix.conf")},
		{name: "shell of the sandbox", match: re(`while setting up the build environment\s+error: getting attributes of path ['"]([^'"]+)['"]: No such file or directory`), anywhere: true,
			explain: say("nix's sandbox wants %s, which this machine does not have", "install it (on Debian and Ubuntu: sudo apt install bash-static), or set `sandbox = false` in nix.conf")},
		{name: "sandbox", match: re(`(?:unable to start build process|setting up a private mount namespace|cannot set up (?:a )?(?:private )?.*namespace|this system does not support the kernel namespaces|cloning builder process|unshare(?:\(|:)|pivot_root|mounting /proc)[^\n]*`), anywhere: true,
			explain: say("", "this machine does not let nix build in its sandbox: set `sandbox = false` in nix.conf")},
		{name: "store full", match: re(`No space left on device`), anywhere: true, inLog: true, explain: storeFull},
		{name: "disk too small", match: re(`cptofs failed|diskSize might be too small|No space left on (?:image|the image)|Could not allocate block in ext2`), inLog: true,
			explain: say("the system does not fit into its disk image", `set diskSize = "auto" where the flake calls make-disk-image; vmctl makes the disk as large as disk: says`)},
		{name: "builders", match: re(`cannot build on '(ssh[^']*)'|failed to start SSH connection to '([^']*)'`), anywhere: true,
			explain: say("", "check the remote builder: ssh to it as the user that nix builds as (root under a daemon), or build here with `builders =` in nix.conf")},
		{name: "fetch", match: re(`unable to (?:download|access) '([^']+)'|[Cc]ouldn't resolve host|[Cc]ould not resolve host|Failed to connect to|Connection (?:refused|timed out)|HTTP error (?:4|5)\d\d|Temporary failure in name resolution`), anywhere: true,
			explain: fetch},
		{name: "not owned", match: re(`repository path '([^']+)' is not owned by current user|detected dubious ownership`), anywhere: true,
			explain: say("the flake's repository belongs to another user", "run vmctl as its owner, or trust it: git config --global --add safe.directory DIRECTORY")},
		{name: "git", match: re(`program 'git' failed with exit code|[Cc]ould not read (?:from remote repository|Username)|Permission denied \(publickey`), anywhere: true,
			explain: gitFailed},
		{name: "not trusted", match: re(`is not a trusted user|ignoring (?:untrusted|the client-specified setting)`),
			explain: say("", "let root add this user to trusted-users in /etc/nix/nix.conf")},
		{name: "pure", match: re(`access to absolute path '([^']+)' is forbidden in pure`), anywhere: true,
			explain: say("it reads %s, which lies outside of the flake", "move the file into the flake's directory, or make it an input")},
		{name: "broken package", match: re(`Package '([^']+)' in \S+ (?:is marked as (\w+)|has an? (unfree) license)`), anywhere: true,
			explain: say("it wants the package %s, which nixpkgs refuses to build", "allow it in the configuration (nixpkgs.config.allowUnfree, permittedInsecurePackages), or leave it out")},
		{name: "out of memory", match: re(`[Oo]ut of memory|[Cc]annot allocate memory|failed due to signal 9`), inLog: true,
			explain: say("", "the machine ran out of memory: close something, add swap, or build on a larger one")},
		{name: "not a package", match: re(`is not a derivation|expected a derivation|to be a derivation or path`),
			explain: say("", "name the attribute of a disk image, such as nixosConfigurations.NAME.config.system.build.qcow2")},
		{name: "recursion", match: re(`infinite recursion encountered`), explain: say("", "a module's options depend on themselves: see the whole trace with nix build --show-trace")},
		{name: "exit 127", match: re(`failed with exit code 127`), explain: say("", "the builder calls a program that is not there: see the log")},
	}
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

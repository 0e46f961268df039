package builder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/proc"
)

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
	rel, isSource := named, m[2] != ""
	if s := sourceFiles(root, named); s != nil && (s[0][1] != "" || ownSource(root, s[0][2])) {
		rel, isSource = s[0][3], true
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
		if !isSource {
			return nil
		}
		return &verdict{
			sentence: fmt.Sprintf("it uses %s, which does not exist", shown),
			hint:     "create the file, or correct the path",
			file:     file,
		}
	}
	if !exists(filepath.Join(root, ".git")) || e.tracked == nil || e.tracked(root, file) {
		return nil
	}
	return &verdict{
		sentence: fmt.Sprintf("it uses %s, which git does not track, and nix sees only what git tracks", shown),
		hint:     "git add -N " + ansi.ShellWord(shown),
		file:     file,
	}
}

// definedIn is the file that nix's module system names with a bad definition.
var definedIn = regexp.MustCompile("In [`'‘]([^'’]+)['’]")

func noOption(m []string, e evidence) *verdict {
	v := &verdict{
		sentence: fmt.Sprintf("there is no option %s", oneSentence(m[1])),
		hint:     "correct the name; the options that exist: https://search.nixos.org/options",
	}
	if strings.HasPrefix(m[1], "vmctl.") {
		v.hint = "correct the name; vmctl's options: memorySize, cores, diskSize, firmware, ports, volumes and more"
	}
	if m[1] == "vmctl" {
		v.hint = "import vmctl's nixosModules.vmctl, or leave system.build.qcow2 out, so that vmctl adds its module itself"
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

// wrongMachine reads how nix since 2.3x says that it cannot build here: one reason for
// each thing that does not fit.
func wrongMachine(m []string, e evidence) *verdict {
	system := regexp.MustCompile(`Required system: '([^']+)'`).FindStringSubmatch(e.all)
	features := regexp.MustCompile(`Required features: \{([^}]*)\}`).FindStringSubmatch(e.all)
	need := []string{m[0], "", ""}
	if system != nil {
		need[1] = system[1]
	}
	if features != nil {
		need[2] = features[1]
	}
	return machineNeeded(need, e)
}

func machineNeeded(m []string, e evidence) *verdict {
	system, features := m[1], strings.Join(strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' }), ", ")
	have := regexp.MustCompile(`(?:but I am a|[Cc]urrent system:) '([^']+)'`).FindStringSubmatch(e.all)
	switch {
	case have != nil && system != "" && have[1] != system:
		return &verdict{
			sentence: fmt.Sprintf("it is for %s, and this machine is %s", system, have[1]),
			hint:     fmt.Sprintf("set up a remote builder for %s, or emulation: boot.binfmt.emulatedSystems, or qemu-user-static and `extra-platforms = %s` in nix.conf", system, system),
		}
	case strings.Contains(features, "kvm"):
		return &verdict{
			sentence: "building its image needs KVM, and nix does not see it on this machine",
			hint:     "let this user open /dev/kvm, add a remote builder with the feature kvm, or build it with slow emulation: vmctl build --no-kvm",
		}
	}
	return &verdict{
		sentence: "building it needs a machine with the features " + features,
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

// lockHash names the input whose content is not what was locked. Some versions give it
// as the attributes in flake.lock, others as a URL with its hash.
func lockHash(m []string, _ evidence) *verdict {
	input, _, _ := strings.Cut(m[1], "?")
	if m[2] != "" {
		var attrs struct{ Type, URL, Path, Owner, Repo string }
		if json.Unmarshal([]byte(m[2]), &attrs) != nil {
			return nil
		}
		input = attrs.URL + attrs.Path
		if attrs.Owner != "" {
			input = attrs.Owner + "/" + attrs.Repo
		}
		input = attrs.Type + ":" + input
	}
	return &verdict{
		sentence: fmt.Sprintf("what %s gives is no longer what flake.lock says", oneSentence(input)),
		hint:     "if that is expected, lock it anew: nix flake update",
	}
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
		v.sentence = "it could not download " + oneSentence(strings.TrimSuffix(m[1], "/"))
	}
	switch {
	case regexp.MustCompile(`(?:HTTP|returned) error:? (?:40[13]|429)|rate limit`).MatchString(e.all):
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

package spec_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func TestParseSize(t *testing.T) {
	good := map[string]spec.Size{
		"1GiB": spec.GiB, " 1.5 GiB ": 1536 * spec.MiB, "10GB": 1e10, "0B": 0, "64kB": 64000, "64KB": 64000,
		"0.5KiB": 512, "9223372036854775807B": 1<<63 - 1, "00016MiB": 16 * spec.MiB,
	}
	for text, want := range good {
		got, err := spec.ParseSize(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	bad := map[string]string{
		"":                      `"" is not a size`,
		"1536":                  `"1536" has no unit; write it as 1536MiB or 1536GiB`,
		"MiB":                   `"MiB" is not a size`,
		"-1GiB":                 `"-1GiB" is not a size`,
		"1..5GiB":               `is not a size`,
		".5GiB":                 `is not a size`,
		"1e3GiB":                `"1e3GiB" has an unknown unit`,
		"1GiBB":                 `"1GiBB" has an unknown unit`,
		"4G":                    `write it as 4GiB (1024-based) or 4GB (1000-based)`,
		"4k":                    `write it as 4KiB (1024-based) or 4kB (1000-based)`,
		"4gib":                  `write it as 4GiB`,
		"4 parsecs":             `the units are MiB, GiB, TiB`,
		"0.3B":                  `is not a whole number of bytes`,
		"8388608TiB":            `is too large`,
		strings.Repeat("9", 50): `is not a size`,
		"１GiB":                  `is not a size`,
	}
	for text, want := range bad {
		_, err := spec.ParseSize(text)
		require.Error(t, err, text)
		assert.Contains(t, err.Error()+"; "+fault.HintOf(err), want)
		assert.Equal(t, fault.Usage, fault.KindOf(err))
	}
}

func TestSizeText(t *testing.T) {
	for size, want := range map[spec.Size][2]string{
		0: {"0B", "0B"}, 1000: {"1000B", "1000B"}, 1536 * spec.MiB: {"1536MiB", "1536MiB"},
		1e10: {"9.3GiB", "9765625KiB"}, 1e9 + 1: {"953.7MiB", "1000000001B"}, 10001 * spec.MiB: {"10001MiB", "10001MiB"}, 2 * spec.TiB: {"2TiB", "2TiB"}, 1025: {"1.0KiB", "1025B"},
	} {
		assert.Equal(t, want, [2]string{size.String(), size.Exact()})
	}
}

func TestParsePort(t *testing.T) {
	for text, want := range map[string]string{
		"2222:22":                 "127.0.0.1:2222:22/tcp",
		"2222:22/udp":             "127.0.0.1:2222:22/udp",
		"127.0.0.1:2222:22/tcp":   "127.0.0.1:2222:22/tcp",
		"0.0.0.0:80:80":           "0.0.0.0:80:80/tcp",
		"[::1]:65535:1":           "[::1]:65535:1/tcp",
		"[0:0:0:0:0:0:0:0]:1:1":   "[::]:1:1/tcp",
		"192.0.2.7:8080:80/tcp":   "192.0.2.7:8080:80/tcp",
		"[2001:DB8::1]:53:53/udp": "[2001:db8::1]:53:53/udp",
	} {
		port, err := spec.ParsePort(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, port.String())
	}
	for _, text := range []string{
		"", "22", ":", "::", ":22", "22:", "0:22", "22:0", "65536:22", "-1:22", "+1:22", "022:22", "22:22/", "22:22/TCP",
		"22:22/tcp/udp", " 22:22", "22:22 ", "22:22\n", "a:22", "localhost:1:1", "1.2.3:1:1", "256.0.0.1:1:1", "01.2.3.4:1:1",
		"[::1]:1", "[::1:1:1", "::1:1:1", "[fe80::1%eth0]:1:1", "[::ffff:1.2.3.4]:1:1", "[1.2.3.4]:1:1", "224.0.0.1:1:1",
		"[]:1:1", "1-2:1", "1:1-2", "1:2:3:4", "１:1", "127.0.0.1,hostfwd=tcp::1:1:1", "1:1,x=y", "99999999999999999999:1",
	} {
		_, err := spec.ParsePort(text)
		assert.Error(t, err, text)
	}
}

func TestParseImage(t *testing.T) {
	flake := func(ref, attr string) spec.Image { return spec.Image{Kind: spec.ImageFlake, Ref: ref, Attr: attr} }
	file := func(ref string) spec.Image { return spec.Image{Kind: spec.ImageFile, Ref: ref} }
	for text, want := range map[string]spec.Image{
		"images/example":                 flake("images/example", ""),
		"images/example/":                flake("images/example", ""),
		"images/example#attr":            flake("images/example", "attr"),
		".#web":                          flake(".", "web"),
		"/":                              flake("/", ""),
		"nixpkgs":                        flake("nixpkgs", ""),
		"../other#a.b-c.d_e'":            flake("../other", "a.b-c.d_e'"),
		`.#nixosConfigurations."a.b".x`:  flake(".", `nixosConfigurations."a.b".x`),
		`.#"a b"`:                        {},
		"github:owner/repo#x":            flake("github:owner/repo", "x"),
		"github:owner/repo/main?dir=sub": flake("github:owner/repo/main?dir=sub", ""),
		"git+ssh://git@example.org/r?ref=a&rev=0#x": flake("git+ssh://git@example.org/r?ref=a&rev=0", "x"),
		"git+https://example.org/r":                 flake("git+https://example.org/r", ""),
		"gitlab:a/b":                                flake("gitlab:a/b", ""),
		"sourcehut:~user/repo":                      flake("sourcehut:~user/repo", ""),
		"path:./x":                                  flake("path:./x", ""),
		"flake:nixpkgs#hello":                       flake("flake:nixpkgs", "hello"),
		"./disk.qcow2":                              file("./disk.qcow2"),
		"/srv/images/disk.QCOW2":                    file("/srv/images/disk.QCOW2"),
		"disk.img":                                  file("disk.img"),
		"disk.raw":                                  file("disk.raw"),
		"disk.raw/":                                 flake("disk.raw", ""),
		"disk.qcow2.xz":                             file("disk.qcow2.xz"),
		"a/DISK.RAW.ZST":                            file("a/DISK.RAW.ZST"),
		"disk.vmdk":                                 file("disk.vmdk"),
		"disk.vhd.bz2":                              file("disk.vhd.bz2"),
		"zst":                                       flake("zst", ""),
		"https://example.org/a/x.qcow2?y=1":         {Kind: spec.ImageURL, Ref: "https://example.org/a/x.qcow2?y=1"},
		"http://example.org:8080/x":                 {Kind: spec.ImageURL, Ref: "http://example.org:8080/x"},
		"debian:12":                                 {Kind: spec.ImageKnown, Ref: "debian:12"},
		"ubuntu:24.04":                              {Kind: spec.ImageKnown, Ref: "ubuntu:24.04"},
		"arch:latest":                               {Kind: spec.ImageKnown, Ref: "arch:latest"},
		"Bilder/größe-日本":                           flake("Bilder/größe-日本", ""),
	} {
		got, err := spec.ParseImage(text)
		if want.Kind == "" {
			assert.Error(t, err, text)
			continue
		}
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for text, want := range map[string]string{
		"":                              "it is empty",
		"-x":                            "it begins with -",
		"--option":                      "it begins with -",
		"#web":                          `write ".#web"`,
		"~/x":                           "~ is not expanded",
		"$HOME/x":                       "variables are not expanded",
		"a/${b}":                        "variables are not expanded",
		"a b":                           "it contains a space",
		"a\nb":                          "it contains a line break",
		"a\x00b":                        `it contains "\x00"`,
		"a;b":                           `it contains ";"`,
		"a`id`":                         "it contains \"`\"",
		"$(id)":                         "variables are not expanded",
		"a$(id)":                        `it contains "$"`,
		"a|b":                           "it contains",
		"a&b":                           "a path contains",
		"a?b":                           "a path contains",
		"<nixpkgs>":                     "it contains",
		"a\u202eb":                      `it contains "\u202e"`,
		"a\u200bb":                      "it contains",
		"a\xffb":                        "it contains",
		"a#":                            "nothing comes after #",
		"a#b c":                         "is not an attribute",
		"a#b;c":                         "is not an attribute",
		"a#-b":                          "is not an attribute",
		"a#b..c":                        "is not an attribute",
		"a#b.":                          "is not an attribute",
		"a#.b":                          "is not an attribute",
		`a#"b`:                          "is not an attribute",
		`a#""`:                          "is not an attribute",
		`a#"a"b`:                        "is not an attribute",
		`a#"${x}"`:                      "variables are not expanded",
		"a#b#c":                         "is not an attribute",
		"a#b^out":                       "is not an attribute",
		"a#" + strings.Repeat("b", 300): "is not an attribute",
		strings.Repeat("a", 1025):       "longer than 1024",
		"https://example.org/":          "names no file",
		"https://example.org":           "names no file",
		"https:///x.qcow2":              "names no server",
		"https://me:pw@example.org/x":   "name or password",
		"https://example.org/x#y":       "only a flake",
		"https://-x/y":                  "names no server",
		"https://example.org/..":        "names no file",
		"https://example.org/%zz":       "not a URL",
		"https:example.org/x":           "not a URL",
		"http://example.org:x/y":        "not a URL",
		"debian:../12":                  "is not a version",
		"debian:-1":                     "is not a version",
		"debian:":                       "is not a version",
		"debain:12":                     "did you mean debian:12?",
		"arch:latest#x":                 "only a flake",
		"nixos:24.05":                   "let nix build one",
		"ftp://example.org/x":           `"ftp:" is not a kind of flake reference`,
		"gihtub:a/b":                    "did you mean github:a/b?",
		"git+http://example.org/r":      "is not a kind",
		"ext::sh -c id":                 "it contains a space",
		"github:":                       "nothing that can be fetched",
		"git+ssh://-oProxyCommand=x/y":  "nothing that can be fetched",
		"disk.qcow2#a":                  "a disk image file has nothing after #",
		"disk.qcow2.tar.gz":             "it is an archive",
		"disk.ova":                      "it is an archive",
		"disk.qed":                      "qemu-img convert",
		"cd.iso":                        "not a bootable disk",
		`C:\disk.qcow2`:                 "it contains",
	} {
		_, err := spec.ParseImage(text)
		require.Error(t, err, text)
		assert.Contains(t, err.Error()+"; "+fault.HintOf(err), want)
	}
}

func TestParseSHA256(t *testing.T) {
	const want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, text := range []string{
		want, strings.ToUpper(want), "sha256:" + want, "sha256-" + want,
		"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
	} {
		got, err := spec.ParseSHA256(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got)
	}
	for text, want := range map[string]string{
		"": "wrong length", "xyz": "neither", want[1:]: "neither", want + "0": "neither", want[:62] + "zz": "neither",
		want + want: "SHA-512", "sha512-AAAA": "SHA-512", want[:32]: "MD5", want[:40]: "MD5",
		"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=": "neither", "AAAA": "wrong length",
	} {
		_, err := spec.ParseSHA256(text)
		assert.ErrorContains(t, err, want, text)
	}
}

func TestCheckHost(t *testing.T) {
	for _, uri := range []string{
		"qemu:///system", "qemu:///session", "qemu+ssh://server/system", "qemu+ssh://me@server.example.org:2222/system",
		"qemu+libssh2://me@[2001:db8::1]/session?sshauth=agent", "qemu+tls://server/system", "qemu+unix:///system?socket=/run/x/sock",
		"qemu+ssh://server/system?keyfile=/home/me/.ssh/id&no_tty=1&mode=direct", "test:///default", "test+unix:///default?socket=/run/x",
		"qemu://server/system", "server", "server-2.example.org",
	} {
		assert.NoError(t, spec.CheckHost(uri), uri)
	}
	for uri, want := range map[string]string{
		"":                                 "not a libvirt URI",
		"server:22":                        "not a libvirt URI",
		"me@server":                        "not a libvirt URI",
		"-oProxyCommand":                   "not a libvirt URI",
		"qemu:/system":                     "not a libvirt URI",
		"qemu:system":                      "not a libvirt URI",
		"http://server/":                   `"http" is not a driver`,
		"xen:///system":                    `"xen" is not a driver`,
		"qemu+ext:///system":               "runs a program",
		"qemu+ext://h/system?command=id":   "runs a program",
		"qemu+ssh://h/system?command=id":   "the parameter command",
		"qemu+ssh://h/system?netcat=id":    "the parameter netcat",
		"qemu+ssh://h/system?proxy=netcat": "the parameter proxy",
		"qemu+ssh://h/system?no_verify=1":  "the parameter no_verify",
		"qemu+ssh://h/system?mode=direct&no_verify=1": "the parameter no_verify",
		"qemu+ssh://h/system?known_hosts=/dev/null":   "the parameter known_hosts",
		"qemu+tls://h/system?pkipath=/tmp":            "the parameter pkipath",
		"qemu:///system?authfile=/tmp/x":              `the parameter "authfile"`,
		"qemu:///system?Command=id":                   `the parameter "Command"`,
		"qemu:///system?c%6fmmand=id":                 `it contains "%"`,
		"qemu:///system?a=b;command=id":               `it contains ";"`,
		"qemu+foo://h/system":                         `"foo" is not a transport`,
		"qemu+ssh:///system":                          "names no server",
		"qemu+ssh://me:secret@h/system":               "password",
		"qemu+ssh://-oProxyCommand=id/system":         "cannot begin with -",
		"qemu+ssh://-oProxyCommand=id@h/system":       "cannot begin with -",
		"qemu:///embed?root=/tmp":                     "neither /system nor /session",
		"qemu:///system/x":                            "neither /system nor /session",
		"qemu:///system#x":                            `it contains "#"`,
		"qemu:///system\n":                            "it contains a line break",
		"qemu:///sys tem":                             "it contains a space",
		"qemu:///system\\":                            "it contains",
	} {
		err := spec.CheckHost(uri)
		require.Error(t, err, uri)
		assert.Contains(t, err.Error(), want)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "0", "web-1", "tiny", "a-", strings.Repeat("a", 63)} {
		assert.NoError(t, spec.CheckName(name), name)
	}
	for name, want := range map[string]string{
		"":                       "cannot be empty",
		"-rf":                    "it begins with -",
		"-":                      "it begins with -",
		"--json":                 "it begins with -",
		".":                      `it contains "."`,
		"..":                     `it contains "."`,
		"../x":                   `it contains "."`,
		"a/b":                    `it contains "/"`,
		"/":                      `it contains "/"`,
		" ":                      "it contains a space",
		"a b":                    "it contains a space",
		"a\n":                    "it contains a line break",
		"a\tb":                   "it contains a tab",
		"a\x00":                  `it contains "\x00"`,
		"\x1b[31mred":            `it contains "\x1b"`,
		`x\y`:                    `it contains "\\"`,
		"x<y":                    `it contains "<"`,
		"$(id)":                  `it contains "$"`,
		"`id`":                   "it contains",
		"a;b":                    "it contains",
		"a\u202eb":               `it contains "\u202e"`,
		"größe":                  "it contains",
		"日本":                     "it contains",
		"а":                      "it contains", // Cyrillic
		"a_b":                    `it contains "_"`,
		"a.b":                    `it contains "."`,
		"Web":                    "did you mean web?",
		"web.yaml":               "did you mean web?",
		"domain/web.yaml":        "did you mean web?",
		"\xff":                   "it contains",
		strings.Repeat("a", 64):  "it has 64 characters",
		strings.Repeat("a", 200): "it has 200 characters",
	} {
		err := spec.CheckName(name)
		require.Error(t, err, "%q", name)
		assert.Contains(t, err.Error()+"; "+fault.HintOf(err), want)
		assert.Equal(t, fault.Usage, fault.KindOf(err))
		for _, r := range err.Error() {
			assert.False(t, r < 0x20 || r == 0x202e, "%q", err.Error())
		}
	}
}

func TestNearest(t *testing.T) {
	verbs := []string{"up", "down", "stop", "start", "restart", "console", "logs", "list", "validate", "plan"}
	for word, want := range map[string]string{
		"consloe": "console", "conosle": "console", "con": "console", "dwon": "down", "lst": "list", "lsit": "list",
		"pu": "up", "UP": "up", "log": "logs", "validat": "validate", "strat": "start", "zzz": "", "": "", "x": "",
		"destroy": "", strings.Repeat("u", 1000): "",
	} {
		assert.Equal(t, want, spec.Nearest(word, verbs), word)
	}
	assert.Equal(t, "secure-boot", spec.Nearest("secure_boot", []string{"secure-boot"}))
	assert.Equal(t, "example", spec.Nearest("exmaple", []string{"tiny", "example"}))
	assert.Empty(t, spec.Nearest("a", nil))
}

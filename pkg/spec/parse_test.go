package spec_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestParseGood(t *testing.T) {
	port := func(address string, host, guest uint16, protocol string) spec.Port {
		return spec.Port{Address: netip.MustParseAddr(address), Host: host, Guest: guest, Protocol: protocol}
	}
	cases := map[string]func(*spec.Machine){
		"smallest": func(m *spec.Machine) { m.Image.Ref = "images/example" },
		"full": func(m *spec.Machine) {
			m.Image = spec.Image{Kind: spec.ImageFlake, Ref: "github:owner/repo/v1.2", Attr: `nixosConfigurations."web.example.org".config`}
			m.Memory, m.CPUs, m.Disk = 1536*spec.MiB, 4, 10_000_000_000
			m.Accel, m.Firmware, m.SecureBoot = spec.AccelKVM, spec.FirmwareEFI, true
			m.Network, m.Autostart = spec.NetworkUser, true
			m.Ports = []spec.Port{
				port("127.0.0.1", 2222, 22, "tcp"), port("127.0.0.1", 8080, 80, "tcp"),
				port("::1", 8080, 80, "tcp"), port("0.0.0.0", 5353, 53, "udp"),
			}
			m.Host = "qemu+ssh://me@server.example.org/system?keyfile=/home/me/.ssh/id_ed25519"
		},
		"secrets": func(m *spec.Machine) {
			m.Identity = true
			m.Secrets = []spec.Secret{
				{Name: "cert", Sops: "secrets.yaml", SopsKey: "tls.cert", Persist: true},
				{Name: "db.password", File: "~/.secrets/db"},
				{Name: "from_pass", Command: []string{"pass", "show", "db"}},
				{Name: "old", Age: "old.age"},
				{Name: "token", Env: "TOKEN"},
				{Name: "whole", Sops: "secrets.yaml"},
			}
		},
		"volumes": func(m *spec.Machine) {
			volume := func(name string, change func(*spec.Volume)) spec.Volume {
				v := spec.Volume{Name: name, Format: spec.Ext4, Disk: spec.DiskRaw, Cache: "writeback", IO: "threads", Discard: "unmap"}
				change(&v)
				return v
			}
			m.Volumes = []spec.Volume{
				volume("archive", func(v *spec.Volume) { v.Source, v.Disk, v.ReadOnly = "default/archive.img", spec.DiskQcow2, true }),
				volume("data", func(v *spec.Volume) { v.Size, v.Mount, v.Format = 50*spec.GiB, "/var/lib/data", spec.XFS }),
				volume("fast", func(v *spec.Volume) {
					v.Path, v.Cache, v.IO, v.Discard = "/dev/disk/by-id/nvme-1", "none", "native", "ignore"
				}),
				volume("scratch", func(v *spec.Volume) { v.Size = 1500 * spec.MiB }),
				volume("vault", func(v *spec.Volume) { v.Size, v.Encrypt = spec.GiB, true }),
			}
		},
		"devices": func(m *spec.Machine) {
			m.Firmware, m.TPM, m.Watchdog, m.Graphics = spec.FirmwareEFI, true, spec.WatchdogReset, spec.GraphicsVNC
			m.CPUs, m.CPU = 4, spec.CPU{Model: "Skylake-Client", Topology: spec.Topology{Sockets: 1, Cores: 2, Threads: 2}}
			m.Hugepages = 2 * spec.MiB
			m.Devices = spec.HostDevices{PCI: []string{"0000:01:00.0", "10de:1b80"}, USB: []string{"046d:c52b"}}
			m.Shares = []spec.Share{
				{Tag: "docs", Source: "/srv/my documents", Target: "/mnt/docs", ReadOnly: true},
				{Tag: "src", Source: ".", Target: "/mnt/src"},
			}
			m.XML = []spec.Fragment{
				{At: "devices", Add: "<sound model='ich9'/>"},
				{Add: "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n  <qemu:arg value='-snapshot'/>\n</qemu:commandline>\n"},
			}
		},
		"firmware": func(m *spec.Machine) {
			m.Identity, m.SecretsBy = true, spec.CarrierFirmware
			m.Secrets = []spec.Secret{{Name: "abcdefghijklmnopqrstuvwxyz12", Env: "TOKEN"}, {Name: "db.password", File: "~/.secrets/db"}}
			m.Systemd = spec.Systemd{Use: true, Hostname: "web.example.org", KeysSet: true, Keys: []string{
				"keys/me.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8CRwsTRykVGM4NfA8dipjzKmZ9651GVBAHsjJEJ0rC",
			}}
		},
		"interfaces": func(m *spec.Machine) {
			m.Interfaces = []spec.Interface{
				{Link: spec.LinkNetwork, Name: "default", MAC: "52:54:00:ab:cd:ef", Address: netip.MustParseAddr("192.168.122.50")},
				{Link: spec.LinkUser}, {Link: spec.LinkUser, Model: "virtio"},
				{Link: spec.LinkBridge, Name: "br0", Model: "e1000e"}, {Link: spec.LinkMacvtap, Name: "enp1s0"},
			}
			m.Ports = []spec.Port{port("127.0.0.1", 2222, 22, "tcp")}
		},
		"json": func(m *spec.Machine) {
			m.Image = spec.Image{Kind: spec.ImageFile, Ref: "./disk.qcow2"}
			m.Memory, m.Network = 512*spec.MiB, spec.NetworkNone
		},
		"web": func(m *spec.Machine) {
			m.Image = spec.Image{Kind: spec.ImageURL, Ref: "https://example.org/disk.raw.zst", SHA256: strings.Repeat("0f", 32)}
		},
		"checksums": func(m *spec.Machine) {
			m.Image = spec.Image{Kind: spec.ImageURL, Ref: "https://example.org/disk.img", Checksums: "https://example.org/SHA256SUMS"}
		},
		"known": func(m *spec.Machine) { m.Image = spec.Image{Kind: spec.ImageKnown, Ref: "debian:12"} },
		"windows": func(m *spec.Machine) {
			m.Image = spec.Image{Kind: spec.ImageFlake, Ref: ".", Attr: "web"}
			m.Memory = 2 * spec.GiB
		},
		"network": func(m *spec.Machine) {
			m.Network, m.CPUs, m.Disk, m.Image.Ref = "br-lan.0", 1, 20*spec.GiB, "../other"
		},
	}
	files, err := filepath.Glob("testdata/good/*.yaml")
	require.NoError(t, err)
	assert.Len(t, files, len(cases), "every file in testdata/good has an expectation")
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata/good", name+".yaml"))
			require.NoError(t, err)
			want := spec.Defaults("m1")
			change(want)
			got, err := spec.Parse("m1", name+".yaml", data)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

func TestDefaults(t *testing.T) {
	assert.Equal(t, &spec.Machine{
		Name: "web", Image: spec.Image{Kind: spec.ImageFlake, Ref: "images/web"},
		Memory: spec.GiB, CPUs: 2, Accel: spec.AccelAuto, Firmware: spec.FirmwareBIOS,
		SSH: spec.SSH{Port: 22},
	}, spec.Defaults("web"))
}

// The whole report of each bad definition is what a person sees.
func TestParseBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			_, err = spec.Parse("example", "domain/example.yaml", data)
			require.Error(t, err)
			assert.Equal(t, fault.Invalid, fault.KindOf(err))
			checkPlaces(t, data, err)
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", strings.ReplaceAll(err.Error(), allKeys(), "ALL KEYS")+"\n")
		})
	}
}

// allKeys is the list of keys in hints; the golden files do without it, so that a new
// key changes none.
func allKeys() string {
	var keys []string
	for _, f := range spec.Fields() {
		if !strings.ContainsAny(f.Key, ".[") {
			keys = append(keys, f.Key)
		}
	}
	return strings.Join(keys, ", ")
}

func TestParseBadName(t *testing.T) {
	_, err := spec.Parse("Web", "domain/Web.yaml", []byte("cpus: 1\nmemory: 1\n"))
	assert.EqualError(t, err, strings.Join([]string{
		`domain/Web.yaml: "Web" cannot be a machine's name: it has capital letters`,
		`      hint: did you mean web?`,
		`domain/Web.yaml:2:9: memory: "1" has no unit`,
		`    2 | memory: 1`,
		`      |         ^`,
		`      hint: write it as 1MiB or 1GiB`,
	}, "\n"))
}

// Inputs made to take a parser's time, memory or stack are refused; go test's own
// deadline and the race detector's stack are the judge.
func TestParseBombs(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, spec.MaxBytes/len(s)) }
	var stairs strings.Builder
	for i := range 340 {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	bombs := map[string]string{
		"too large":  strings.Repeat("#", spec.MaxBytes+1),
		"flow lists": fill("["), "flow maps": fill("{a: "), "closed": fill("[]"),
		"sequences": fill("- "), "null entries": "ports:\n" + fill("-\n")[10:], "keys of keys": fill("? "),
		"tags": fill("!a "), "anchors": fill("&a "), "tag lines": fill("!a\n"), "stairs": stairs.String(),
		"null keys": fill("a:\n"), "keys": fill("a: b\n"), "documents": fill("--- a\n"), "merges": fill("<<: {}\n"),
		"commas": "ports: [" + fill(",")[10:], "pairs": "a: [" + fill("a: ")[10:] + "]", "directives": fill("%\n"),
		"aliases": "a: &a [x]\nb: &b [" + strings.Repeat("*a,", 9000) + "]\nports: [" + strings.Repeat("*b,", 9000) + "]",
		"escapes": `image: "` + fill(`\`)[10:], "quotes": "image: '" + fill("'")[10:], "one value": "image: " + fill("x")[10:],
		"colons": fill(":"), "tabs": fill("\t"), "blank": fill("\n"), "returns": fill("\r"),
	}
	for name, text := range bombs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := spec.Parse("m1", "m1.yaml", []byte(text))
			require.Error(t, err)
			assert.Less(t, len(err.Error()), 20_000)
		})
	}
}

func TestTestdataIsOwned(t *testing.T) {
	require.NoError(t, filepath.WalkDir("testdata", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		dir, base := filepath.Split(path)
		switch stem := strings.TrimSuffix(base, filepath.Ext(base)); {
		case dir == "testdata/" && base == "schema.json":
		case dir == "testdata/good/" && filepath.Ext(base) == ".yaml":
		case dir == "testdata/bad/" && filepath.Ext(base) == ".yaml":
			assert.FileExists(t, dir+stem+".golden")
		case dir == "testdata/bad/" && filepath.Ext(base) == ".golden":
			assert.FileExists(t, dir+stem+".yaml")
		case strings.HasPrefix(dir, "testdata/fuzz/Fuzz"):
		default:
			assert.Fail(t, "no test reads "+path)
		}
		return nil
	}))
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run the test with -update if the new text is better")
}

// checkPlaces holds that every problem points into the file, in order.
func checkPlaces(t *testing.T, data []byte, err error) {
	t.Helper()
	var report *spec.Error
	require.ErrorAs(t, err, &report)
	require.NotEmpty(t, report.Problems)
	text := strings.TrimPrefix(string(data), "\ufeff")
	lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"), "\n")
	last := ""
	for _, p := range report.Problems {
		assert.NotEmpty(t, p.Msg)
		if p.Line == 0 {
			assert.Greater(t, len(data), spec.MaxBytes, "only what was not read has no place: %+v", p)
			continue
		}
		if !assert.LessOrEqual(t, p.Line, len(lines)) {
			continue
		}
		line := []rune(lines[p.Line-1])
		assert.True(t, p.Column >= 1 && p.Column <= len(line)+1, "%+v", p)
		assert.True(t, p.Width >= 1 && (p.Width == 1 || p.Column+p.Width-1 <= len(line)), "%+v", p)
		at := fmt.Sprintf("%9d:%9d", p.Line, p.Column)
		assert.LessOrEqual(t, last, at)
		last = at
	}
	for _, r := range err.Error() {
		if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e) {
			assert.Fail(t, "a control character in the report", "%q", err.Error())
			break
		}
	}
}

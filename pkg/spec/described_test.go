package spec

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
)

// silent is the vmctl.spec of a configuration that says nothing of its machine.
const silent = `{"version": 1, "system": "x86_64-linux", "nixos": {"release": "25.11", "stateVersion": "25.11"},
	"memorySize": null, "cores": null, "diskSize": null, "firmware": "bios", "secureBoot": false, "autostart": false,
	"network": null, "ports": [], "volumes": {}, "shares": {}, "credentials": {}, "interfaces": []}`

func saying(t *testing.T, more string) Description {
	t.Helper()
	spec := map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(silent), &spec))
	require.NoError(t, json.Unmarshal([]byte(more), &spec))
	data, err := json.Marshal(spec)
	require.NoError(t, err)
	return Description{From: "images/web#web", Spec: data}
}

const full = `{"memorySize": 2048, "cores": 3, "diskSize": 4096, "firmware": "efi", "secureBoot": true, "autostart": true,
	"ports": [{"proto": "tcp", "host": {"address": "", "port": 2222}, "guest": {"address": "", "port": 22}},
	          {"proto": "udp", "host": {"address": "::1", "port": 53}, "guest": {"address": "", "port": 53}}],
	"volumes": {"data": {"size": 1024, "mountPoint": "/data", "fsType": "xfs", "encrypt": true, "device": null},
	            "raw": {"size": 8, "mountPoint": null, "fsType": "ext4", "encrypt": false, "device": null}},
	"shares": {"src": {"source": "src", "target": "/src", "readOnly": true}},
	"interfaces": [{"user": true, "network": null, "bridge": null, "macvtap": null, "mac": null, "address": null, "model": "e1000"},
	               {"user": false, "network": "lan", "bridge": null, "macvtap": null, "mac": "52:54:00:12:34:56", "address": "192.168.122.9", "model": null}]}`

func TestDescribe(t *testing.T) {
	t.Parallel()
	m, err := Describe("web", "", nil, saying(t, `{}`))
	require.NoError(t, err)
	assert.Equal(t, Defaults("web"), m, "what is not said is the default")

	m, err = Describe("web", "", nil, saying(t, full))
	require.NoError(t, err)
	want := Defaults("web")
	want.Memory, want.CPUs, want.Disk = 2*GiB, 3, 4*GiB
	want.Firmware, want.SecureBoot, want.Autostart = FirmwareEFI, true, true
	want.Ports = []Port{
		{Address: netip.MustParseAddr("127.0.0.1"), Host: 2222, Guest: 22, Protocol: "tcp"},
		{Address: netip.MustParseAddr("::1"), Host: 53, Guest: 53, Protocol: "udp"},
	}
	volume := func(v Volume) Volume {
		v.Disk, v.Cache, v.IO, v.Discard = DiskRaw, CacheWriteback, IOThreads, DiscardUnmap
		return v
	}
	want.Volumes = []Volume{
		volume(Volume{Name: "data", Size: GiB, Mount: "/data", Format: XFS, Encrypt: true}),
		volume(Volume{Name: "raw", Size: 8 * MiB, Format: Ext4}),
	}
	want.Shares = []Share{{Tag: "src", Source: "src", Target: "/src", ReadOnly: true}}
	want.Interfaces = []Interface{
		{Link: LinkUser, Model: "e1000"},
		{Link: LinkNetwork, Name: "lan", MAC: "52:54:00:12:34:56", Address: netip.MustParseAddr("192.168.122.9")},
	}
	assert.Equal(t, want, m)
}

// TestDescribeUnderADefinition: key by key the definition counts.
func TestDescribeUnderADefinition(t *testing.T) {
	t.Parallel()
	d := saying(t, full)
	m, err := Describe("web", "domain/web.yaml", []byte("memory: 512MiB\nvolumes: {other: 1GiB}\nnetwork: user\n"), d)
	require.NoError(t, err)
	assert.Equal(t, 512*MiB, m.Memory)
	assert.Equal(t, 3, m.CPUs)
	assert.Len(t, m.Volumes, 1, "a key's whole value counts")
	assert.Equal(t, "other", m.Volumes[0].Name)
	assert.Empty(t, m.Interfaces, "network and interfaces say the same thing")
	assert.Equal(t, "user", m.Network)
	assert.Len(t, m.Ports, 2)

	_, err = Describe("web", "domain/web.yaml", []byte("memory: 512MiB\nfirmware: bios\n"), d)
	require.EqualError(t, err, "what images/web#web says of its machine cannot be: secure-boot: secure boot needs UEFI firmware")
	_, err = Describe("web", "domain/web.yaml", []byte("memry: 1GiB\n"), d)
	var report *Error
	require.ErrorAs(t, err, &report)
	assert.Equal(t, "domain/web.yaml", report.Problems[0].File)

	assert.True(t, Sets([]byte("# a comment\nfirmware: efi\n"), "firmware"))
	assert.False(t, Sets([]byte("memory: 1GiB\n"), "firmware"))
	assert.False(t, Sets([]byte("{"), "firmware"))
	assert.False(t, Sets(nil, "firmware"))
}

func TestDescribeRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spec string
		want string
		kind fault.Kind
	}{
		"another version":   {`{"version": 2}`, "what images/web#web says of its machine cannot be read: its vmctl.spec is of version 2, and this vmctl reads version 1", fault.Invalid},
		"no version":        {`{"memorySize": 1}`, "what images/web#web says of its machine cannot be read: its vmctl.spec has no version", fault.Invalid},
		"no JSON":           {`1GiB`, "what images/web#web says of its machine cannot be read: its vmctl.spec has no version", fault.Invalid},
		"too little memory": {`{"version": 1, "memorySize": 1}`, `what images/web#web says of its machine cannot be: memory: "1MiB" is too small: the least is 16MiB`, fault.Invalid},
		"a hostile name": {
			`{"version": 1, "volumes": {"../x": {"size": 1}}}`,
			`what images/web#web says of its machine cannot be: volumes.../x: "../x" cannot be a volume's name: it is lower-case letters, digits and -, and begins with a letter or digit`, fault.Invalid,
		},
		"a hostile mount": {
			`{"version": 1, "volumes": {"x": {"size": 1, "mountPoint": "/a b"}}}`,
			`what images/web#web says of its machine cannot be: volumes.x.mount: "/a b" cannot be mounted on`, fault.Invalid,
		},
	} {
		_, err := Describe("web", "", nil, Description{From: "images/web#web", Spec: []byte(test.spec)})
		if assert.Error(t, err, name) {
			if name == "a hostile name" {
				assert.Contains(t, err.Error(), `"../x"`)
			} else {
				assert.Equal(t, test.want, err.Error(), name)
			}
			assert.Equal(t, test.kind, fault.KindOf(err), name)
			assert.NotEmpty(t, fault.HintOf(err), name)
		}
	}
}

// TestDescribeFromElsewhere: somebody else's flake does not get at what is a person's own
// by being run.
func TestDescribeFromElsewhere(t *testing.T) {
	t.Parallel()
	for key, spec := range map[string]string{
		"shares":     `{"shares": {"home": {"source": "/home/me", "target": "/x"}}}`,
		"secrets":    `{"credentials": {"x": {"source": "id_ed25519"}}}`,
		"volumes":    `{"volumes": {"x": {"device": "/dev/sda"}}}`,
		"interfaces": `{"interfaces": [{"bridge": "br0"}]}`,
		"ports":      `{"ports": [{"host": {"address": "0.0.0.0", "port": 2222}, "guest": {"port": 22}}]}`,
	} {
		d := saying(t, spec)
		d.Foreign = true
		_, err := Describe("web", "", nil, d)
		require.Error(t, err, key)
		assert.Equal(t, fault.Refused, fault.KindOf(err), key)
		assert.Contains(t, fault.HintOf(err), key+":")
	}
	d := saying(t, `{"memorySize": 512, "volumes": {"x": {"size": 8}}, "ports": [{"host": {"port": 2222}, "guest": {"port": 22}}]}`)
	d.Foreign = true
	m, err := Describe("web", "", nil, d)
	require.NoError(t, err)
	assert.Equal(t, 512*MiB, m.Memory)
	// What the person writes, the person wants.
	d = saying(t, `{"shares": {"home": {"source": "/home/me", "target": "/x"}}}`)
	d.Foreign = true
	_, err = Describe("web", "domain/web.yaml", []byte("shares: {src: {source: ., target: /src}}\n"), d)
	require.NoError(t, err)
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(silent))
	f.Add([]byte(full))
	f.Add([]byte(`{"version":1,"ports":[{"host":{"address":"[","port":-1},"guest":{}}]}`))
	f.Fuzz(func(t *testing.T, spec []byte) {
		m, err := Describe("web", "", nil, Description{From: "x", Spec: spec})
		if (m == nil) == (err == nil) {
			t.Fatal("neither a machine nor an error")
		}
	})
}

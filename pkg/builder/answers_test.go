package builder

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// As nix 2.8 and 2.24 printed them.
const (
	saidBuilt  = `[{"drvPath":"/nix/store/a.drv","outputs":{"out":"/nix/store/a-nixos-disk-image"}}]`
	saidCutOff = `{"example":{"host":"nixos","spec":}}`
	saidFlake  = `{"description":"x","lastModified":1700000000,"locked":{"lastModified":1700000000,"narHash":"sha256-AAAA","rev":"0123456789abcdef0123456789abcdef01234567","type":"git","url":"file:///x"},"locks":{"nodes":{"root":{}},"root":"root","version":7},"url":"git+file:///x?rev=0123"}`
	saidWhole  = `{"Names":["a","b"],"Name":null,"Kind":"wrapped","Spec":null,"Left":[]}`
	saidLock   = `{"nodes":{"nixpkgs":{"locked":{"narHash":"sha256-AAAA","type":"github","owner":"a","repo":"b","rev":"c"}},"root":{"inputs":{"nixpkgs":"nixpkgs"}}},"root":"root","version":7}`
)

func TestAnswers(t *testing.T) {
	drv, out, err := parseBuilt([]byte(saidBuilt))
	require.NoError(t, err)
	assert.Equal(t, []string{"/nix/store/a.drv", "/nix/store/a-nixos-disk-image"}, []string{drv, out})
	origin, fixed, err := parseFlake([]byte(saidFlake))
	require.NoError(t, err)
	assert.True(t, fixed)
	assert.Equal(t, Origin{URL: "git+file:///x?rev=0123", Rev: "0123456789abcdef0123456789abcdef01234567", NarHash: "sha256-AAAA", Modified: 1700000000}, origin)
	a, err := parseAnswer([]byte(saidWhole))
	require.NoError(t, err)
	assert.Equal(t, answer{Names: []string{"a", "b"}, Kind: kindWrapped}, a)
	assert.True(t, locked([]byte(saidLock)))
	_, _, err = parseBuilt([]byte(saidCutOff))
	require.Error(t, err)
	_, _, err = parseOutcome([]byte(`{"Drv":"x","Out":"relative"}`))
	require.Error(t, err)
}

// FuzzAnswers reads what nix prints in all the ways in which it is read.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		saidBuilt, saidCutOff, saidFlake, saidWhole, saidLock, `{"system":{"drv":"/a","out":"/b"},"image":{"out":"/c/.."}}`, "null", `["a"]`, `"/nix/store/a/x.qcow2"`, `{"Drv":"/a","Out":"/nix/store/../../etc"}`,
		"nix (Nix) 2.8.0\n", "nix (Lix, like Nix) 2.91.1", "nix (Determinate Nix 3.6.2) 2.29.0",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, read := range []func([]byte) (string, string, error){parseBuilt, parseOutcome} {
			if _, out, err := read(text); err == nil {
				assert.True(t, filepath.IsAbs(out) && filepath.Clean(out) == out, "%q", out)
			}
		}
		if a, err := parseAnswer(text); err == nil {
			assert.True(t, a.Spec == nil || json.Valid(a.Spec))
		}
		if version, ok := parseVersion(string(text)); ok {
			assert.NotContains(t, version.Text, "\n")
			assert.GreaterOrEqual(t, version.Major, 0)
		}
		if u, err := parseUpdates(text); err == nil {
			for _, out := range []string{u.System.Out, u.Image.Out} {
				assert.True(t, filepath.IsAbs(out) && filepath.Clean(out) == out, "%q", out)
			}
		}
		assert.GreaterOrEqual(t, parseSizes(string(text)), int64(0))
		_, _, _ = parseFlake(text)
		_, _ = parseNames(text)
		_, _ = parseFile(text)
		if locked(text) {
			assert.True(t, json.Valid(text))
		}
	})
}

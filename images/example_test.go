package images_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// TestExampleDescribesTheMachine evaluates the example against a nixpkgs that only has
// what the example may touch: the real one cannot be fetched by a test.
func TestExampleDescribesTheMachine(t *testing.T) {
	env := append(os.Environ(), testenv.Nix(t)...)
	stub, err := filepath.Abs("testdata/nixpkgs")
	require.NoError(t, err)
	example, err := filepath.Abs("example")
	require.NoError(t, err)

	cmd := exec.CommandContext(t.Context(), "nix", "--extra-experimental-features", "nix-command flakes", "eval", "--json",
		"--no-write-lock-file", "--override-input", "nixpkgs", "path:"+stub,
		"path:"+example+"#nixosConfigurations.build-qcow2")
	cmd.Env = env
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderrOf(err))

	var got map[string]any
	require.NoError(t, json.Unmarshal(out, &got))
	assert.JSONEq(t, `{
		"imported": [true],
		"config": {
			"boot": {
				"growPartition": true,
				"kernelPackages": "linux-6.12",
				"kernelParams": ["console=ttyS0"],
				"loader": {"grub": {"device": "/dev/vda"}, "timeout": 0}
			},
			"environment": {"systemPackages": ["python3"]},
			"fileSystems": {"/": {"device": "/dev/disk/by-label/nixos", "fsType": "ext4", "autoResize": true}},
			"networking": {"hostName": "example"},
			"services": {"openssh": {"enable": true}, "qemuGuest": {"enable": true}},
			"system": {
				"build": {"qcow2": {"diskSize": 8192, "format": "qcow2", "partitionTableType": "hybrid", "copyChannel": false}},
				"stateVersion": "25.11"
			},
			"users": {"users": {"tarn": {"isNormalUser": true, "extraGroups": ["wheel"], "password": ""}}}
		}
	}`, string(out))
}

// TestLocksAreWhatNixWrites holds the hand-kept pins to the form that nix expects.
func TestLocksAreWhatNixWrites(t *testing.T) {
	for _, path := range []string{"example/flake.lock", "tiny/flake.lock", "../flake.lock"} {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		var lock struct {
			Version int
			Root    string
			Nodes   map[string]struct {
				Inputs   map[string]string
				Locked   struct{ Owner, Repo, Rev, NarHash, Type string }
				Original struct{ Owner, Repo, Ref, Type string }
			}
		}
		require.NoError(t, json.Unmarshal(content, &lock), path)
		assert.Equal(t, 7, lock.Version, path)
		require.Contains(t, lock.Nodes, lock.Root, path)
		for name, node := range lock.Nodes[lock.Root].Inputs {
			pin := lock.Nodes[node]
			assert.Regexp(t, `^[0-9a-f]{40}$`, pin.Locked.Rev, "%s: %s", path, name)
			assert.Regexp(t, `^sha256-[A-Za-z0-9+/]{43}=$`, pin.Locked.NarHash, "%s: %s", path, name)
			flake, err := os.ReadFile(filepath.Join(filepath.Dir(path), "flake.nix"))
			require.NoError(t, err)
			assert.Contains(t, string(flake), "github:"+pin.Original.Owner+"/"+pin.Original.Repo+"/"+pin.Original.Ref, path)
		}
	}
}

func stderrOf(err error) []byte {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // straight from exec
		return e.Stderr
	}
	return nil
}

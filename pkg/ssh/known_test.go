package ssh_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/ssh"
)

func TestHostsThatAPersonHas(t *testing.T) {
	home := t.TempDir()
	assert.False(t, ssh.Knows(t.Context(), home, "prod"), "there is nothing at all")
	dir := filepath.Join(home, ".ssh")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config"), []byte("Host *.example.org\n  User host\nHOST = \"quoted\" backup\n\tHost\tbastion\n#Host no\n"), 0o600))
	const key = " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8CRwsTRykVGM4NfA8dipjzKmZ9651GVBAHsjJEJ0rC\n"
	known := filepath.Join(dir, "known_hosts")
	require.NoError(t, os.WriteFile(known, []byte("prod"+key+"plain,192.0.2.1"+key), 0o600))
	require.NoError(t, exec.Command("ssh-keygen", "-q", "-H", "-f", known).Run())
	for name, want := range map[string]bool{
		"quoted": true, "backup": true, "bastion": true, "prod": true, "plain": true,
		"no": false, "host": false, "example": false, "user": false,
	} {
		assert.Equal(t, want, ssh.Knows(t.Context(), home, name), name)
	}
}

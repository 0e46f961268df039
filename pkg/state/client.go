package state

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"vmctl/pkg/safefile"
)

// Client names, in eight letters and digits, those vmctl that share the locks of a host:
// one user of one machine, by one URI. Where nothing can be kept it is another each time.
func (d Dirs) Client(hostname, hostURI string) string {
	file := filepath.Join(d.State, "client")
	seed, err := os.ReadFile(file)
	if err != nil || len(seed) == 0 {
		// Of two that begin at once the last one's stays: what the other one uploads is
		// then a stranger's, which is safe.
		seed = []byte(rand.Text())
		if os.MkdirAll(d.State, 0o700) == nil {
			_ = safefile.Write(file, seed)
		}
	}
	// A home directory may be on several machines, and their locks are not.
	sum := sha256.Sum256([]byte(hostname + "\x00" + filepath.Join(d.Runtime, fileName(hostURI)) + "\x00" + string(seed)))
	return hex.EncodeToString(sum[:4])
}

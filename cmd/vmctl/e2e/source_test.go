//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// publisher is an https server of our own, with a certification authority that nobody
// knows. The first answer with a disk breaks in the middle.
type publisher struct {
	*httptest.Server
	dir string
	mu  sync.Mutex
	// asked are the files asked for since the last time, with the range.
	asked []string
	broke bool
}

func publish(t *testing.T) *publisher {
	t.Helper()
	pub := &publisher{dir: t.TempDir()}
	pub.Server = httptest.NewTLSServer(http.HandlerFunc(pub.serve))
	t.Cleanup(pub.Close)
	authority := filepath.Join(testenv.Dir(t, ""), "ca.pem")
	require.NoError(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pub.Certificate().Raw}), 0o644))
	t.Setenv("SSL_CERT_FILE", authority)
	return pub
}

func (pub *publisher) serve(w http.ResponseWriter, r *http.Request) {
	path := filepath.Join(pub.dir, filepath.Base(r.URL.Path))
	pub.mu.Lock()
	pub.asked = append(pub.asked, strings.TrimSpace(filepath.Base(path)+" "+r.Header.Get("Range")))
	cut := !pub.broke && strings.HasSuffix(path, ".qcow2")
	pub.broke = pub.broke || cut
	pub.mu.Unlock()
	if !cut {
		http.ServeFile(w, r, path)
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data[:len(data)/2])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func (pub *publisher) requests() []string {
	pub.mu.Lock()
	defer pub.mu.Unlock()
	asked := pub.asked
	pub.asked = nil
	return asked
}

// TestBootsFromEverySource boots the tiny guest from the web, with everything that can go
// wrong on the way, from a packed raw disk and from a VMDK.
func TestBootsFromEverySource(t *testing.T) {
	p := root(t)
	testenv.Tool(t, "zstd")
	before := p.look(t)
	pr := p.project(t)
	image := pr.image(t, "tiny")
	pr.ok(t, "down", "tiny") // gives its root back
	pub := publish(t)
	served := filepath.Join(pub.dir, "tiny.qcow2")
	copyFile(t, image, served)
	data, err := os.ReadFile(served)
	require.NoError(t, err)
	digest := sha256.Sum256(data)
	sum := hex.EncodeToString(digest[:])
	require.NoError(t, os.WriteFile(filepath.Join(pub.dir, "SHA256SUMS"), []byte(sum+" *tiny.qcow2\n"), 0o644))
	p.nixStarts(t)

	// A checksum that is wrong: nothing is made, and both are shown.
	wrong := strings.Repeat("0", 64)
	pr.machine(t, "web", "image: "+pub.URL+"/tiny.qcow2", "sha256: \""+wrong+"\"")
	pr.refused(t, 7, []string{"up", "web"}, "tiny.qcow2 is not what it was said to be", wrong, sum, "hint: ")
	asked := pub.requests()
	require.Len(t, asked, 3, "broken, gone on with, and once more in one piece: %q", asked)
	assert.Equal(t, fmt.Sprintf("tiny.qcow2 bytes=%d-", len(data)/2), asked[1])
	assert.Contains(t, pr.ok(t, "info", "web").out, "not created")

	// By the publisher's own file of checksums, over a connection that breaks.
	pub.mu.Lock()
	pub.broke = false
	pub.mu.Unlock()
	pr.machine(t, "web", "image: "+pub.URL+"/tiny.qcow2", "checksums: "+pub.URL+"/SHA256SUMS")
	pr.boots(t, "web")
	assert.Equal(t, []string{"SHA256SUMS", "tiny.qcow2", fmt.Sprintf("tiny.qcow2 bytes=%d-", len(data)/2)}, pub.requests())
	pub.Close()
	assert.Contains(t, pr.ok(t, "up", "web").err, "web is up to date", "offline, too")
	pr.ok(t, "down", "web")

	// A raw disk that is packed, and a disk of another format.
	raw, packed, foreign := filepath.Join(pr.dir, "tiny.raw"), filepath.Join(pr.dir, "tiny.raw.zst"), filepath.Join(pr.dir, "tiny.vmdk")
	tool(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
	tool(t, "zstd", "-q", "--rm", raw, "-o", packed)
	tool(t, "qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", "-o", "subformat=streamOptimized", image, foreign)
	for _, file := range []string{packed, foreign} {
		pr.machine(t, "web", "image: ./"+filepath.Base(file))
		pr.boots(t, "web")
		assert.Contains(t, pr.ok(t, "up", "web").err, "web is up to date")
		pr.ok(t, "down", "web")
	}
	assert.Zero(t, p.nixStarts(t), "none of it is nix's business")
	p.nothingLeft(t, before)
}

// boots brings a machine up and looks whether its guest runs.
func (pr *project) boots(t *testing.T, machine string) {
	t.Helper()
	began := time.Now()
	shown := pr.ok(t, "up", machine)
	assert.Contains(t, shown.err, machine+" is ready after")
	assert.Contains(t, pr.ok(t, "logs", machine).out, "tiny: Linux")
	t.Logf("booted in %v", time.Since(began).Round(time.Second))
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

package fetch

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vmctl/pkg/image/checksum"
	"vmctl/pkg/progress"
)

// server is an https server that misbehaves on demand. Every request takes the next of
// its answers; when there are none left it serves well.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	content []byte
	etag    string
	answers []func(http.ResponseWriter, *http.Request, *server)
	// asked are the Range headers of the requests, "-" where there was none.
	asked []string
}

func serve(t testing.TB, content []byte, answers ...func(http.ResponseWriter, *http.Request, *server)) *server {
	t.Helper()
	s := &server{content: content, etag: `"v1"`, answers: answers}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		asked := r.Header.Get("Range")
		if asked == "" {
			asked = "-"
		}
		s.asked = append(s.asked, asked)
		answer := well
		if len(s.answers) > 0 {
			answer, s.answers = s.answers[0], s.answers[1:]
		}
		s.mu.Unlock()
		answer(w, r, s)
	}))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s
}

// well serves as it should be, with ranges.
func well(w http.ResponseWriter, r *http.Request, s *server) {
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
}

// whole has no ranges.
func whole(w http.ResponseWriter, _ *http.Request, s *server) {
	w.Header().Set("Content-Length", strconv.Itoa(len(s.content)))
	_, _ = w.Write(s.content)
}

// chunked says no length.
func chunked(w http.ResponseWriter, _ *http.Request, s *server) {
	w.(http.Flusher).Flush()
	_, _ = w.Write(s.content)
}

// cut serves n bytes more of what was asked for, and breaks the connection.
func cut(n int) func(http.ResponseWriter, *http.Request, *server) {
	return func(w http.ResponseWriter, r *http.Request, s *server) {
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.content)-1, len(s.content)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(s.content)-from))
		w.Header().Set("ETag", s.etag)
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(s.content[from:min(from+n, len(s.content))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// says ends with a status.
func says(code int) func(http.ResponseWriter, *http.Request, *server) {
	return func(w http.ResponseWriter, _ *http.Request, _ *server) { w.WriteHeader(code) }
}

// shorter says that the file is shorter than it is.
func shorter(w http.ResponseWriter, _ *http.Request, s *server) {
	w.Header().Set("Content-Length", strconv.Itoa(len(s.content)-100))
	_, _ = w.Write(s.content[:len(s.content)-100])
}

// hangs sends a little and then nothing.
func hangs(w http.ResponseWriter, r *http.Request, s *server) {
	w.Header().Set("Content-Length", strconv.Itoa(len(s.content)))
	_, _ = w.Write(s.content[:10])
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// headers answers with what it is told, whatever was asked.
func headers(code int, pairs ...string) func(http.ResponseWriter, *http.Request, *server) {
	return func(w http.ResponseWriter, _ *http.Request, s *server) {
		for i := 0; i < len(pairs); i += 2 {
			w.Header().Set(pairs[i], pairs[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write(s.content)
	}
}

func (s *server) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

func (s *server) ranges() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, " ")
}

// client trusts the server and does not wait long.
func (s *server) client(sink progress.Sink) *Client {
	return &Client{Sink: sink, Roots: s.roots(), Stall: 5 * time.Second, Pause: time.Millisecond}
}

func (s *server) wanted(digest checksum.Digest) Wanted {
	return Wanted{URL: s.URL + "/images/disk.qcow2?key=secret", Digest: digest, Name: "disk.qcow2", Source: "sha256 in the definition", Task: "web/download"}
}

func sha256Of(b []byte) checksum.Digest {
	sum := sha256.Sum256(b)
	return checksum.Digest{Algorithm: checksum.SHA256, Hex: hex.EncodeToString(sum[:])}
}

func sha512Of(b []byte) checksum.Digest {
	sum := sha512.Sum512(b)
	return checksum.Digest{Algorithm: checksum.SHA512, Hex: hex.EncodeToString(sum[:])}
}

// content is something that no two parts of are alike.
func content(size int) []byte {
	b := make([]byte, 0, size+8)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "%08x", i*2654435761)
	}
	return b[:size]
}

package fetch

import (
	"context"
	"errors"
	"hash"
	"io"
	"os"
	"strings"
	"time"

	"crypto/sha256"
	"encoding/hex"

	"golang.org/x/sys/unix"

	"vmctl/pkg/image/cache"
	"vmctl/pkg/image/checksum"
)

// sums are the digests of what has come: the one that is wanted, and SHA-256, by which
// images are named.
type sums struct {
	algorithm checksum.Algorithm
	want      hash.Hash
	named     hash.Hash
}

func newSums(a checksum.Algorithm) *sums {
	s := &sums{algorithm: a, want: a.New()}
	if s.named = s.want; a != checksum.SHA256 {
		s.named = sha256.New()
	}
	return s
}

func (s *sums) Write(b []byte) (int, error) {
	s.want.Write(b)
	if s.named != s.want {
		s.named.Write(b)
	}
	return len(b), nil
}

func (s *sums) wanted() checksum.Digest { return checksum.Of(s.algorithm, s.want) }

func (s *sums) sha256() string { return hex.EncodeToString(s.named.Sum(nil)) }

// known is what is kept beside a part, for the next run.
type known struct {
	URL string `json:"url"`
	// Validator is what the server calls this version of the file: a strong ETag, or
	// the time of the last change.
	Validator string `json:"validator"`
	Total     int64  `json:"total"`
}

// partial is a file that is being downloaded. What is in it is never believed before all
// of it was verified.
type partial struct {
	dir  cache.Dir
	key  string
	file *os.File
	size int64
	sums *sums
	known
	// pieced says that it was put together of several answers.
	pieced bool
	// came says that in this run something came.
	came bool
	// webPage says that the server called it one.
	webPage bool
	// checked is up to where it is known that there is room.
	checked int64
}

// openPart opens what an earlier run left, and hashes it.
func openPart(ctx context.Context, dir cache.Dir, w Wanted) (*partial, error) {
	p := &partial{dir: dir, key: w.Digest.String(), sums: newSums(w.Digest.Algorithm)}
	f, err := os.OpenFile(dir.Part(p.key), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	p.file = f
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("something that is no file is in the way: " + dir.Part(p.key))
	}
	if err == nil {
		p.size, err = copyTo(ctx, p.sums, f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if p.pieced = p.size > 0; p.pieced && (!dir.Noted(p.key, &p.known) || p.URL != w.URL) {
		// It is of another address or of nobody knows what; the digest will tell.
		p.known = known{}
	}
	p.URL = w.URL
	return p, nil
}

func (p *partial) close() { _ = p.file.Close() }

// reset throws away what has come.
func (p *partial) reset() error {
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.size, p.sums, p.pieced, p.checked = 0, newSums(p.sums.algorithm), false, 0
	p.known = known{URL: p.URL}
	return nil
}

// discard removes the part.
func (p *partial) discard() { _ = p.dir.Drop(p.key) }

// begin notes what the server says of the file, before the first byte of it is written.
func (p *partial) begin(validator string, total int64) error {
	if p.Validator == validator && p.Total == total {
		return nil
	}
	p.Validator, p.Total = validator, total
	return p.dir.Note(p.key, p.known)
}

// step is how much is written between two looks at how much room there is.
const step = 64 << 20

func (p *partial) Write(b []byte) (int, error) {
	if p.size+int64(len(b)) > p.checked {
		if err := p.dir.Need(int64(len(b))); err != nil {
			return 0, err
		}
		p.checked = p.size + step
	}
	n, err := p.file.WriteAt(b, p.size)
	_, _ = p.sums.Write(b[:n])
	p.size += int64(n)
	p.came = true
	return n, err
}

// copyTo copies until the end or until ctx ends.
func copyTo(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, 256<<10)
	var sum int64
	for {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return sum, err
			}
			sum += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
	}
}

// stallReader breaks a connection on which nothing comes.
type stallReader struct {
	io.Reader
	timer *time.Timer
	limit time.Duration
}

func (r stallReader) Read(b []byte) (int, error) {
	r.timer.Reset(r.limit)
	n, err := r.Reader.Read(b)
	r.timer.Reset(r.limit)
	return n, err
}

// strong gives what If-Range may say: only a strong validator means the same bytes
// (RFC 9110, section 13.1.5).
func strong(etag, modified string) string {
	if etag != "" && !strings.HasPrefix(etag, "W/") {
		return etag
	}
	return modified
}

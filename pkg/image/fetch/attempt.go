package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// statusError is an answer that is not the file.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// writeError is a part that cannot be written to.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// errPiece is an answer with another piece than the one that was asked for.
var errPiece = errors.New("it answered with another part of the file than the one asked for")

// attempt asks once for what is missing. It is done when the part is complete as far as
// the server tells; without an error and not done it has come further.
func (c *Client) attempt(ctx context.Context, client *http.Client, p *partial, w Wanted, t *task) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := c.request(ctx, w.URL)
	if err != nil {
		return false, err
	}
	if p.size > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		if p.Validator != "" {
			r.Header.Set("If-Range", p.Validator)
		}
	}
	resp, err := client.Do(r) //nolint:gosec // the address is the definition's own
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	end, complete, err := p.answer(resp)
	if err != nil || complete {
		return complete, err
	}
	if p.Total > 0 {
		if err := p.dir.Need(p.Total - p.size); err != nil {
			return false, writeError{err}
		}
	}
	timer := time.AfterFunc(c.stall(), func() { cancel(errStalled) })
	defer timer.Stop()
	t.event.Total = max(p.Total, 0)
	body := stallReader{resp.Body, timer, c.stall()}
	_, err = copyTo(ctx, writerFunc(func(b []byte) (int, error) {
		n, err := p.Write(b)
		t.event.Current = p.size
		t.emit()
		if err != nil {
			err = writeError{err}
		}
		return n, err
	}), body)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errStalled):
		return false, errStalled
	case err != nil:
		return false, err
	case end >= 0 && p.size < end:
		return false, io.ErrUnexpectedEOF
	}
	return p.Total <= 0 || p.size >= p.Total, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// answer takes the part to where the answer begins. end is where the answer ends, -1 if it
// does not say.
func (p *partial) answer(resp *http.Response) (end int64, complete bool, err error) {
	validator := strong(resp.Header.Get("ETag"), resp.Header.Get("Last-Modified"))
	p.webPage = strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html")
	switch resp.StatusCode {
	case http.StatusOK:
		if p.size > 0 {
			if err := p.reset(); err != nil {
				return 0, false, writeError{err}
			}
		}
		if err := p.begin(validator, resp.ContentLength); err != nil {
			return 0, false, writeError{err}
		}
		return resp.ContentLength, false, nil
	case http.StatusPartialContent:
		first, last, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || first != p.size || p.size == 0 || total >= 0 && p.Total > 0 && total != p.Total {
			if err := p.reset(); err != nil {
				return 0, false, writeError{err}
			}
			return 0, false, errPiece
		}
		p.pieced = true
		if err := p.begin(validator, total); err != nil {
			return 0, false, writeError{err}
		}
		return last + 1, false, nil
	case http.StatusRequestedRangeNotSatisfiable:
		_, _, total, _ := contentRange(resp.Header.Get("Content-Range"))
		if p.size > 0 && total == p.size {
			return 0, true, nil
		}
		if p.size == 0 {
			break
		}
		if err := p.reset(); err != nil {
			return 0, false, writeError{err}
		}
		return 0, false, errPiece
	}
	return 0, false, &statusError{resp.StatusCode, resp.Status}
}

// contentRange reads "bytes 0-99/100", "bytes 0-99/*" or "bytes */100"; what is not said
// is -1.
func contentRange(s string) (first, last, total int64, ok bool) {
	none := func() (int64, int64, int64, bool) { return -1, -1, -1, false }
	rest, isBytes := strings.CutPrefix(s, "bytes ")
	span, size, hasSize := strings.Cut(rest, "/")
	if !isBytes || !hasSize {
		return none()
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 || s[0] == '+' {
			return -1
		}
		return n
	}
	if total = number(size); total < 0 && size != "*" {
		return none()
	}
	if span == "*" {
		return -1, -1, total, false
	}
	from, to, hasTo := strings.Cut(span, "-")
	first, last = number(from), number(to)
	if !hasTo || first < 0 || last < first || total >= 0 && last >= total {
		return none()
	}
	return first, last, total, true
}

// Text downloads something small, such as a file of checksums, of at most so many bytes.
func (c *Client) Text(ctx context.Context, address string, most int64) ([]byte, error) {
	client, idle := c.http()
	defer idle()
	p := &partial{}
	for broken := 1; ; broken++ {
		data, err := c.text(ctx, client, address, most)
		switch {
		case err == nil:
			return data, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case lasting(err) || broken >= attempts || !answered(err):
			return nil, c.explain(address, p, err)
		}
		if err := c.wait(ctx, broken); err != nil {
			return nil, err
		}
	}
}

func (c *Client) text(ctx context.Context, client *http.Client, address string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*c.stall(), errStalled)
	defer cancel()
	r, err := c.request(ctx, address)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(r) //nolint:gosec // the address is the definition's own
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, &statusError{resp.StatusCode, resp.Status}
		}
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(resp.Body, most+1)); err == nil {
			if int64(len(data)) > most {
				return nil, errTooMuch
			}
			return data, nil
		}
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		return nil, errStalled
	}
	return nil, err
}

var errTooMuch = errors.New("it is larger than it can be")

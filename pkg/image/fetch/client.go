package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"vmctl/pkg/progress"
)

// Client downloads. The zero value works; it honours HTTPS_PROXY, HTTP_PROXY and NO_PROXY,
// and SSL_CERT_FILE and SSL_CERT_DIR for the certificates that are trusted.
type Client struct {
	// Sink hears how far a download is; nil means nobody does.
	Sink progress.Sink
	// Agent is what servers are told that asks.
	Agent string
	// Roots are the certificates that are trusted instead of the system's.
	Roots *x509.CertPool
	// Stall is how long nothing may come before a connection counts as broken; 0 is 30 seconds.
	Stall time.Duration
	// Pause is how long to wait before the first new attempt, twice as long before the
	// next, and so on; 0 is one second.
	Pause time.Duration
}

const (
	stall    = 30 * time.Second
	pause    = time.Second
	maxPause = 16 * time.Second
	// attempts is how often in a row a download may break without having come further.
	attempts = 5
	// dialTimeout is for a connection, and again for its encryption.
	dialTimeout  = 15 * time.Second
	maxRedirects = 10
)

var errStalled = errors.New("nothing came any more")

// errRedirect is a redirect to where we do not go.
var errRedirect = errors.New("redirected to an address that is not https")

func (c *Client) sink() progress.Sink {
	if c.Sink == nil {
		return progress.Discard
	}
	return c.Sink
}

func (c *Client) stall() time.Duration {
	if c.Stall > 0 {
		return c.Stall
	}
	return stall
}

// wait waits before the nth attempt in a row.
func (c *Client) wait(ctx context.Context, n int) error {
	d := c.Pause
	if d <= 0 {
		d = pause
	}
	timer := time.NewTimer(min(d<<min(n-1, 10), maxPause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// http makes a client of its own for one download; idle closes its connections.
func (c *Client) http() (client *http.Client, idle func()) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: c.stall(),
		ForceAttemptHTTP2:     true,
		// What is verified are the bytes of the file, not what they unpack to.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch {
		case r.URL.Scheme != "https":
			return errRedirect
		case len(via) > maxRedirects:
			return errors.New("redirected too often")
		}
		return nil
	}}, t.CloseIdleConnections
}

func (c *Client) request(ctx context.Context, address string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity")
	if c.Agent != "" {
		r.Header.Set("User-Agent", c.Agent)
	}
	return r, nil
}

// Display is a URL as it may be shown: without a query, which may hold a key.
func Display(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the address"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Hostname()
	}
	return "the server"
}

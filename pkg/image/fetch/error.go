package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/image/cache"
	"vmctl/pkg/image/checksum"
	"vmctl/pkg/spec"
)

// lasting says that another attempt would end the same way.
func lasting(err error) bool {
	var status *statusError
	var certificate *tls.CertificateVerificationError
	var write writeError
	switch {
	case errors.As(err, &status):
		return status.code < 500 && status.code != http.StatusTooManyRequests && status.code != http.StatusRequestTimeout
	case errors.As(err, &certificate), errors.As(err, &write), errors.Is(err, errRedirect), errors.Is(err, errTooMuch):
		return true
	}
	return false
}

// answered says that there is a server: only then is it worth asking again at once.
func answered(err error) bool {
	var status *statusError
	var op *net.OpError
	switch {
	case errors.As(err, &status):
		return true
	case errors.As(err, &op) && op.Op == "dial":
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, errPiece) || errors.Is(err, errStalled)
}

// explain words why a download ended.
func (c *Client) explain(address string, p *partial, err error) error {
	host, shown := ansi.Plain(hostOf(address)), ansi.Plain(Display(address))
	bad := func(format string, args ...any) *fault.Error { return fault.New(fault.Build, format, args...) }
	var status *statusError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var write writeError
	switch {
	case errors.As(err, &write):
		return write.error // the cache's to explain
	case errors.As(err, &status):
		return explainStatus(address, status)
	case errors.As(err, &dns):
		why := "its name is not known"
		if !dns.IsNotFound {
			why = "no name server answers"
		}
		return bad("%s cannot be downloaded: %s is not found, %s", shown, ansi.Plain(dns.Name), why).
			WithHint("check the address and the network; behind a proxy set HTTPS_PROXY")
	case errors.As(err, &certificate):
		return bad("%s cannot be downloaded: the certificate of %s is not to be trusted, %s", shown, host, untrusted(certificate)).
			WithHint("if the server is your own, name its certification authority: SSL_CERT_FILE=ca.pem vmctl …")
	case errors.Is(err, errRedirect):
		return bad("%s is not downloaded: the server leads to %s, which is not https", shown, redirected(err)).
			WithHint("name an https:// address of the file itself")
	case errors.Is(err, errTooMuch):
		return bad("%s is not what it should be: %w", shown, err).WithHint("look at it: is its address right?")
	case errors.Is(err, errPiece):
		return bad("%s cannot be downloaded: %w", shown, err)
	}
	return bad("%s cannot be downloaded: %s", shown, broken(host, err)).WithHint("%s", goOn(p))
}

// broken words a connection that is none or none any more.
func broken(host string, err error) string {
	var op *net.OpError
	isDial := errors.As(err, &op) && op.Op == "dial"
	switch {
	case err == nil:
		return host + " keeps sending pieces that bring it no further"
	case errors.Is(err, errStalled):
		return fmt.Sprintf("nothing more came from %s", host)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s, connection refused", op.Addr)
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return host + " cannot be reached from here"
	case isDial && op.Timeout():
		return host + " does not answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return fmt.Sprintf("%s broke the connection, %d times in a row", host, attempts+1)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return host + " does not answer"
	}
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	return ansi.Plain(err.Error())
}

func goOn(p *partial) string {
	if p.size > 0 {
		return fmt.Sprintf("run it again: it goes on after the %s that came", spec.Size(p.size))
	}
	return "check the address and the network; behind a proxy set HTTPS_PROXY"
}

func redirected(err error) string {
	if of, ok := errors.AsType[*url.Error](err); ok {
		return ansi.Plain(Display(of.URL))
	}
	return "another address"
}

func untrusted(err *tls.CertificateVerificationError) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "nobody who is known has signed it"
	case errors.As(err, &name):
		return "it is another server's"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired, or the clock here is wrong"
	}
	return ansi.Plain(err.Err.Error())
}

func explainStatus(address string, err *statusError) error {
	host, shown := ansi.Plain(hostOf(address)), ansi.Plain(Display(address))
	bad := func(format string, args ...any) *fault.Error { return fault.New(fault.Build, format, args...) }
	switch err.code {
	case http.StatusNotFound, http.StatusGone:
		dir := path.Dir(shown)
		if u, err := url.Parse(address); err == nil {
			dir = ansi.Plain((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: path.Dir(u.Path)}).String())
		}
		return bad("%s is not there (%d from %s)", shown, err.code, host).
			WithHint("look at what is there: %s", dir)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return bad("%s may not be downloaded by everybody (%d from %s)", shown, err.code, host).
			WithHint("download it another way, and name the file: image: ./disk.qcow2")
	}
	return bad("%s cannot be downloaded: %s answers %s", shown, host, ansi.Plain(err.text)).WithHint("try again later")
}

// mismatch is a file that is not what it was said to be.
func mismatch(w Wanted, got checksum.Digest, webPage bool) error {
	err := fault.New(fault.Build, "%s is not what it was said to be: its checksum is another one", ansi.Plain(w.Name)).
		WithDetails(fmt.Sprintf("%s\n  wanted %s (%s)\n  got    %s", w.Digest.Algorithm, w.Digest.Hex, w.Source, got.Hex))
	if webPage {
		return err.WithHint("what came is a web page: name the address of the file itself")
	}
	return err.WithHint("nothing of it was used; if the publisher has made a new one, take its checksum over, or ask again with --refresh")
}

// NoRoom words that a cache is full.
func NoRoom(e *cache.NoRoomError) error {
	err := fault.New(fault.Build, "there is no room for the image in %s: %s is free", e.Dir, spec.Size(max(e.Free, 0)))
	if e.Need > 0 {
		err = fault.New(fault.Build, "there is no room for the image in %s: %s is needed, and %s is free", e.Dir, spec.Size(e.Need), spec.Size(max(e.Free, 0)))
	}
	return err.WithHint("make room and run it again, or set XDG_CACHE_HOME to a directory with more; what came already is kept")
}

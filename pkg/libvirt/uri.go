package libvirt

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"vmctl/pkg/fault"
)

// A URI may come from a file that somebody else wrote, and libvirt's can run local
// programs (command=, netcat=, the ext transport) and drop checks (no_verify=). What
// is not known to be harmless is refused.
var (
	transports = []string{"", "unix", "ssh", "libssh", "libssh2", "tls", "tcp"}
	parameters = []string{"socket", "mode", "proxy", "keyfile", "known_hosts", "known_hosts_verify", "sshauth", "no_tty", "pkipath", "tls_priority", "name"}
)

// place is what a URI tells about where the host is.
type place struct {
	// local says that client and host are one machine.
	local bool
	// session says that the daemon runs as an ordinary user.
	session bool
	// test is libvirt's in-memory test driver.
	test bool
}

// CheckURI refuses what could run a program or drop a check on this machine. A word
// without a colon is an alias from the user's own libvirt.conf.
func CheckURI(uri string) error {
	if uri == "" || !strings.ContainsAny(uri, ":/?") && !strings.HasPrefix(uri, "-") {
		return nil
	}
	if strings.ContainsFunc(uri, unicode.IsControl) {
		return badURI(uri, "contains a control character")
	}
	if at := strings.IndexFunc(uri, isShell); at >= 0 {
		return badURI(uri, "contains "+quote(uri[at:at+1])+", which a shell could take for its own")
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" || u.Fragment != "" {
		return badURI(uri, "is not a connection URI")
	}
	driver, transport, _ := strings.Cut(u.Scheme, "+")
	if driver != "qemu" && driver != "test" {
		return badURI(uri, "is not a QEMU host")
	}
	if !slices.Contains(transports, transport) {
		return badURI(uri, "uses transport "+quote(transport)+", which vmctl does not allow")
	}
	if strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-") {
		return badURI(uri, "has a host or user that begins with a dash")
	}
	// What is written as %XX comes out only now. ssh hands users and hosts to a ProxyCommand's shell.
	odd := func(r rune) bool { return isShell(r) && r != '\\' || r == '&' || r == ' ' || unicode.IsControl(r) } // \ stands in users of a domain
	if strings.ContainsFunc(u.Hostname()+u.User.Username(), odd) {
		return badURI(uri, "has a host or user with a character that no name has")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return badURI(uri, "has parameters that cannot be read")
	}
	for key, values := range query {
		if strings.ContainsFunc(strings.Join(values, ""), unicode.IsControl) {
			return badURI(uri, "has a control character in parameter "+quote(key))
		}
		if !slices.Contains(parameters, key) {
			return badURI(uri, "has parameter "+quote(key)+", which vmctl does not allow")
		}
		// ignore takes every key, auto every new one, and case does not matter to libvirt.
		if key == "known_hosts_verify" && slices.ContainsFunc(values, func(v string) bool { return v != "normal" }) {
			return badURI(uri, "switches off the check of the host's key")
		}
	}
	return nil
}

// isShell says that a shell could do something with a character. No URI of a libvirt host needs
// one, and a ProxyCommand of the person's or a hint that is copied would bring it to a shell.
func isShell(r rune) bool { return strings.ContainsRune("`$;|<>(){}\"'\\", r) }

func badURI(uri, why string) error {
	return fault.New(fault.Usage, "%s %s", quote(uri), why).
		WithHint("write it as qemu:///system, qemu:///session or qemu+ssh://user@host/system")
}

// locate reads a normalised URI. root has no session of its own: libvirt gives it the
// system daemon.
func locate(uri string, euid int) place {
	u, err := url.Parse(uri)
	if err != nil {
		return place{}
	}
	driver, transport, _ := strings.Cut(u.Scheme, "+")
	p := place{
		local: u.Host == "" && (transport == "" || transport == "unix"),
		test:  driver == "test",
	}
	root := u.User.Username() == "root" || p.local && euid == 0
	p.session = !p.test && strings.TrimRight(u.Path, "/") == "/session" && !root
	return p
}

// defaultTarget is where the pool's directory belongs, or empty when that depends on
// a home directory on another machine.
func defaultTarget(p place) string {
	if !p.session {
		return "/var/lib/libvirt/images/" + PoolName
	}
	if !p.local {
		return ""
	}
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		data = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(data, "libvirt", "images", PoolName)
}

// withCommand names the program that libvirt runs in place of ssh. CheckURI lets no one
// else name one.
func withCommand(uri, program string) string {
	u, err := url.Parse(uri)
	if err != nil || program == "" || !strings.HasSuffix(u.Scheme, "+ssh") {
		return uri
	}
	query := u.Query()
	query.Set("command", program)
	u.RawQuery = query.Encode()
	return u.String()
}

// withoutCommand is the URI as people know it.
func withoutCommand(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || !u.Query().Has("command") {
		return uri
	}
	query := u.Query()
	query.Del("command")
	u.RawQuery = query.Encode()
	return u.String()
}

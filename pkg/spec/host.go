package spec

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

// CheckHost says why uri cannot be the host of a definition, or nil. A definition
// comes from a repository, so it may only name a host: what would run a program
// here (command, netcat, the ext transport), switch off host keys (no_verify,
// known_hosts) or bring credentials is refused. A URI that a person types after
// --connect is theirs, and is not held to this.
// A word without a colon is a host's name, which each user's own configuration explains.
// Source: https://libvirt.org/uri.html and remote-driver parameters there.
func CheckHost(uri string) error {
	if regexp.MustCompile(`^` + hostNamePattern + `$`).MatchString(uri) {
		return nil
	}
	bad := func(format string, args ...any) *fault.Error {
		return fault.New(fault.Usage, "%s cannot be the host: "+format, append([]any{quote(uri)}, args...)...).
			WithHint("write a libvirt URI, such as qemu+ssh://me@server.example.org/system, or a name of vmctl host list")
	}
	// Nothing that libvirt's parser and net/url might read differently.
	if i := strings.IndexFunc(uri, notURIRune); i >= 0 {
		for _, r := range uri[i:] {
			return bad("it contains %s", nameOf(r))
		}
	}
	u, err := url.Parse(uri)
	if err != nil || len(uri) > 512 || u.Opaque != "" || u.Fragment != "" || !strings.Contains(uri, "://") {
		return bad("it is not a libvirt URI")
	}
	driver, transport, hasTransport := strings.Cut(u.Scheme, "+")
	if driver != "qemu" && driver != "test" {
		return bad("%s is not a driver vmctl knows (qemu)", quote(driver))
	}
	if transport == "ext" {
		return bad("the transport ext runs a program of the definition's choice here")
	}
	transports := []string{"unix", "ssh", "libssh", "libssh2", "tcp", "tls"}
	if hasTransport && !slices.Contains(transports, transport) {
		return bad("%s is not a transport vmctl knows (%s)", quote(transport), strings.Join(transports, ", "))
	}
	if hasTransport && transport != "unix" && u.Host == "" {
		return bad("it names no server to connect to")
	}
	if _, has := u.User.Password(); has {
		return bad("it has a password in it").WithHint("use an ssh key, and take the password out of the file")
	}
	// ssh would take them for options.
	if strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.User.Username(), "-") {
		return bad("a server's or user's name cannot begin with -")
	}
	if driver == "qemu" && u.Path != "/system" && u.Path != "/session" {
		return bad("it ends in neither /system nor /session")
	}
	return checkHostParameters(u, bad)
}

// hostNamePattern is what vmctl host add takes for a name.
const hostNamePattern = `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`

func checkHostParameters(u *url.URL, bad func(string, ...any) *fault.Error) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("what comes after ? cannot be understood")
	}
	allowed := []string{"keyfile", "mode", "no_tty", "socket", "sshauth"}
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case slices.Contains(allowed, name):
		case slices.Contains([]string{"command", "netcat", "proxy"}, name):
			return bad("the parameter %s chooses what program is run", name).
				WithHint("give the whole URI on the command line: vmctl -c URI")
		case slices.Contains([]string{"no_verify", "no_sanity", "known_hosts", "known_hosts_verify", "pkipath"}, name):
			return bad("the parameter %s changes how the server's identity is checked", name).
				WithHint("give the whole URI on the command line: vmctl -c URI")
		default:
			return bad("the parameter %s is not allowed in a definition (%s are)", quote(name), strings.Join(allowed, ", ")).
				WithHint("give the whole URI on the command line: vmctl -c URI")
		}
	}
	return nil
}

func notURIRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("+.:/@?=&_-~[],", r)
}

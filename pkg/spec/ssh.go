package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// SSHPort is where ssh servers listen.
const SSHPort = 22

const (
	loginLength  = 32
	loginPattern = `^[A-Za-z0-9_][A-Za-z0-9_.-]*$`
	keyPattern   = `^[^-\s"'\\$%][^\s"'\\$%]*$`
)

// SSH is how a person logs in to the guest.
type SSH struct {
	// User is the account in the guest; empty is the one that cloud-init makes, else root.
	User string
	// Key is a file with a private key on the client, relative to the project; a leading
	// ~/ is the home directory. Empty leaves the choice to ssh.
	Key string
	// Port is where the guest's server listens.
	Port uint16
}

func freshSSH(string) SSH { return SSH{Port: SSHPort} }

func sshField() field {
	return single(field{
		Field: Field{
			Key: "ssh", Type: "mapping of user, key and port", Default: "the user that cloud-init makes, else root; the keys that ssh itself takes; port 22",
			Example: `{"user": "admin"}`,
			Doc:     "How vmctl ssh, cp and forward log in to the guest. It changes nothing in the machine itself.",
		},
		words: []string{"login", "sshd", "remote"},
	}, record[SSH]{
		what: "ssh", example: "ssh: {user: admin}", fields: sshFields, fresh: freshSSH,
	}, func(p *parser, t SSH) { p.m.SSH = t })
}

func sshFields(t *SSH) fieldTable {
	return fieldTable{
		{
			Field: Field{
				Key: "user", Type: "text", Default: "the user that cloud-init makes, else root", Example: "admin",
				Doc: "The account in the guest.",
			},
			words:  []string{"username", "login", "name", "account"},
			schema: text(loginPattern, loginLength),
			read: func(p *parser, v value) {
				readPattern(p, v, &t.User, "the name of an account", loginPattern, loginLength, "write it as in the guest, such as user: admin")
			},
		},
		{
			Field: Field{
				Key: "key", Type: "file", Default: "what ssh itself takes", Example: "~/.ssh/id_ed25519",
				Doc: "The private key to log in with: a file on the client, relative to the project, or to the home directory with ~/.",
			},
			words:  []string{"identity", "identity-file", "identityfile", "private-key", "keyfile"},
			schema: text(keyPattern, pathLength),
			read: func(p *parser, v value) {
				readPattern(p, v, &t.Key, "a path without blanks and quotes", keyPattern, pathLength, "such as key: ~/.ssh/id_ed25519")
			},
		},
		{
			Field: Field{
				Key: "port", Type: "number", Default: strconv.Itoa(SSHPort), Example: "2200",
				Doc: "The port that the guest's ssh server listens on.",
			},
			words:  []string{"sshport", "ssh-port"},
			schema: number(1, 65535),
			read:   func(p *parser, v value) { readPortNumber(p, v, &t.Port) },
		},
	}
}

// readPattern takes text that a pattern allows.
func readPattern(p *parser, v value, dst *string, want, pattern string, most int, hint string) {
	s, ok := p.text1(v, want, hint)
	switch {
	case !ok:
	case len(s) > most || !regexp.MustCompile(pattern).MatchString(s) || strings.ContainsFunc(s, unprintable):
		p.add(v.at, v.path, fmt.Sprintf("%s is not %s", quote(s), want), hint)
	default:
		*dst = s
	}
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func readPortNumber(p *parser, v value, dst *uint16) {
	s, ok := scalarText(v.node)
	_, isInteger := v.node.(*ast.IntegerNode)
	n, err := strconv.ParseUint(s, 10, 16)
	switch {
	case !ok || !isInteger:
		p.mismatch(v, "a number", "write port: 22")
	case err != nil || n == 0 || strings.HasPrefix(s, "0"):
		p.add(v.at, v.path, fmt.Sprintf("%s is not a port from 1 to 65535", quote(s)), "write port: 22")
	default:
		*dst = uint16(n)
	}
}

// CheckUser says whether a word can be the name of an account in a guest.
func CheckUser(name string) bool {
	return len(name) <= loginLength && regexp.MustCompile(loginPattern).MatchString(name)
}

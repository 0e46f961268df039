package spec

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// CloudInit is what cloud-init in the guest is told on a disk of its own (the NoCloud
// data source).
type CloudInit struct {
	// Use says whether there is such a disk at all; empty leaves it to the image.
	Use Choice
	// User is the name of the user who can log in; empty is the client user's.
	User string
	// Hostname is the guest's; empty is the machine's name.
	Hostname string
	// Keys are public ssh keys, or files with them; KeysSet says that they were given, even
	// none. Without them they are the client user's own.
	Keys    []string
	KeysSet bool
	// UserData and NetworkConfig are files of the person's own, or empty.
	UserData, NetworkConfig string
}

// Choice is a yes or no that may be left to something else.
type Choice string

// The choices; the empty one is no choice.
const (
	Yes Choice = "yes"
	No  Choice = "no"
)

const (
	userPattern     = `^[a-z_][a-z0-9_-]{0,31}$`
	userLength      = 32
	hostnamePattern = `^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`
	hostnameLength  = 253
	keyLength       = 16 << 10
	maxKeys         = 64
	ownFilePattern  = `^[^\x00-\x1f\x7f~$-][^\x00-\x1f\x7f]*$`
)

func cloudInitField() field {
	f := single(field{
		Field: Field{
			Key: "cloud-init", Type: "mapping, true or false", Default: "true for a publisher's cloud image, else false",
			Example: `{"user": "me", "user-data": "web.cloud-config"}`,
			Doc: "What cloud-init in the guest is told, on a small read-only disk (NoCloud, labelled cidata, with the serial vmctl-seed): " +
				"a user with your ssh keys, who may use sudo, and the machine's host name. true takes the defaults of all its keys.",
		},
		words: []string{"cloudinit", "user-data", "userdata", "seed", "nocloud"},
	}, record[CloudInit]{
		what: "cloud-init", example: "cloud-init: {user: me}",
		fields: cloudInitFields,
		fresh:  func(string) CloudInit { return CloudInit{Use: Yes} },
		short: func(p *parser, v value, t *CloudInit) {
			on := true
			if readBool(p, v, &on); !on {
				t.Use = No
			}
		},
		shortSchema: truth(),
	}, func(p *parser, c CloudInit) { p.m.CloudInit = c })
	return f
}

func cloudInitFields(t *CloudInit) fieldTable {
	keys := publicKeysField("Public keys that may log in as the user. [] is none.", &t.Keys, &t.KeysSet)
	hostname := hostnameField("The guest's host name.", &t.Hostname)
	return fieldTable{
		{
			Field: Field{
				Key: "user", Type: "name", Default: "your own user name", Example: "me",
				Doc: "The user who can log in with the ssh keys, and use sudo; the image's own default user gets this name.",
			},
			words:  []string{"username", "login", "users", "name"},
			schema: text(userPattern, userLength),
			read:   readLine(&t.User, "the name of a user", userPattern, userLength, "use lower-case letters, digits, - and _"),
		},
		keys,
		hostname,
		{
			Field: Field{
				Key: "user-data", Type: "file", Default: "none", Example: "web.cloud-config",
				Doc: "A file of your own for cloud-init, relative to the project: #cloud-config, a script, or whatever else it takes. " +
					"It comes after what vmctl says, so that in a cloud-config your keys win.",
			},
			words:  []string{"userdata", "user_data", "config", "cloud-config"},
			schema: text(ownFilePattern, pathLength),
			read:   readLine(&t.UserData, "a file", ownFilePattern, pathLength, "write its path, relative to the project"),
		},
		{
			Field: Field{
				Key: "network-config", Type: "file", Default: "the image's own: DHCP on each card", Example: "web.network",
				Doc: "A file with cloud-init's network configuration (version 1 or 2), relative to the project.",
			},
			words:  []string{"network", "networkconfig", "netplan"},
			schema: text(ownFilePattern, pathLength),
			read:   readLine(&t.NetworkConfig, "a file", ownFilePattern, pathLength, "write its path, relative to the project"),
		},
	}
}

// readLine takes text of a pattern.
func readLine(dst *string, want, pattern string, length int, hint string) func(*parser, value) {
	return func(p *parser, v value) {
		s, ok := p.text1(v, "text", hint)
		switch {
		case !ok:
		case len(s) > length || !regexp.MustCompile(pattern).MatchString(s):
			p.add(v.at, v.path, fmt.Sprintf("%s cannot be %s", quote(s), want), hint)
		default:
			*dst = s
		}
	}
}

func hostnameField(doc string, dst *string) field {
	return field{
		Field: Field{
			Key: "hostname", Type: "host name", Default: "the machine's name", Example: "web.example.org", Doc: doc,
		},
		words:  []string{"host", "fqdn", "local-hostname"},
		schema: text(hostnamePattern, hostnameLength),
		read:   readLine(dst, "a host name", hostnamePattern, hostnameLength, "use letters, digits and hyphens, and dots between names"),
	}
}

// publicKeysField takes public ssh keys, or files with them; given says that it was
// there, even without any.
func publicKeysField(doc string, dst *[]string, given *bool) field {
	f := texts(field{
		Field: Field{
			Key: "ssh-keys", Type: "list of public keys or files with them", Default: "~/.ssh/*.pub", Example: `["keys/me.pub"]`,
			Doc: doc,
		},
		words: []string{"ssh-key", "keys", "authorized-keys", "ssh-authorized-keys", "ssh_authorized_keys"},
	}, `^[^\x00-\x1f\x7f]+$`, keyLength, maxKeys, func(p *parser, entry value, s string) {
		switch {
		case strings.Contains(s, "PRIVATE KEY"):
			p.add(entry.at, entry.path, "this is a private key, which is to stay with you", "write the public one: the line of the file that ends in .pub")
		case len(s) > keyLength || !regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`).MatchString(s):
			p.add(entry.at, entry.path, "this is neither one public key nor a file", "")
		default:
			*dst = append(*dst, s)
		}
	})
	read := f.read
	f.read = func(p *parser, v value) {
		*given = true
		if list, ok := v.node.(*ast.SequenceNode); ok && len(list.Values) == 0 {
			return
		}
		read(p, v)
	}
	return f
}

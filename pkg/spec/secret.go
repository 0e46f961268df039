package spec

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"

	"vmctl/pkg/fault"
)

const (
	maxSecrets = 64
	// SecretNameLength is the longest name of a secret. systemd takes the names of files.
	SecretNameLength = 128
	secretPattern    = `^[A-Za-z0-9_][A-Za-z0-9_.@-]*$`

	sourceLength  = 512
	filePattern   = `^[^\x00-\x1f\x7f]+$`
	envPattern    = `^[A-Za-z_][A-Za-z0-9_]*$`
	maxWords      = 64
	maxWord       = 1024
	storePrefix   = "/nix/store/"
	sopsKeyPrefix = "#"
)

// Secret is what a guest gets as a systemd credential. The definition says where it
// comes from; it never holds the secret itself.
type Secret struct {
	// Name is the credential's name.
	Name string
	// One of these says where it comes from. File, Sops and Age are paths on the client,
	// relative to the project; a leading ~/ is the home directory.
	File string
	// Env is the name of an environment variable of vmctl's own.
	Env string
	// Command is a program with its arguments; what it prints is the secret.
	Command []string
	// Sops is a file that sops decrypts; SopsKey is one value of it, as a path of keys with
	// dots in between, or empty for the whole file.
	Sops, SopsKey string
	// Age is a file encrypted with age.
	Age string
	// Persist lets the guest keep it for boots that vmctl does not begin.
	Persist bool
}

// Source is where a secret comes from, for people.
func (s Secret) Source() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "environment variable " + s.Env
	case len(s.Command) > 0:
		return "command " + s.Command[0]
	case s.SopsKey != "":
		return "sops " + s.Sops + sopsKeyPrefix + s.SopsKey
	case s.Sops != "":
		return "sops " + s.Sops
	default:
		return "age " + s.Age
	}
}

// CheckSecretName says why name cannot be a secret's name, or nil: systemd takes it as
// the name of a credential, which is a file's.
func CheckSecretName(name string) error {
	switch {
	case name == "":
		return fault.New(fault.Usage, "a secret's name cannot be empty")
	case len(name) > SecretNameLength:
		return fault.New(fault.Usage, "%s cannot be a secret's name: it has %d characters, and %d are the most", quote(name), len(name), SecretNameLength)
	case !regexp.MustCompile(secretPattern).MatchString(name):
		return fault.New(fault.Usage, "%s cannot be a secret's name", quote(name)).
			WithHint("use letters, digits and ._@-, beginning with a letter or digit, such as db.password")
	}
	return nil
}

func secretsField() field {
	f := named(field{
		Field: Field{
			Key: "secrets", Type: "mapping NAME: source", Default: "none",
			Example: `{"db": {"file": "~/.secrets/db"}}`,
			Doc: "What the guest gets as systemd credentials before its services start: LoadCredential=NAME in a unit, " +
				"/run/credstore/NAME in the guest. Each has one of file, env, command, sops and age. They are read when vmctl boots the machine, travel on a " +
				"small disk that is wiped as soon as the guest has taken it, and are never written anywhere else. This needs vmctl's NixOS module in the guest, or its script.",
		},
		words: []string{"secret", "credentials", "credential", "passwords", "env"},
	}, secretRecord(), maxSecrets, SecretNameLength, func(p *parser, s Secret) { p.m.Secrets = append(p.m.Secrets, s) })
	f.schema.PropertyNames = text(secretPattern, SecretNameLength)
	read := f.read
	f.read = func(p *parser, v value) {
		p.maskPlain(v)
		read(p, v)
	}
	return f
}

// maskPlain keeps the report from showing a secret that somebody wrote into the
// definition itself, in place of where it is.
func (p *parser) maskPlain(v value) {
	pairs, _ := v.node.(*ast.MappingNode)
	if pairs == nil {
		return
	}
	for _, pair := range pairs.Values {
		if _, plain := scalarText(pair.Value); !plain {
			continue
		}
		if at := p.place(pair.Value); at.line > 0 && at.line <= len(p.lines) {
			line := []rune(p.lines[at.line-1])
			p.lines[at.line-1] = string(line[:min(max(at.column-1, 0), len(line))]) + "…"
		}
	}
}

func secretRecord() record[Secret] {
	var one []*jsonschema.Schema
	for _, key := range secretSources() {
		one = append(one, &jsonschema.Schema{Required: []string{key}})
	}
	return record[Secret]{
		what: "a secret", example: "db: {file: ~/.secrets/db}",
		fields: secretFields, name: CheckSecretName, together: secretTogether,
		fresh: func(name string) Secret { return Secret{Name: name} },
		rules: []*jsonschema.Schema{{OneOf: one}},
	}
}

func secretSources() []string { return []string{"file", "env", "command", "sops", "age"} }

func secretFields(t *Secret) fieldTable {
	const none = "none; one of file, env, command, sops and age must be given"
	return fieldTable{
		{
			Field: Field{
				Key: "file", Type: "file on the client", Default: none, Example: "~/.secrets/db",
				Doc: "A file with the secret in it, as it is, relative to the project, or to the home directory with ~/. Nothing in the nix store is taken: everybody can read what is there.",
			},
			words:  []string{"path", "source", "from"},
			schema: text(filePattern, sourceLength),
			read: func(p *parser, v value) {
				readPath(p, v, &t.File)
				if strings.HasPrefix(path.Clean(t.File)+"/", storePrefix) {
					p.add(v.at, v.path, "everybody can read what is in the nix store, so no secret may be there", "keep it in a file that only you can read, outside of the store")
				}
			},
		},
		{
			Field: Field{
				Key: "env", Type: "environment variable", Default: none, Example: "DB_PASSWORD",
				Doc: "An environment variable of vmctl itself, as CI systems set them.",
			},
			words:  []string{"environment", "variable", "var"},
			schema: text(envPattern, sourceLength),
			read: func(p *parser, v value) {
				readMatching(p, v, &t.Env, "the name of an environment variable", envPattern, "such as DB_PASSWORD")
			},
		},
		texts(field{
			Field: Field{
				Key: "command", Type: "list of words", Default: none, Example: `["pass", "show", "db"]`,
				Doc: "A program with its arguments, run in the project's directory without a shell; what it prints on standard output is the secret, to the last byte but a last line break.",
			},
			words: []string{"cmd", "exec", "run", "program"},
		}, `^[^\x00]*$`, maxWord, maxWords, func(_ *parser, _ value, s string) { t.Command = append(t.Command, s) }),
		{
			Field: Field{
				Key: "sops", Type: "FILE, or FILE#key", Default: none, Example: "secrets.yaml#db.password",
				Doc: "A file that sops decrypts, or one value of it: the names on the way to it, with dots in between. It needs the program sops.",
			},
			words:  []string{"sopsfile", "sops-file"},
			schema: text(filePattern, sourceLength),
			read: func(p *parser, v value) {
				readPath(p, v, &t.Sops)
				file, key, found := strings.Cut(t.Sops, sopsKeyPrefix)
				if found && (file == "" || key == "" || strings.Contains("."+key+".", "..")) {
					p.add(v.at, v.path, fmt.Sprintf("%s is not FILE#key", quote(t.Sops)), "such as secrets.yaml#db.password")
				}
				t.Sops, t.SopsKey = file, key
			},
		},
		{
			Field: Field{
				Key: "age", Type: "file on the client", Default: none, Example: "db.age",
				Doc: "A file encrypted with age, to one of your age identities: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, or ~/.config/sops/age/keys.txt; or to vmctl's own, which vmctl key --operator shows.",
			},
			words:  []string{"agefile", "age-file", "agenix"},
			schema: text(filePattern, sourceLength),
			read:   func(p *parser, v value) { readPath(p, v, &t.Age) },
		},
		{
			Field: Field{
				Key: "persist", Type: "true or false", Default: "false", Example: "true",
				Doc: "Let the guest keep the secret on its root disk, encrypted with systemd-creds where it has that, for boots that vmctl does not begin: a reboot from inside, or autostart. " +
					"Without it such a boot has no secrets until vmctl secret push or vmctl restart.",
			},
			words:  []string{"keep", "persistent", "save"},
			schema: truth(), read: func(p *parser, v value) { readBool(p, v, &t.Persist) },
		},
	}
}

// secretTogether checks that a secret has exactly one source.
func secretTogether(p *parser, s scope, t *Secret) {
	var has []string
	for _, key := range secretSources() {
		if _, ok := p.keys[s.of(key)]; ok {
			has = append(has, key)
		}
	}
	switch len(has) {
	case 1:
	case 0:
		p.add(s.at, s.path, "a secret needs a source", "give one of "+strings.Join(secretSources(), ", ")+", such as file: ~/.secrets/db")
	default:
		p.add(p.keys[s.of(has[1])], s.of(has[1]), fmt.Sprintf("a secret has one source, and this one has %s already", has[0]), "keep one of them")
	}
	if len(has) == 1 && has[0] == "command" && (len(t.Command) == 0 || t.Command[0] == "") {
		p.add(p.keys[s.of("command")], s.of("command"), "the command is empty", `such as command: ["pass", "show", "db"]`)
	}
}

// readPath takes a path on the client.
func readPath(p *parser, v value, dst *string) {
	readMatching(p, v, dst, "the path of a file", filePattern, "such as ~/.secrets/db")
}

// readMatching takes text of a pattern.
func readMatching(p *parser, v value, dst *string, want, pattern, hint string) {
	s, ok := p.text1(v, want, hint)
	switch {
	case !ok:
	case len(s) > sourceLength || !regexp.MustCompile(pattern).MatchString(s):
		p.add(v.at, v.path, fmt.Sprintf("%s is not %s", quote(s), want), hint)
	default:
		*dst = s
	}
}

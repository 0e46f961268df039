package cloudinit

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

// keyTypes are what OpenSSH takes for a user's key.
func keyTypes() []string {
	return []string{
		"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
		"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
	}
}

// IsKey says whether a line is meant as a public key and not as the name of a file.
func IsKey(line string) bool {
	kind, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return slices.Contains(keyTypes(), kind)
}

// ParseKeys reads the public keys of a file, as ~/.ssh/id_ed25519.pub or authorized_keys
// has them. Empty lines and comments are passed over. from is what errors call the file.
func ParseKeys(from, text string) ([]string, error) {
	if strings.Contains(text, "PRIVATE KEY-----") {
		return nil, fault.New(fault.Invalid, "%s holds a private key, which is to stay where it is", from).
			WithHint("name the public one beside it, which ends in .pub")
	}
	var keys []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if !validKey(line) {
			return nil, fault.New(fault.Invalid, "%s is not a public ssh key", from).
				WithHint("a public key is one line such as: ssh-ed25519 AAAA… me@example")
		}
		keys = append(keys, line)
	}
	return keys, nil
}

// validKey checks that the key inside is of the kind that the line says.
func validKey(line string) bool {
	words := strings.Fields(line)
	if len(words) < 2 || !slices.Contains(keyTypes(), words[0]) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil || len(blob) < 4 {
		return false
	}
	length := uint64(binary.BigEndian.Uint32(blob))
	return length+4 < uint64(len(blob)) && string(blob[4:4+length]) == words[0]
}

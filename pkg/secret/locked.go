package secret

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/armor"

	"vmctl/pkg/fault"
)

// Ask gives the passphrase that a file of identities is locked with; it is wiped after use.
type Ask func(file string) (passphrase []byte, err error)

// Ring remembers the identities of files that were unlocked, so that nobody is asked
// twice. It is for one command.
type Ring struct {
	mu   sync.Mutex
	open map[string][]age.Identity
}

// locked are the identities of a file that a passphrase locks, as age -p makes it. The
// passphrase is asked for when something has to be decrypted, and for nothing else.
type locked struct {
	file      string
	encrypted []byte
	ask       Ask
	ring      *Ring
}

// isLocked says whether the content of a file of identities is encrypted itself.
func isLocked(content []byte) bool {
	content = bytes.TrimLeft(content, " \t\r\n")
	return bytes.HasPrefix(content, []byte("age-encryption.org/")) || bytes.HasPrefix(content, []byte(armor.Header))
}

// Unwrap implements age.Identity.
func (l *locked) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	identities, err := l.identities()
	if err != nil {
		return nil, err
	}
	for _, identity := range identities {
		if key, err := identity.Unwrap(stanzas); !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

func (l *locked) identities() ([]age.Identity, error) {
	l.ring.mu.Lock()
	defer l.ring.mu.Unlock()
	if open, ok := l.ring.open[l.file]; ok {
		return open, nil
	}
	plain, err := l.plain()
	defer Wipe(plain)
	if err != nil {
		return nil, err
	}
	identities, err := age.ParseIdentities(bytes.NewReader(plain))
	if err != nil {
		return nil, noIdentities(l.file)
	}
	if l.ring.open == nil {
		l.ring.open = map[string][]age.Identity{}
	}
	l.ring.open[l.file] = identities
	return identities, nil
}

// plain is the file as it was before it was locked.
func (l *locked) plain() ([]byte, error) {
	if l.ask == nil {
		return nil, fault.New(fault.Refused, "%s has a passphrase, and nobody can be asked for it", l.file)
	}
	passphrase, err := l.ask(l.file)
	if err != nil {
		return nil, err
	}
	defer Wipe(passphrase)
	key, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, fault.New(fault.Refused, "the passphrase of %s is not empty", l.file)
	}
	var source io.Reader = bytes.NewReader(l.encrypted)
	if trimmed := bytes.TrimLeft(l.encrypted, " \t\r\n"); bytes.HasPrefix(trimmed, []byte(armor.Header)) {
		source = armor.NewReader(bytes.NewReader(trimmed))
	}
	plain, err := age.Decrypt(source, key)
	if err != nil {
		return nil, fault.New(fault.Refused, "the passphrase does not open %s", l.file).
			WithHint("try again; nobody can find out one that is forgotten: then remove the file, and make the machines new keys with vmctl key --rotate NAME")
	}
	out := make([]byte, len(l.encrypted))
	n, err := io.ReadFull(plain, out)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.New(fault.Invalid, "%s is damaged: %w", l.file, err)
	}
	return out[:n], nil
}

// recipients are what others encrypt to. The file beside it names them, so that nobody
// has to be asked for a passphrase.
func (l *locked) recipients() ([]age.Recipient, error) {
	public, err := os.ReadFile(recipientFile(l.file))
	if err == nil {
		return age.ParseRecipients(bytes.NewReader(public))
	}
	identities, err := l.identities()
	if err != nil {
		return nil, err
	}
	return recipientsOf(identities)
}

func recipientFile(file string) string { return strings.TrimSuffix(file, ".txt") + ".pub" }

// said is an error that already says to people why a file stayed locked, or nil.
func said(err error) error {
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return own
	}
	return nil
}

// lock encrypts with a passphrase, as age -p does. work is scrypt's factor; 0 is age's own.
func lock(plain, passphrase []byte, work int) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, fault.New(fault.Usage, "the passphrase is empty")
	}
	if work > 0 {
		recipient.SetWorkFactor(work)
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, recipient)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = text.Close()
	}
	return out.Bytes(), err
}

//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// passing are the parts of what a host says that are others in each run: ids of domains,
// terminals, and what uploads and processes are called; and what may differ after a run that was
// cut short: how many root disks a machine has had, and what down removes: a lease of this client's own, and the note
// beside a whole upload of how much of it had arrived.
var passing = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(?m)^(Id|CPU time): .*$`), `$1`},
	{regexp.MustCompile(`<domain type='(\w+)' id='\d+'`), `<domain type='$1' id='N'`},
	{regexp.MustCompile(`/dev/pts/\d+`), `/dev/pts/N`},
	{regexp.MustCompile(`/domain-\d+-`), `/domain-N-`},
	{regexp.MustCompile(`\.([0-9a-f]{8})-[a-z0-9]{8}\.`), `.$1-RUN.`},
	{regexp.MustCompile(`/image-[0-9a-f]+-\d+`), `/image-N`},
	{regexp.MustCompile(`<vmctl:life>\d+</vmctl:life>|(?m:^file \S+\.(?:lease|sent)\n)`), ``},
	{regexp.MustCompile(`(?s)\n *<firmware>.*?</firmware>`), ``}, // of a guest that runs, libvirtd forgets it when it is restarted
	{regexp.MustCompile(`(?m)^(process \S+) .*$`), `$1`},
	{regexp.MustCompile(`(?m)^process (?:\S+/)?(?:ssh|vmctl)$\n?`), ``}, // they end, or become what vmctl was about to start, after it; nothingLeft waits for that
}

func lasting(text string) string {
	for _, p := range passing {
		text = p.pattern.ReplaceAllString(text, p.with)
	}
	return strings.TrimSpace(text)
}

// state is the census with what is in what it counts: how domains are defined and run, how
// large disks are and on what they lie, what links point to. Two states of one machine are
// equal when nobody could tell them apart by looking at the host.
func (p *person) state(t *testing.T, machine string) string {
	t.Helper()
	var all []string
	for _, line := range p.look(t) {
		path, isFile := strings.CutPrefix(line, "file ")
		if isFile {
			line += describe(p.root + path)
		}
		all = append(all, line)
	}
	if slices.Contains(all, "domain "+machine) {
		all = append(all, p.ask(t, strings.ReplaceAll("domstate NAME; dumpxml --inactive NAME; dumpxml NAME; dominfo NAME", "NAME", machine)))
	}
	return lasting(strings.Join(all, "\n"))
}

// describe says of a file what must be the same in the end.
func describe(path string) string {
	if target, err := os.Readlink(path); err == nil {
		return " → " + target
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, _ := f.Read(head)
	if n < 32 || string(head[:4]) != "QFI\xfb" {
		return ""
	}
	out := fmt.Sprintf(" %d bytes", binary.BigEndian.Uint64(head[24:]))
	if at, size := binary.BigEndian.Uint64(head[8:]), binary.BigEndian.Uint32(head[16:]); at > 0 && at+uint64(size) < uint64(n) {
		out += " on " + string(head[at:at+uint64(size)])
	}
	return out
}

// settled waits until two looks at the host, one after the other, see the same: libvirtd
// may still be at what a killed client asked for last.
func (p *person) settled(t *testing.T, machine string) string {
	t.Helper()
	return settled(t, func() string { return p.state(t, machine) })
}

func settled(t *testing.T, look func() string) string {
	t.Helper()
	last := look()
	eventually(t, func() bool {
		now := look()
		same := last == now
		last = now
		return same
	})
	return last
}

// bystander is what somebody else has on the host, in vmctl's pool, too: not a byte of it
// may change.
type bystander struct {
	p     *person
	files []string
	was   string
}

func (p *person) bystander(t *testing.T) *bystander {
	t.Helper()
	b := &bystander{p: p, files: []string{filepath.Join(p.pool, "theirs.qcow2"), filepath.Join(filepath.Dir(p.pool), "theirs.img")}}
	qemuImg(t, "create", "-q", "-f", "qcow2", b.files[0], "8M")
	require.NoError(t, os.WriteFile(b.files[1], []byte("somebody else's"), 0o640))
	file := filepath.Join(testenv.Dir(t, ""), "theirs.xml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='%s'/><target dev='vda' bus='virtio'/></disk></devices></domain>`,
		b.files[0]), 0o644))
	p.virsh(t, "define", file)
	t.Cleanup(func() {
		_ = p.commandIn(context.Background(), "/", "virsh", "-c", p.uri, "undefine", "theirs").Run() // it may be gone
		for _, f := range b.files {
			_ = os.Remove(f)
		}
	})
	b.was = b.now(t)
	return b
}

func (b *bystander) now(t *testing.T) string {
	t.Helper()
	all := []string{b.p.ask(t, "dumpxml theirs; net-dumpxml default")}
	for _, f := range b.files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		all = append(all, fingerprint(t, f), info.ModTime().String())
	}
	return strings.Join(all, "\n")
}

func (b *bystander) untouched(t *testing.T) {
	t.Helper()
	assert.Equal(t, b.was, b.now(t), "what is somebody else's has changed")
}

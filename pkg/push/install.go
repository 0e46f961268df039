package push

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/klauspost/compress/gzip"

	"vmctl/pkg/ansi"
)

// program is this program, as it is brought to the host.
type program struct {
	file   *os.File
	sha256 string
}

func openProgram(name string) (*program, error) {
	if name == "" {
		name = "/proc/self/exe" // also when the file was replaced since
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		_ = file.Close()
		return nil, err
	}
	return &program{file, hex.EncodeToString(sum.Sum(nil))}, nil
}

func (p *program) close() { _ = p.file.Close() }

// script is what the host's shell does: it looks for the program in the user's cache, takes
// it when it is not there, checks its digest either way, and becomes it.
//
//go:embed install.sh
var script string

// machines are the names that uname has for architectures.
func machines() map[string]string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x"}
}

// said is what stands before what the script says: the host's shell may print greetings.
// ready is what the program says, when the script has become it.
const (
	said  = "vmctl-host: "
	ready = "ready"
)

// install talks with the script until the program runs. bringing and brought are called
// around what can take long.
func (p *program) install(in io.Writer, out *bufio.Reader, bringing, brought func()) error {
	machine, ok := machines()[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("what %s is called elsewhere is not known", runtime.GOARCH)
	}
	text := strings.NewReplacer("@SHA256@", p.sha256, "@MACHINE@", "Linux "+machine).Replace(script)
	// Who ends without reading it may have said why: that counts more than that it could not be
	// written.
	_, _ = io.WriteString(in, text)
	for {
		word, err := answer(out)
		if err != nil {
			return err
		}
		switch word {
		case ready:
			return nil
		case "need":
			bringing()
			if err := p.bring(in); err != nil {
				return err
			}
			brought()
		default:
			return errors.New(ansi.Plain(word))
		}
	}
}

// bring sends the program: its length on a line, and then what it is, compressed.
func (p *program) bring(in io.Writer) error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	packed.Grow(int(info.Size() / 2)) // it becomes less than half, and would take twice as much to grow
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(z, p.file); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(in, "%d\n%s", packed.Len(), packed.Bytes())
	return err
}

// answer is the next thing the script says.
func answer(out *bufio.Reader) (string, error) {
	for range 200 {
		line, err := out.ReadSlice('\n')
		if err != nil {
			return "", fmt.Errorf("the host's shell did not answer: %w", err)
		}
		if word, ok := strings.CutPrefix(string(line), said); ok {
			return strings.TrimSpace(word), nil
		}
	}
	return "", errors.New("the host's shell says other things than it should")
}

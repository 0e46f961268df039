package push

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/delta"
)

// protocol is the version of what both ends say. They are the same program, as its digest
// says; the version tells programs apart that were started in another way.
const protocol = 3

// Every message is a frame: what it is, how long it is, and the payload.
const (
	frameHello byte = 'h' // host: hello
	frameIndex byte = 'i' // client: index
	frameReady byte = 'r' // host: the index is made
	frameBegin byte = 'b' // client: begin
	frameKeys  byte = 'k' // client: the keys of the next blocks of the image
	frameNeed  byte = 'n' // host: which of these blocks it does not have
	frameData  byte = 'd' // client: blocks that were needed, compressed
	framePlain byte = 'p' // client: blocks that were needed, as they are
	frameEnd   byte = 'e' // client: the digest of the image
	frameDone  byte = 'o' // host: the file is the image
	frameError byte = 'x' // host: failure; nothing follows
)

const (
	// maxFrame bounds the payload of a frame, and with it what a message takes in memory.
	maxFrame = 1 << 20
	// keysPerFrame is how many blocks one message of keys is about: 32 MiB of the image.
	keysPerFrame = 8 << 10
	// blocksPerData is how many blocks travel together: 512 KiB.
	blocksPerData = 128
	// maxImage bounds the size of an image.
	maxImage = 1 << 40
)

type hello struct {
	Protocol int `json:"protocol"`
}

type index struct {
	// Pool is the directory whose images the host copies from.
	Pool string     `json:"pool"`
	Salt delta.Salt `json:"salt"`
}

type begin struct {
	// Volume is the name of a file in the pool.
	Volume string `json:"volume"`
	Size   int64  `json:"size"`
}

type end struct {
	SHA256 string `json:"sha256"`
}

// failure is why the host gave up.
type failure struct {
	Reason reason `json:"reason"`
	Text   string `json:"text"`
}

// reason is a failure that the client has to know apart.
type reason string

const (
	// noAccess is a pool that this user may not write to, or a file that is not what was said.
	noAccess reason = "no access"
	// noSpace is a full disk.
	noSpace reason = "no space"
	// notSame is an image whose digest is another one in the end.
	notSame reason = "not the same"
	// broken is a client that does not keep to the protocol, and all else.
	broken reason = "broken"
)

// Error is what the other end said, made harmless.
func (f failure) Error() string { return ansi.Plain(f.Text) }

// link is one end of the connection. Sending is safe for concurrent use.
type link struct {
	r  io.Reader
	mu sync.Mutex
	w  io.Writer
	// frame is what is written at once.
	frame []byte
	pace  pace
}

func (l *link) send(kind byte, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begin(kind, payload, 0)
}

// sendWith sends a message whose payload ends with a part of a file.
func (l *link) sendWith(kind byte, payload []byte, file *os.File, at, length int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	began := time.Now()
	err := l.begin(kind, payload, length)
	if err == nil {
		err = moveOut(l.w, file, at, length)
	}
	l.pace.wrote(len(payload)+int(length), time.Since(began))
	return err
}

// begin writes a frame but for so much of it.
func (l *link) begin(kind byte, payload []byte, rest int64) error {
	l.frame = append(binary.BigEndian.AppendUint32(append(l.frame[:0], kind), uint32(int64(len(payload))+rest)), payload...)
	_, err := l.w.Write(l.frame)
	return err
}

func (l *link) sendJSON(kind byte, message any) error {
	payload, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return l.send(kind, payload)
}

// receive reads a frame into a buffer that it makes larger when it has to.
func (l *link) receive(buffer []byte) (kind byte, payload []byte, err error) {
	kind, length, err := l.head()
	if err != nil {
		return 0, buffer, err
	}
	payload, err = l.payload(buffer, length)
	return kind, payload, err
}

// head reads what a frame is, and how long its payload, which follows.
func (l *link) head() (kind byte, length int64, err error) {
	var head [5]byte
	if _, err := io.ReadFull(l.r, head[:]); err != nil {
		return 0, 0, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, 0, fmt.Errorf("a message of %d bytes is too long", n)
	}
	return head[0], int64(n), nil
}

// payload reads so much of a payload.
func (l *link) payload(buffer []byte, length int64) ([]byte, error) {
	if length > int64(cap(buffer)) {
		buffer = make([]byte, length)
	}
	buffer = buffer[:length]
	if _, err := io.ReadFull(l.r, buffer); err != nil {
		return buffer, fmt.Errorf("a message ended early: %w", err)
	}
	return buffer, nil
}

// run is a run of blocks.
type run struct{ at, count int64 }

const runSize = 8 + 4

func appendRun(b []byte, r run) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, uint64(r.at)), uint32(r.count))
}

// readRun reads a run, which has to lie within [from, to).
func readRun(b []byte, from, to int64) (run, error) {
	if len(b) < runSize {
		return run{}, fmt.Errorf("half a run of blocks")
	}
	r := run{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[8:]))}
	if r.at < from || r.at >= to || r.count < 1 || r.count > to-r.at {
		return run{}, fmt.Errorf("blocks %d+%d are not among %d to %d", r.at, r.count, from, to)
	}
	return r, nil
}

// keySize is how many bytes a key has.
const keySize = 8

func encodeKeys(keys []delta.Key) []byte {
	b := make([]byte, 0, keySize*len(keys))
	for _, k := range keys {
		b = binary.BigEndian.AppendUint64(b, uint64(k))
	}
	return b
}

// decodeKeys reads keys of blocks, of which there may be so many.
func decodeKeys(b []byte, most int64) ([]delta.Key, error) {
	if len(b) == 0 || len(b)%keySize != 0 || len(b)/keySize > keysPerFrame || int64(len(b)/keySize) > most {
		return nil, fmt.Errorf("%d bytes of keys where %d keys are left", len(b), most)
	}
	keys := make([]delta.Key, 0, len(b)/keySize)
	for ; len(b) > 0; b = b[keySize:] {
		keys = append(keys, delta.Key(binary.BigEndian.Uint64(b)))
	}
	return keys, nil
}

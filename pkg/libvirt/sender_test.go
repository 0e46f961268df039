package libvirt

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fileOutlet does with a file what the host does: a hole only skips.
type fileOutlet struct {
	file       []byte
	at, wire   int
	holes      int
	mostAtOnce int
}

func (o *fileOutlet) Send(p []byte) (int, error) {
	n := min(len(p), o.mostAtOnce)
	copy(o.file[o.at:], p[:n])
	o.at, o.wire = o.at+n, o.wire+n
	return n, nil
}

func (o *fileOutlet) SendHole(length int64, _ uint32) error {
	o.at, o.holes = o.at+int(length), o.holes+1
	return nil
}

func TestSenderSendsNoZeros(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		content := make([]byte, random.IntN(12<<20))
		for range random.IntN(30) {
			at := random.IntN(len(content) + 1)
			for i := range min(random.IntN(200<<10), len(content)-at) {
				content[at+i] = byte(random.IntN(4))
			}
		}
		for _, sparse := range []bool{false, true} {
			o := &fileOutlet{file: make([]byte, len(content)), mostAtOnce: 100_000}
			for i := range min(written, len(o.file)) {
				o.file[i] = 0xee // what qemu-img wrote
			}
			var told int64
			for begin := 0; begin == 0 || begin < len(content); begin += 3 << 20 {
				part := content[begin:min(begin+3<<20, len(content))]
				s := &sender{to: o, sparse: sparse, offset: int64(begin), size: int64(len(part)), report: func(sent int64) { told = int64(begin) + sent }}
				require.NoError(t, s.send(t.Context(), bytes.NewReader(part)))
			}
			require.True(t, bytes.Equal(content, o.file), "round %d, sparse %t", round, sparse)
			assert.Equal(t, int64(len(content)), told)
			assert.Equal(t, len(content), o.at, "a hole at the end, too")
			if !sparse {
				assert.Zero(t, o.holes)
			}
		}
	}
	o := &fileOutlet{file: make([]byte, 64<<20), mostAtOnce: 1 << 30}
	s := &sender{to: o, sparse: true, size: 64 << 20, report: func(int64) {}}
	require.NoError(t, s.send(t.Context(), bytes.NewReader(make([]byte, 64<<20))))
	assert.Equal(t, written, o.wire)
	assert.Equal(t, 1, o.holes, "one hole, however many chunks it spans")
}

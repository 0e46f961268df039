package delta_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/delta"
)

// carryOut does what the operations say.
func carryOut(t *testing.T, ops []delta.Op, target []byte, sources [][]byte, image []byte) (sent int64) {
	t.Helper()
	end := int64(0)
	for _, op := range ops {
		require.Equal(t, end, op.At, "operations are adjacent")
		require.Positive(t, op.Count)
		end = op.At + op.Count
		from, to := op.At*delta.Block, min(end*delta.Block, int64(len(target)))
		switch op.Kind {
		case delta.Keep:
		case delta.Clear:
			clear(target[from:to])
		case delta.Copy:
			copy(target[from:to], sources[op.File][op.From*delta.Block:])
		case delta.Data:
			sent += copy2(target[from:to], image[from:to])
		}
	}
	require.Equal(t, delta.Blocks(int64(len(target))), end, "all of it is made")
	return sent
}

func copy2(to, from []byte) int64 { return int64(copy(to, from)) }

// check makes an image of what there is and compares it with the image.
func check(t *testing.T, image, present []byte, sources [][]byte, frame int) (sent int64) {
	t.Helper()
	salt := delta.Salt{1, 2, 3}
	target := make([]byte, len(image))
	copy(target, present)
	index := delta.NewIndex(1 << 20)
	for _, s := range sources {
		index.Add(salt.Keys(nil, s))
	}
	have := salt.Keys(nil, target)
	want := salt.Keys(nil, image)
	var ops []delta.Op
	for at := 0; at < len(want); at += frame {
		end := min(at+frame, len(want))
		ops = append(ops, index.Plan(want[at:end], int64(at), have[at:end])...)
	}
	sent = carryOut(t, ops, target, sources, image)
	require.True(t, bytes.Equal(image, target))
	return sent
}

func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// TestARebuiltImage moves everything and changes little: only what changed is sent.
func TestARebuiltImage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	old := noise(random, 300*delta.Block)
	image := append(noise(random, 7*delta.Block), old[:200*delta.Block]...)
	image = append(image, make([]byte, 50*delta.Block)...)
	image = append(image, old[200*delta.Block:]...)
	image = append(image, "a short end"...)
	sent := check(t, image, nil, [][]byte{old}, 1<<10)
	assert.Equal(t, int64(7*delta.Block+11), sent)
	assert.Zero(t, check(t, image, image, nil, 64), "all is there")
	assert.Equal(t, sent, check(t, image, make([]byte, 5), [][]byte{old}, 13))
	half := append(bytes.Clone(image[:100*delta.Block]), make([]byte, len(image)-100*delta.Block)...)
	assert.Equal(t, int64(11), check(t, image, half, [][]byte{old}, 1<<10), "what arrived before the cut is kept")
}

func TestRunsAreLong(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	same := noise(random, delta.Block)
	a := append(append(bytes.Clone(same), noise(random, 3*delta.Block)...), same...)
	var salt delta.Salt
	index := delta.NewIndex(100)
	index.Add(salt.Keys(nil, noise(random, delta.Block)))
	index.Add(salt.Keys(nil, a))
	ops := index.Plan(salt.Keys(nil, a), 0, nil)
	assert.Equal(t, []delta.Op{{Kind: delta.Copy, Count: 5, File: 1}}, ops, "a block that is there twice breaks no run")
}

func TestAnIndexIsBounded(t *testing.T) {
	index := delta.NewIndex(10)
	index.Add(make([]delta.Key, 4))
	assert.Equal(t, int64(6), index.Room())
	index.Add(make([]delta.Key, 100))
	assert.Zero(t, index.Room())
	assert.Equal(t, []delta.Op{{Kind: delta.Data, At: 3, Count: 2}}, index.Plan([]delta.Key{1, 2}, 3, nil))
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0, 0, 4}, []byte{2, 3, 9, 1}, []byte{1, 0, 7}, uint16(17), uint8(3))
	f.Fuzz(func(t *testing.T, image, source, present []byte, tail uint16, frame uint8) {
		if len(image)+len(source)+len(present) > 300 {
			return
		}
		spread := func(letters []byte) []byte {
			var out []byte
			for _, l := range letters {
				out = append(out, bytes.Repeat([]byte{l}, delta.Block)...)
			}
			return out
		}
		whole := append(spread(image), bytes.Repeat([]byte{1}, int(tail%delta.Block))...)
		check(t, whole, spread(present), [][]byte{spread(source), whole[:len(whole)/2]}, int(frame)+1)
	})
}

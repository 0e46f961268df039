package push

import (
	"fmt"
	"math/bits"

	"vmctl/pkg/delta"
)

// todo knows which blocks of the file are not yet what they should be.
type todo struct {
	blocks int64
	// next is the first block whose key has not come yet.
	next int64
	// needed has a bit for each block before next that was asked for and has not come.
	needed []uint64
	// first is a block before which nothing is missing.
	first int64
}

// planned takes what was planned for the next blocks, all of which but what was asked for
// is done.
func (t *todo) planned(ops []delta.Op, count int64) {
	t.next += count
	t.needed = append(t.needed, make([]uint64, (t.next+63)/64-int64(len(t.needed)))...)
	for _, op := range ops {
		for b := op.At; op.Kind == delta.Data && b < op.At+op.Count; b++ {
			t.needed[b/64] |= 1 << (b % 64)
		}
	}
}

// came takes note of blocks that came. They have to be asked for.
func (t *todo) came(r run) error {
	for b := r.at; b < r.at+r.count; b++ {
		if b >= t.next || t.needed[b/64]&(1<<(b%64)) == 0 {
			return fmt.Errorf("nobody asked for block %d", b)
		}
		t.needed[b/64] &^= 1 << (b % 64)
	}
	return nil
}

// done is how many blocks from the first one on are what they should be, and stay it.
func (t *todo) done() int64 {
	for t.first < t.next {
		rest := t.needed[t.first/64] >> (t.first % 64)
		if rest != 0 {
			t.first += int64(bits.TrailingZeros64(rest))
			break
		}
		t.first = min((t.first/64+1)*64, t.next)
	}
	return t.first
}

package push

import (
	"fmt"
	"math/bits"
	"sync"

	"vmctl/pkg/delta"
)

// todo knows which blocks of the file are not yet what they should be. It is safe for
// concurrent use.
type todo struct {
	blocks int64

	mu sync.Mutex
	// planned is the first block of which nothing is decided yet, and made the first one from
	// which on blocks are still to be copied.
	planned, made int64
	// needed has a bit for each block before planned that was asked for and has not come.
	needed []uint64
	// first is a block before which nothing is missing.
	first int64
}

// plan takes what was planned for the next blocks.
func (t *todo) plan(ops []delta.Op, count int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.planned += count
	t.needed = append(t.needed, make([]uint64, (t.planned+63)/64-int64(len(t.needed)))...)
	for _, op := range ops {
		for b := op.At; op.Kind == delta.Data && b < op.At+op.Count; b++ {
			t.needed[b/64] |= 1 << (b % 64)
		}
	}
}

// make says that the next blocks are done, but for those that were asked for.
func (t *todo) make(count int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made += count
}

// asked says that blocks were asked for and have not come.
func (t *todo) asked(r run) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for b := r.at; b < r.at+r.count; b++ {
		if b >= t.planned || t.needed[b/64]&(1<<(b%64)) == 0 {
			return fmt.Errorf("nobody asked for block %d", b)
		}
	}
	return nil
}

// came says that blocks that were asked for are in the file.
func (t *todo) came(r run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for b := r.at; b < r.at+r.count; b++ {
		t.needed[b/64] &^= 1 << (b % 64)
	}
}

// done is how many blocks from the first one on are what they should be, and stay it.
func (t *todo) done() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.first < t.made {
		rest := t.needed[t.first/64] >> (t.first % 64)
		if rest != 0 {
			t.first = min(t.first+int64(bits.TrailingZeros64(rest)), t.made)
			break
		}
		t.first = min((t.first/64+1)*64, t.made)
	}
	return t.first
}

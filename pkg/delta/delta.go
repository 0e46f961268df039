// Package delta finds out which blocks of a file are already somewhere else. It compares
// by content and not by place: in a rebuilt disk image nearly everything has moved, and
// nearly nothing is new. It reads and writes no files.
package delta

import "github.com/minio/highwayhash"

// Block is the unit of comparison: that of file systems, which put files at its multiples,
// also inside of an image that is qcow2 and not compressed.
const Block = 4 << 10

// Key stands for the content of a block. Keys of equal blocks are equal; keys of others are
// not, but for an accident of one in 2^64, which whoever uses them has to notice by a
// digest of the whole.
type Key uint64

// Hole is the key of a block of zeros, and of no other.
const Hole Key = 0

// Salt makes the keys of one comparison different from those of any other, so that nobody
// can prepare blocks whose keys are equal: HighwayHash is a pseudo-random function of it,
// at seven times the speed of SHA-256.
type Salt [highwayhash.Size]byte

var zeros [Block]byte

// Key is a block's. The last block of a file may be short.
func (s *Salt) Key(block []byte) Key {
	if string(block) == string(zeros[:len(block)]) {
		return Hole
	}
	return max(Key(highwayhash.Sum64(block, s[:])), Hole+1)
}

// Keys appends the keys of data, which begins at a block's begin.
func (s *Salt) Keys(keys []Key, data []byte) []Key {
	for len(data) > 0 {
		n := min(Block, len(data))
		keys = append(keys, s.Key(data[:n]))
		data = data[n:]
	}
	return keys
}

// Blocks is how many blocks a file of a size has.
func Blocks(size int64) int64 { return (size + Block - 1) / Block }

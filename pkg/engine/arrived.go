package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
)

// arrived says how much of an image is on the host. It is kept there, in a volume beside
// the image's: whatever dies, the next run knows where to go on.
//
// The host acknowledges a range when it has written it, and only what was acknowledged
// counts. What was on its way when a run died lies before Next. The digest ties both to
// the file: an image that was built anew under the same name is another one.
type arrived struct {
	// Size is the length of the image's file.
	Size int64 `json:"size"`
	// Sent is what the host has acknowledged; Next is the end of the range that follows.
	Sent int64 `json:"sent"`
	Next int64 `json:"next"`
	// Digest is that of the file's first Next bytes: see mark.
	Digest string `json:"digest"`
}

// arrivedSize is the length of the volume: one write of the host's, padded with blanks.
const arrivedSize = 512

func (a arrived) encode() []byte {
	data, err := json.Marshal(a)
	if err != nil {
		return nil
	}
	return append(data, bytes.Repeat([]byte{' '}, max(0, arrivedSize-len(data)))...)
}

// decodeArrived reads what encode wrote, for a file of a size; ok is false for all else.
func decodeArrived(data []byte, size int64) (a arrived, ok bool) {
	if len(data) > arrivedSize || json.Unmarshal(data, &a) != nil {
		return arrived{}, false
	}
	return a, a.Size == size && 0 < a.Sent && a.Sent <= a.Next && a.Next <= size
}

// mark is the digest of a file up to a place: the SHA-256 of its blocks, each behind its
// offset, in hex. Blocks of zeros are left out, which sparse files have so many of.
type mark struct {
	end    int64
	digest string
	err    error
}

// markBlock is the size of the blocks of a digest.
const markBlock = 64 << 10

// markStep is the distance of marks; a range of an upload ends at one.
const markStep = 4 << 20

// marks reads a file from its start, ahead of who sends it. The channel is closed at the
// file's end, after an error, or when ctx ends.
func marks(ctx context.Context, file io.ReaderAt, size int64) <-chan mark {
	// As many as the longest range has.
	out := make(chan mark, longestRange/markStep)
	go func() {
		defer close(out)
		sum, block, empty := sha256.New(), make([]byte, markBlock), make([]byte, markBlock)
		for at := int64(0); at < size; {
			n, err := file.ReadAt(block[:min(markBlock, size-at)], at)
			if n == len(block) || at+int64(n) == size {
				err = nil
			}
			if part := block[:n]; !bytes.Equal(part, empty[:n]) {
				sum.Write(binary.BigEndian.AppendUint64(nil, uint64(at)))
				sum.Write(part)
			}
			at += int64(n)
			if at%markStep != 0 && at < size && err == nil {
				continue
			}
			select {
			case out <- mark{at, hex.EncodeToString(sum.Sum(nil)), err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

const (
	// samples of sampleSize are read back of what an earlier run sent, before it is built on.
	samples    = 8
	sampleSize = 64 << 10
)

// sampled says that what a volume holds before an offset is what the file holds, wherever
// one looks. The host has acknowledged all of it; this is for one that lost it since, as
// in a power cut.
func (e *Engine) sampled(ctx context.Context, volume string, file io.ReaderAt, sent int64) (bool, error) {
	for i := range samples {
		at := rand.Int64N(max(sent-sampleSize, 1)) //nolint:gosec // any place will do
		if i == 0 {
			at = max(sent-sampleSize, 0) // what came last is lost first
		}
		want := make([]byte, min(sampleSize, sent-at))
		if _, err := file.ReadAt(want, at); err != nil {
			return false, err
		}
		got, err := e.Host.Volumes.ReadRange(ctx, volume, at, len(want))
		if err != nil || !bytes.Equal(got, want) {
			return false, err
		}
	}
	return true, nil
}

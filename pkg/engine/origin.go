package engine

import (
	"context"
	"encoding/json"
	"time"
)

// Origin is where an image came from, as far as it is known. It is kept beside an
// uploaded image and on the client; nothing is decided by it.
type Origin struct {
	// Source is how the definition named the image.
	Source string `json:"source,omitempty"`
	// Flake is the flake's directory or URL and Attr what was built of it.
	Flake string `json:"flake,omitempty"`
	Attr  string `json:"attr,omitempty"`
	// Rev is the commit of the flake's repository. Dirty says that there were changes
	// in the tree that were not committed.
	Rev   string `json:"rev,omitempty"`
	Dirty bool   `json:"dirty,omitempty"`
	// NarHash is nix's hash of the sources, and Drv the derivation.
	NarHash string `json:"narHash,omitempty"`
	Drv     string `json:"drv,omitempty"`
	// URL is where the image was fetched, Digest what was fetched or read: "sha256:…".
	URL    string `json:"url,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Made is when it was built, fetched or first read.
	Made time.Time `json:"made,omitzero"`
}

// Known says that anything is known.
func (o Origin) Known() bool { return o != Origin{} }

// maxOrigin bounds what is read of a marker: anybody who may write to the pool can
// have written it.
const maxOrigin = 64 << 10

// Encode is the origin as it is kept.
func (o Origin) Encode() []byte {
	data, err := json.Marshal(o)
	if err != nil || len(data) > maxOrigin {
		return nil
	}
	return append(data, '\n')
}

// DecodeOrigin reads what Encode wrote; anything else is an unknown origin.
func DecodeOrigin(data []byte) Origin {
	var o Origin
	if len(data) > maxOrigin || json.Unmarshal(data, &o) != nil {
		return Origin{}
	}
	return o
}

// originOf reads an uploaded image's marker. That it tells nothing is no error.
func (e *Engine) originOf(ctx context.Context, marker string) Origin {
	data, err := e.Host.Volumes.ReadRange(ctx, marker, 0, maxOrigin+1)
	if err != nil {
		return Origin{}
	}
	return DecodeOrigin(data)
}

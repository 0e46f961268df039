// Package cache keeps large files on the client by name: images that were downloaded,
// unpacked or converted. An entry appears whole or not at all, says what its content is,
// and is found to be unchanged without reading it.
//
// It may be deleted at any time. It does not know where its entries come from.
package cache

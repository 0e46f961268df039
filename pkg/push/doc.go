// Package push brings a disk image to a host by its content: what the images that lie
// there already have in common with it is copied on the host, and only the rest travels.
//
// It has two ends. Remote is the client's: it starts the other end, which is vmctl itself,
// over the person's own ssh. Serve is the host's: it writes into one file of a storage pool
// and touches nothing else. Neither trusts what the other says of lengths and places, and
// an image is whole only when its SHA-256 is the client's. Package push knows no libvirt:
// that there is a volume, and that it is an image, is said by others.
package push

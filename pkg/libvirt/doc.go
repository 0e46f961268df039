// Package libvirt is the one place that talks to libvirt: it opens a connection and
// implements the engine's interfaces on it, one file per kind of object. Every error
// that leaves it is a sentence for people (errors.go).
//
// It decides nothing: what is to be done, and in which order, is the engine's
// business. It keeps no handles; objects are looked up by name in each call.
//
// Build it with -tags libvirt_dlopen: then no libvirt headers are needed, and a host
// without libvirt gets a sentence instead of a loader's error.
package libvirt

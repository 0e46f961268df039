// Package domainxml renders a machine into the XML of a libvirt domain, one small
// file per device. It is pure: it asks no host, opens no file and needs no cgo. It
// renders from the definition alone and never edits XML that it did not make.
package domainxml

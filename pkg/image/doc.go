// Package image takes a file that somebody calls a disk image, decides in Go alone
// whether QEMU may ever be shown it, and says what it is: format, size, identity.
//
// Foreign images are hostile: a header can name other files of the host as backing
// or data file. So nothing here runs qemu-img, follows such a name, or believes a
// file name's extension where the content says otherwise. It builds nothing and
// knows no host; pkg/builder and the engine do.
package image

// Package ui shows things to a person or a script: progress, tables, errors and
// questions. The command line is its only user.
//
// Standard output carries results; everything else goes to standard error. Text
// that came from outside (a guest, nix, libvirt, a definition) is made harmless
// here before it reaches a terminal. The package decides nothing about the work
// itself, ends no process and picks no exit code.
package ui

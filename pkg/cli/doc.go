// Package cli is the command line: the verbs, their flags and help, and which exit
// code an error gets. It wires the other packages together and decides nothing
// about the work itself.
//
// It is the only importer of urfave/cli, never ends the process and keeps no state
// between two calls of Main. What a command needs of the outside comes through
// Deps, each thing got when it is first asked for: help, validate and schema touch
// neither libvirt nor nix.
package cli

// Package proc is the only place that starts subprocesses. It feeds their output
// to parsers line by line, stops them gently, and turns a failure into one error
// that carries the command, its exit and the end of what it said.
//
// It must not know what the programs are for, and never runs a shell by itself.
package proc

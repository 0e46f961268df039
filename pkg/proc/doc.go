// Package proc is the only place that starts subprocesses. It feeds their output
// to parsers line by line, stops them gently, and turns a failure into one error
// that carries the command, its exit and the end of what it said.
package proc

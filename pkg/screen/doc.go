// Package screen shows what guests draw: it makes a PNG of the picture that a host
// gives, and opens the viewer programs that people have. It never asks a host, and
// takes every picture for hostile.
package screen

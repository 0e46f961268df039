// Package fetch downloads files whose digest is known beforehand into a cache. It goes on
// where a broken connection or a killed process stopped, never gives out a byte that was
// not verified, and says plainly what went wrong. It does not know what the files are.
package fetch

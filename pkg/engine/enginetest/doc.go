// Package enginetest is for tests: a host that lives in memory and behaves as a real
// one (NewHost), and the contract that every host must keep (Run), which proves that
// it does.
//
// No package that is part of the program may import it.
package enginetest

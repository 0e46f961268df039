// Package testenv gives tests the real tools: a private libvirt host inside
// namespaces of its own, an unprivileged user on it, and a private nix store.
//
// It is test support only: no package that is part of the program may import it.
// It never touches the machine's own libvirt, nix store or users, and nothing of it
// outlives the test binary, not even when that is killed.
//
// A package whose tests want the host writes
//
//	func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }
//
// and in each such test `uri := testenv.Host(t)`.
package testenv

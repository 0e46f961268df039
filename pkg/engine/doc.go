// Package engine decides what to do: observe the host, plan as a pure function of
// what is declared and what is there, apply the plan one libvirt call at a time,
// undo on failure. It knows hosts only through the small interfaces in host.go,
// and never imports a libvirt binding, nix or a terminal.
package engine

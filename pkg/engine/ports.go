package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Ports that are chosen come from a range below the one from which kernels take the
// ports of outgoing connections (32768 on Linux).
const (
	firstAuto = 20000
	autoPorts = 10000
	// portTries is how often another port is tried when QEMU says that one is taken.
	portTries = 5
)

// PortTakenError is why a machine could not be started: something else on the host listens
// on a port that it was to forward.
type PortTakenError struct{ Port uint16 }

// Error is one sentence.
func (e *PortTakenError) Error() string {
	return fmt.Sprintf("port %d of the host is already in use", e.Port)
}

// choosePorts gives each forward with an automatic port its number: the one that it has,
// else one that no machine of the host forwards and that, as far as the client can see,
// nobody listens on. The same machine gets the same one again where that is possible.
func (e *Engine) choosePorts(ctx context.Context, w Wanted, d *Domain, avoid []uint16) ([]spec.Port, error) {
	ports := slices.Clone(w.Machine.Ports)
	if d != nil && d.Record != nil {
		remembered(ports, d.Record.Ports, avoid)
	}
	if !slices.ContainsFunc(ports, unchosen) {
		return ports, nil
	}
	domains, err := e.Host.Domains.ListDomains(ctx, WithRecords)
	if err != nil {
		return nil, err
	}
	taken := slices.Clone(avoid)
	for _, p := range ports {
		taken = append(taken, p.Host)
	}
	for _, other := range domains {
		if other.Record == nil || other.Name == w.Machine.Name {
			continue
		}
		for _, p := range other.Record.Ports {
			taken = append(taken, p.Host)
		}
	}
	for i, p := range ports {
		if !unchosen(p) {
			continue
		}
		if ports[i].Host, err = e.freePort(ctx, w.Machine.Name, p, taken); err != nil {
			return nil, err
		}
		taken = append(taken, ports[i].Host)
	}
	return ports, nil
}

func unchosen(p spec.Port) bool { return p.Auto && p.Host == 0 }

// remembered fills in the ports that a machine has already.
func remembered(ports, was []spec.Port, avoid []uint16) {
	left := slices.Clone(was)
	for i, p := range ports {
		if !unchosen(p) {
			continue
		}
		at := slices.IndexFunc(left, func(q spec.Port) bool {
			return q.Auto && q.Host != 0 && q.Guest == p.Guest && q.Protocol == p.Protocol && q.Address == p.Address &&
				!slices.Contains(avoid, q.Host)
		})
		if at >= 0 {
			ports[i].Host = left[at].Host
			left = slices.Delete(left, at, at+1)
		}
	}
}

// freePort begins at a place that is the machine's own, so that two machines seldom
// want the same one.
func (e *Engine) freePort(ctx context.Context, machine string, p spec.Port, taken []uint16) (uint16, error) {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d/%s", machine, p.Guest, p.Protocol)
	for i := range uint32(autoPorts) {
		n := uint16(firstAuto + (h.Sum32()%autoPorts+i)%autoPorts)
		if slices.Contains(taken, n) {
			continue
		}
		p.Host = n
		if !e.Host.Local || e.PortFree == nil || e.PortFree(ctx, p) {
			return n, nil
		}
	}
	return 0, fault.New(fault.Refused, "there is no free port on %s for port %d of %s", e.Host.URI, p.Guest, machine).
		WithHint("name one in the definition, such as ports: [\"2222:%d\"]", p.Guest)
}

// takenAuto is the automatic port over which a start failed.
func takenAuto(err error, ports []spec.Port) (uint16, bool) {
	taken, ok := errors.AsType[*PortTakenError](err)
	if !ok {
		return 0, false
	}
	return taken.Port, slices.ContainsFunc(ports, func(p spec.Port) bool { return p.Auto && p.Host == taken.Port })
}

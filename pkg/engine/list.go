package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/spec"
)

// Row is one machine in a list: declared, on the host, or both.
type Row struct {
	Name string
	// Declared says that the project has a definition of it.
	Declared bool
	// Domain is nil when the host has none.
	Domain *DomainSummary
	// Image is how the definition or the metadata names the image.
	Image string
	// Memory and CPUs are the domain's, or the declared ones.
	Memory spec.Size
	CPUs   int
	// Ports are the forwards of the domain, or the declared ones.
	Ports []spec.Port
	// Addresses of a running guest that has a network.
	Addresses []string
}

// List merges the project's definitions with the managed domains of the host, by
// name; all adds foreign domains. What is read beside records is the caller's to say.
func (e *Engine) List(ctx context.Context, declared []spec.Machine, all bool, reading Reading) ([]Row, error) {
	domains, err := e.Host.Domains.ListDomains(ctx, WithRecords|reading)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(declared)+len(domains))
	for _, m := range declared {
		rows = append(rows, Row{
			Name: m.Name, Declared: true, Image: m.Image.String(), Memory: m.Memory, CPUs: m.CPUs, Ports: m.Ports,
		})
	}
	places := make(map[string]int, len(rows))
	for i, r := range rows {
		places[r.Name] = i
	}
	for _, d := range domains {
		i, known := places[d.Name]
		switch {
		case !known && !d.Managed && !all:
			continue
		case !known:
			rows = append(rows, Row{Name: d.Name})
			i = len(rows) - 1
		}
		rows[i].fill(d)
	}
	e.askAddresses(ctx, rows)
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Name, b.Name) })
	return rows, ended(ctx)
}

// fill puts what the host says over what was declared.
func (r *Row) fill(d DomainSummary) {
	r.Domain, r.Memory, r.CPUs = &d, d.Memory, d.CPUs
	if d.Record != nil {
		r.Image, r.Ports = d.Record.Source, d.Record.Ports
	}
}

const (
	// askAtOnce is how many guests are asked at a time (libvirtd serves five calls of a
	// client at once), and askTime how long all of them may take together.
	askAtOnce = 5
	askTime   = 4 * time.Second
)

// askAddresses asks all running guests at once: one that keeps silent holds up nobody. A
// guest without an address yet is not an error.
func (e *Engine) askAddresses(ctx context.Context, rows []Row) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var asked errgroup.Group
	asked.SetLimit(askAtOnce)
	for i := range rows {
		d := rows[i].Domain
		if d == nil || d.Record == nil || d.State != StateRunning || !HasAddress(d.Record) {
			continue
		}
		asked.Go(func() error {
			rows[i].Addresses, _ = e.Host.Networks.Addresses(ctx, d.Name)
			return nil
		})
	}
	_ = asked.Wait()
}

// HasAddress says that a machine's guest may have an address that the host, or others,
// can reach: it has a card that is not behind user networking.
func HasAddress(r *Record) bool {
	return slices.ContainsFunc(r.cards(), func(card spec.Interface) bool { return card.Link != spec.LinkUser })
}

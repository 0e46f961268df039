package libvirt

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// underWay is how many calls for objects of one kind are sent before the first answer is
// waited for. A host works on a few at a time (libvirtd on five); the others save its
// answers the way.
const underWay = 50

// ListDomains asks for the states of all domains at once, and for those that start with
// the host. Records are read of domains with vmctl's UUID alone: others cannot be managed.
func (c *conn) ListDomains(ctx context.Context, reading engine.Reading) ([]engine.DomainSummary, error) {
	return read(ctx, c, "list the domains", func(l *golibvirt.Connect) ([]engine.DomainSummary, error) {
		var rows []engine.DomainSummary
		var autostart map[string]bool
		var parts errgroup.Group
		parts.Go(func() (err error) {
			if rows, err = listStates(l); errors.Is(err, golibvirt.ERR_NO_SUPPORT) {
				rows, err = askStates(l)
			}
			return err
		})
		parts.Go(func() (err error) {
			autostart, err = listAutostart(l)
			return err
		})
		if err := parts.Wait(); err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i].Autostart = autostart[rows[i].UUID]
		}
		slices.SortFunc(rows, func(a, b engine.DomainSummary) int { return cmp.Compare(a.Name, b.Name) })
		if reading == engine.Briefly {
			return rows, nil
		}
		var ours []*engine.DomainSummary
		for i := range rows {
			if rows[i].Ours() {
				ours = append(ours, &rows[i])
			}
		}
		gone, err := readRecords(l, ours)
		if len(gone) > 0 {
			rows = slices.DeleteFunc(rows, func(row engine.DomainSummary) bool { return gone[row.UUID] })
		}
		return rows, err
	})
}

// readRecords reads the records of domains. The first result are those that have gone
// meanwhile.
func readRecords(l *golibvirt.Connect, rows []*engine.DomainSummary) (map[string]bool, error) {
	lookup, done, err := handlesFor(l, len(rows))
	if err != nil {
		return nil, err
	}
	defer done()
	absentees := make([]bool, len(rows))
	var parts errgroup.Group
	parts.SetLimit(underWay)
	for i, row := range rows {
		parts.Go(func() error {
			d, err := lookup(row.UUID)
			if err == nil {
				err = readRecord(d, row)
				_ = d.Free()
			}
			absentees[i] = absent(err)
			return ignore(err, notFound...)
		})
	}
	err = parts.Wait()
	gone := map[string]bool{}
	for i, is := range absentees {
		if is {
			gone[rows[i].UUID] = true
		}
	}
	return gone, err
}

// few is for how many domains it is quicker to ask for each than for all of a host's.
const few = 4

// handlesFor gives handles by UUID, of some of a host's domains. Each is freed by who gets
// it, the rest when done is called.
func handlesFor(l *golibvirt.Connect, some int) (lookup func(uuid string) (*golibvirt.Domain, error), done func(), err error) {
	if some <= few {
		return l.LookupDomainByUUIDString, func() {}, nil
	}
	domains, err := l.ListAllDomains(0)
	if err != nil {
		return nil, nil, err
	}
	byUUID := make(map[string]*golibvirt.Domain, len(domains))
	for i := range domains {
		uuid, err := domains[i].GetUUIDString()
		if err != nil {
			free(domains)
			return nil, nil, err
		}
		byUUID[uuid] = &domains[i]
	}
	return func(uuid string) (*golibvirt.Domain, error) {
		d := byUUID[uuid]
		if d == nil {
			return nil, golibvirt.Error{Code: golibvirt.ERR_NO_DOMAIN}
		}
		return d, d.Ref()
	}, func() { free(domains) }, nil
}

func readRecord(d *golibvirt.Domain, row *engine.DomainSummary) error {
	text, err := d.GetXMLDesc(golibvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		return err
	}
	config, err := parseHead(text)
	if err != nil {
		return err
	}
	row.Record = config.record()
	row.Managed = row.Record != nil
	row.Memory, row.CPUs = config.memory(row.Record), config.cpus()
	return nil
}

// parseHead reads the beginning of a domain's XML, as far as a list needs it: the
// devices, which come last, are most of it.
func parseHead(text string) (*domainXML, error) {
	var d domainXML
	in := xml.NewDecoder(strings.NewReader(text))
	depth := 0
	for {
		token, err := in.Token()
		if err != nil {
			return parseDomain(text) // which says what is wrong
		}
		switch t := token.(type) {
		case xml.EndElement:
			depth--
		case xml.StartElement:
			if depth++; depth == 1 {
				continue
			}
			part := map[string]any{"metadata": &d.Metadata, "memory": &d.Memory, "currentMemory": &d.Current, "vcpu": &d.VCPU}[t.Name.Local]
			switch {
			case t.Name.Local == "os" || t.Name.Local == "devices":
				return &d, nil
			case part == nil:
				err = in.Skip()
			default:
				err = in.DecodeElement(part, &t)
			}
			if depth--; err != nil {
				return parseDomain(text)
			}
		}
	}
}

// askStates is for hosts without statistics, such as libvirt's test driver.
func askStates(l *golibvirt.Connect) ([]engine.DomainSummary, error) {
	domains, err := l.ListAllDomains(0)
	if err != nil {
		return nil, err
	}
	defer free(domains)
	rows := make([]engine.DomainSummary, 0, len(domains))
	for i := range domains {
		row, err := askState(&domains[i])
		if absent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func askState(d *golibvirt.Domain) (row engine.DomainSummary, err error) {
	if row.Name, err = d.GetName(); err != nil {
		return row, err
	}
	if row.UUID, err = d.GetUUIDString(); err != nil {
		return row, err
	}
	state, _, err := d.GetState()
	row.State = stateOf(state)
	return row, err
}

// listAutostart are the UUIDs of the domains that start with the host.
func listAutostart(l *golibvirt.Connect) (map[string]bool, error) {
	domains, err := l.ListAllDomains(golibvirt.CONNECT_LIST_DOMAINS_AUTOSTART)
	if err != nil {
		return nil, err
	}
	defer free(domains)
	uuids := make(map[string]bool, len(domains))
	for i := range domains {
		uuid, err := domains[i].GetUUIDString()
		if err != nil {
			return nil, err
		}
		uuids[uuid] = true
	}
	return uuids, nil
}

func free(domains []golibvirt.Domain) {
	for i := range domains {
		_ = domains[i].Free()
	}
}

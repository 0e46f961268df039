package libvirt

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"maps"
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

// ListDomains asks for all domains and for the states of those that are active, all at once: an
// inactive domain has but one state, and a host says names several times as fast as states.
// Records are read of domains with vmctl's UUID alone: others cannot be managed.
func (c *conn) ListDomains(ctx context.Context, reading engine.Reading) ([]engine.DomainSummary, error) {
	return read(ctx, c, "list the domains", func(l *golibvirt.Connect) ([]engine.DomainSummary, error) {
		var all, starting []golibvirt.Domain
		var active map[string]engine.DomainSummary
		var asked errgroup.Group
		asked.Go(func() (err error) {
			all, err = l.ListAllDomains(0)
			return err
		})
		asked.Go(func() (err error) {
			active, err = activeStates(l)
			return err
		})
		if reading&engine.WithAutostart != 0 {
			asked.Go(func() (err error) {
				starting, err = l.ListAllDomains(golibvirt.CONNECT_LIST_DOMAINS_AUTOSTART)
				return err
			})
		}
		err := asked.Wait()
		defer free(starting)
		defer free(all)
		if err != nil {
			return nil, err
		}
		domains, err := byUUID(all)
		if err != nil {
			return nil, err
		}
		autostart, err := byUUID(starting)
		if err != nil {
			return nil, err
		}
		// What started after the names were asked for stands among the active ones.
		rows := slices.Collect(maps.Values(active))
		for uuid, d := range domains {
			if _, is := active[uuid]; is {
				continue
			}
			name, err := d.GetName()
			if err != nil {
				return nil, err
			}
			rows = append(rows, engine.DomainSummary{Name: name, UUID: uuid, State: engine.StateShutOff})
		}
		for i := range rows {
			_, rows[i].Autostart = autostart[rows[i].UUID]
		}
		slices.SortFunc(rows, func(a, b engine.DomainSummary) int { return cmp.Compare(a.Name, b.Name) })
		if reading&engine.WithRecords == 0 {
			return rows, nil
		}
		gone, err := readRecords(l, rows, domains)
		if len(gone) > 0 {
			rows = slices.DeleteFunc(rows, func(row engine.DomainSummary) bool { return gone[row.UUID] })
		}
		return rows, err
	})
}

// byUUID are domains by UUID.
func byUUID(domains []golibvirt.Domain) (map[string]*golibvirt.Domain, error) {
	handles := make(map[string]*golibvirt.Domain, len(domains))
	for i := range domains {
		uuid, err := domains[i].GetUUIDString()
		if err != nil {
			return nil, err
		}
		handles[uuid] = &domains[i]
	}
	return handles, nil
}

// readRecords reads the records of those domains that are ours. The first result are
// those that have gone meanwhile.
func readRecords(l *golibvirt.Connect, rows []engine.DomainSummary, handles map[string]*golibvirt.Domain) (map[string]bool, error) {
	absentees := make([]bool, len(rows))
	var parts errgroup.Group
	parts.SetLimit(underWay)
	for i := range rows {
		if !rows[i].Ours() {
			continue
		}
		parts.Go(func() (err error) {
			d, listed := handles[rows[i].UUID]
			if !listed {
				if d, err = l.LookupDomainByUUIDString(rows[i].UUID); err == nil {
					defer func() { _ = d.Free() }()
				}
			}
			if err == nil {
				err = readRecord(d, &rows[i])
			}
			absentees[i] = absent(err)
			return ignore(err, notFound...)
		})
	}
	err := parts.Wait()
	gone := map[string]bool{}
	for i, is := range absentees {
		if is {
			gone[rows[i].UUID] = true
		}
	}
	return gone, err
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

// activeStates are the active domains by UUID.
func activeStates(l *golibvirt.Connect) (map[string]engine.DomainSummary, error) {
	rows, err := activeStats(l)
	if errors.Is(err, golibvirt.ERR_NO_SUPPORT) {
		rows, err = askStates(l)
	}
	states := make(map[string]engine.DomainSummary, len(rows))
	for _, row := range rows {
		states[row.UUID] = row
	}
	return states, err
}

// askStates is for hosts without statistics, such as libvirt's test driver.
func askStates(l *golibvirt.Connect) ([]engine.DomainSummary, error) {
	domains, err := l.ListAllDomains(golibvirt.CONNECT_LIST_DOMAINS_ACTIVE)
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

func free(domains []golibvirt.Domain) {
	for i := range domains {
		_ = domains[i].Free()
	}
}

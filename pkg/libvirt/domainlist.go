package libvirt

import (
	"cmp"
	"context"
	"slices"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
)

// ListDomains asks once for each state: the number of calls does not grow with the
// number of domains (asking each for its state costs a round trip per domain, and so
// does the binding's GetAllDomainStats). Only a domain whose UUID is the one vmctl
// would have given it is read: others cannot be managed. Memory and CPUs are those of
// managed domains; for others they are zero.
func (c *conn) ListDomains(ctx context.Context) ([]engine.DomainSummary, error) {
	return read(ctx, c, "list the domains", func(l *golibvirt.Connect) ([]engine.DomainSummary, error) {
		domains, err := l.ListAllDomains(0)
		if err != nil {
			return nil, err
		}
		defer free(domains)
		states, err := listStates(l)
		if err != nil {
			return nil, err
		}
		autostart, err := listUUIDs(l, golibvirt.CONNECT_LIST_DOMAINS_AUTOSTART)
		if err != nil {
			return nil, err
		}
		out := make([]engine.DomainSummary, 0, len(domains))
		for i := range domains {
			row, err := summary(&domains[i], states)
			if absent(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			row.Autostart = autostart[row.UUID]
			out = append(out, row)
		}
		slices.SortFunc(out, func(a, b engine.DomainSummary) int { return cmp.Compare(a.Name, b.Name) })
		return out, nil
	})
}

// listStates gives the state by UUID. The calls are not one snapshot: a domain that
// changed between them, or is in a rarer state, is left out and has to be asked.
func listStates(l *golibvirt.Connect) (map[string]engine.State, error) {
	states, seen := map[string]engine.State{}, map[string]int{}
	for flag, state := range map[golibvirt.ConnectListAllDomainsFlags]engine.State{
		golibvirt.CONNECT_LIST_DOMAINS_RUNNING: engine.StateRunning,
		golibvirt.CONNECT_LIST_DOMAINS_PAUSED:  engine.StatePaused,
		golibvirt.CONNECT_LIST_DOMAINS_SHUTOFF: engine.StateShutOff,
	} {
		uuids, err := listUUIDs(l, flag)
		if err != nil {
			return nil, err
		}
		for uuid := range uuids {
			states[uuid] = state
			seen[uuid]++
		}
	}
	for uuid, times := range seen {
		if times > 1 {
			delete(states, uuid)
		}
	}
	return states, nil
}

func listUUIDs(l *golibvirt.Connect, flags golibvirt.ConnectListAllDomainsFlags) (map[string]bool, error) {
	domains, err := l.ListAllDomains(flags)
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

func summary(d *golibvirt.Domain, states map[string]engine.State) (engine.DomainSummary, error) {
	var row engine.DomainSummary
	var err error
	if row.Name, err = d.GetName(); err != nil {
		return row, err
	}
	if row.UUID, err = d.GetUUIDString(); err != nil {
		return row, err
	}
	state, known := states[row.UUID]
	if !known {
		s, _, err := d.GetState()
		if err != nil {
			return row, err
		}
		state = stateOf(s)
	}
	row.State = state
	if row.UUID != engine.UUID(row.Name) {
		return row, nil
	}
	text, err := d.GetXMLDesc(golibvirt.DOMAIN_XML_INACTIVE)
	if err != nil {
		return row, err
	}
	config, err := parseDomain(text)
	if err != nil {
		return row, err
	}
	row.Record = config.record()
	row.Managed = row.Record != nil
	row.Memory, row.CPUs = config.memory(row.Record), config.cpus()
	return row, nil
}

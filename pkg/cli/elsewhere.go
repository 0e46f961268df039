package cli

import (
	"context"
	"slices"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// elsewhere refuses to boot a machine that runs on another host: two of them would
// share a name, a MAC address and what they think is theirs. Only hosts that have a
// name, the machine's own, the one in use and the one that is used where nobody names any
// are known. Of a machine that runs here already nobody is asked.
func (c *call) elsewhere(ctx context.Context, t *target, e *engine.Engine) error {
	others, unnamed, err := c.otherHosts(ctx, t, e)
	if err != nil || len(others) == 0 {
		return err
	}
	own, err := e.Managed(ctx, t.name)
	switch {
	case err == nil && (own.State.Active() || own.Record.Moving != nil):
		return nil // of one that is on its way the verb itself asks where it is
	case fault.Is(err, fault.NotFound):
		own = nil
	case err != nil:
		return nil // the verb itself says what is wrong
	}
	asking := c.asking()
	asking.patient = false
	answers := askHosts(ctx, asking, others, func(ctx context.Context, uri string) (*engine.Domain, error) {
		there, err := c.engine(ctx, uri, t.project)
		if err != nil {
			return nil, err
		}
		return there.Managed(ctx, t.name)
	}, nil)
	for _, other := range answers {
		if err := c.refuses(t.name, other, own); err != nil {
			return err
		}
	}
	for _, other := range answers {
		switch {
		case ctx.Err() != nil, other.err == nil, fault.Is(other.err, fault.NotFound), fault.Is(other.err, fault.Refused):
		case other.uri == unnamed: // where libvirt is not, nothing runs
			c.log.Debug("not asked whether it runs there", "machine", t.name, "host", other.uri, "error", other.err)
		default:
			c.note(t.name, fault.New(fault.Unreachable, "%s could not be asked whether %s runs there: %w", c.called(other.uri), t.name, other.err))
		}
	}
	return nil
}

// refuses says why a machine must not be booted on the host in use, where own is what there
// is of it, as far as another host tells.
func (c *call) refuses(name string, other answer[*engine.Domain], own *engine.Domain) error {
	if other.err != nil {
		return nil
	}
	called, record := c.called(other.uri), other.is.Record
	switch {
	case record.Moving != nil && own == nil:
		return fault.New(fault.Refused, "%s is on its way from %s to %s, and that was cut short", name, called, c.called(record.Moving.To)).
			WithHint("go on with it: %s migrate %s %s", c.on(other.uri), name, ansi.ShellWord(c.called(record.Moving.To)))
	case other.is.State.Active() && (own == nil || own.Record.Project == record.Project):
		return fault.New(fault.Refused, "%s already runs on %s", name, called).
			WithHint("stop it there first: %s down %s", c.on(other.uri), name)
	}
	return nil
}

// otherHosts are the URIs of all known hosts but the one that a command works on. unnamed
// is that of the host that is used where nobody names one, unless it has a name.
func (c *call) otherHosts(ctx context.Context, t *target, e *engine.Engine) (uris []string, unnamed string, err error) {
	list, err := c.hostList()
	switch {
	case err == nil:
	case c.onHost() == "vmctl" && t.host() == "":
		// Nobody names hosts: a list that cannot be read keeps nobody from their own.
		return nil, "", nil
	default:
		return nil, "", err
	}
	for _, h := range list.All() {
		uris = append(uris, h.URI)
	}
	if t.host() != "" {
		own, err := c.namedHost(t.host(), true)
		if err != nil {
			return nil, "", err
		}
		uris = append(uris, own)
	}
	if len(uris) == 0 {
		// Who names no host pays nothing. A URI for one command says nothing of the others:
		// a machine that is tried here may well run there, too.
		return nil, "", nil
	}
	if unnamed, err = c.unnamedHost(); err != nil {
		return nil, "", err
	}
	switch {
	case slices.Contains(uris, unnamed):
		unnamed = ""
	case c.deps.Asleep == nil || !c.deps.Asleep(ctx, unnamed):
		uris = append(uris, unnamed)
	}
	slices.Sort(uris)
	return slices.DeleteFunc(slices.Compact(uris), func(uri string) bool { return uri == t.uri || uri == e.Host.URI }), unnamed, nil
}

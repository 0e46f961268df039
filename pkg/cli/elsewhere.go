package cli

import (
	"context"
	"slices"
	"sync"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// elsewherePatience is how long a host may take to say whether it runs a machine that
// is about to be made on another one.
const elsewherePatience = 10 * time.Second

// elsewhere refuses to boot a machine that runs on another host: two of them would
// share a name, a MAC address and what they think is theirs. Only hosts that have a
// name, the machine's own and the one in use are known. Of a machine that runs here
// already nobody is asked.
func (c *call) elsewhere(ctx context.Context, t *target, e *engine.Engine) error {
	others, err := c.otherHosts(t, e)
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
	ctx, cancel := context.WithTimeout(ctx, elsewherePatience)
	defer cancel()
	found, failed := make([]*engine.Domain, len(others)), make([]error, len(others))
	var asked sync.WaitGroup
	for i, uri := range others {
		asked.Go(func() {
			var there *engine.Engine
			if there, failed[i] = c.engine(ctx, uri, t.project); failed[i] == nil {
				found[i], failed[i] = there.Managed(ctx, t.name)
			}
		})
	}
	asked.Wait()
	names := c.hostNames()
	for i, uri := range others {
		called := uri
		on := "-c " + uri
		if name := names[uri]; name != "" {
			called, on = name, "-H "+name
		}
		switch {
		case failed[i] == nil && found[i].Record.Moving != nil && own == nil:
			return fault.New(fault.Refused, "%s is on its way from %s to %s, and that was cut short", t.name, called, c.called(found[i].Record.Moving.To)).
				WithHint("go on with it: vmctl %s migrate %s %s", on, t.name, c.called(found[i].Record.Moving.To))
		case failed[i] == nil && found[i].State.Active() && (own == nil || own.Record.Project == found[i].Record.Project):
			return fault.New(fault.Refused, "%s already runs on %s", t.name, called).
				WithHint("stop it there first: vmctl %s down %s", on, t.name)
		case failed[i] != nil && !fault.Is(failed[i], fault.NotFound) && !fault.Is(failed[i], fault.Refused):
			c.note(t.name, fault.New(fault.Unreachable, "%s could not be asked whether %s runs there: %w", called, t.name, failed[i]))
		}
	}
	return nil
}

// otherHosts are the URIs of all known hosts but the one that a command works on.
func (c *call) otherHosts(t *target, e *engine.Engine) ([]string, error) {
	list, err := c.hostList()
	switch {
	case err == nil:
	case c.onHost() == "vmctl" && t.host() == "":
		// Nobody names hosts: a list that cannot be read keeps nobody from their own.
		return nil, nil
	default:
		return nil, err
	}
	var uris []string
	for _, h := range list.All() {
		uris = append(uris, h.URI)
	}
	if t.host() != "" {
		own, err := c.namedHost(t.host(), true)
		if err != nil {
			return nil, err
		}
		uris = append(uris, own)
	}
	slices.Sort(uris)
	return slices.DeleteFunc(slices.Compact(uris), func(uri string) bool { return uri == t.uri || uri == e.Host.URI }), nil
}

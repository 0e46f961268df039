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

// elsewhere refuses to make a machine that runs on another host: two of them would
// share a name, a MAC address and what they think is theirs. Only hosts that have a
// name, the machine's own and the one in use are known. A machine that the host has
// already was asked about when it was made.
func (c *call) elsewhere(ctx context.Context, t *target, e *engine.Engine) error {
	others, err := c.otherHosts(t, e)
	if err != nil || len(others) == 0 {
		return err
	}
	if _, err := e.Managed(ctx, t.name); !fault.Is(err, fault.NotFound) {
		return nil // up says what is wrong, if anything is
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
		case failed[i] == nil && found[i].State.Active():
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
	case c.onHost() == "vmctl" && t.machine.Host == "":
		// Nobody names hosts: a list that cannot be read keeps nobody from their own.
		return nil, nil
	default:
		return nil, err
	}
	var uris []string
	for _, h := range list.All() {
		uris = append(uris, h.URI)
	}
	if t.machine.Host != "" {
		own, err := c.namedHost(t.machine.Host, true)
		if err != nil {
			return nil, err
		}
		uris = append(uris, own)
	}
	slices.Sort(uris)
	return slices.DeleteFunc(slices.Compact(uris), func(uri string) bool { return uri == t.uri || uri == e.Host.URI }), nil
}

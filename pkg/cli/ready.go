package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/spec"
)

// waiting says what happens between a start and the report.
type waiting struct {
	console, none bool
	timeout       time.Duration
}

// expected is the guest that is waited for.
type expected struct {
	*attachment
	watched
	// started says that this run booted it; booting that an earlier one did, and that it
	// has not shown since that it is ready.
	started, booting bool
	ready            spec.Ready
	network          string
	ports            []spec.Port
}

// follow shows the console or waits until the guest is ready. It reports whether the
// machine stopped under the console. With secrets it waits in any case until the guest
// has taken them: they must not stay on the host.
func (c *call) follow(ctx context.Context, x expected, w waiting, ready *string) (stopped bool, err error) {
	switch {
	case w.console:
		log := engine.NewConsoleLog(x.host.Volumes, x.attachment.name)
		if x.open != nil {
			log = nil // the stream has it all
		}
		taken := x.deliver(ctx, nil, w.timeout)
		stopped, err = c.attach(ctx, x.attachment, log)
		return stopped, errors.Join(err, taken())
	case !x.started && (w.none || !x.booting):
		return false, x.deliver(ctx, nil, runningTakes)()
	case w.none:
		return false, x.deliver(ctx, nil, w.timeout)()
	}
	*ready, err = c.waitReady(ctx, x, w.timeout)
	return false, err
}

// waitReady waits until the guest is ready, and gives how it showed that.
func (c *call) waitReady(ctx context.Context, x expected, timeout time.Duration) (string, error) {
	outcome, err := c.wait(ctx, x.watched, guest.Options{
		Ready: x.ready, Running: !x.started, Timeout: timeout, Sink: c.progress,
		Targets: func(ctx context.Context, port uint16) []string { return c.targets(ctx, x, port) }, Jump: c.sshTo(x.host.URI),
	})
	c.keepReport(x, outcome.Report)
	if err != nil {
		return "", err
	}
	if err := x.host.Domains.NoteReady(ctx, x.attachment.name); err != nil {
		// The next up asks the guest again; that is all.
		c.log.Debug("note that the guest is ready", "machine", x.attachment.name, "error", err)
	}
	if r := outcome.Report; r != nil && len(r.FailedUnits) > 0 {
		c.note(x.attachment.name, fault.New(fault.Other, "in %s these units failed: %s", x.attachment.name, join(r.FailedUnits, ", ")))
	}
	return outcome.How, nil
}

// targets are where a TCP port of the guest may be reached from here.
func (c *call) targets(ctx context.Context, x expected, port uint16) []string {
	number := strconv.Itoa(int(port))
	var all []string
	if x.host.Local || c.sshTo(x.host.URI) != nil {
		for _, p := range x.ports {
			if p.Guest == port && p.Protocol == "tcp" {
				all = append(all, net.JoinHostPort(dial(p.Address.String()), strconv.Itoa(int(p.Host))))
			}
		}
	}
	if onNetwork(x.network) {
		addresses, _ := x.host.Networks.Addresses(ctx, x.attachment.name) // none is as good as none yet
		for _, address := range addresses {
			all = append(all, net.JoinHostPort(address, number))
		}
	}
	return slices.Compact(all)
}

// keepReport keeps what the guest said of itself where other commands find it.
func (c *call) keepReport(x expected, r *guest.Report) {
	if r == nil || r.State != guest.StateReady {
		return
	}
	dirs, err := c.dirs()
	if err == nil {
		var data []byte
		if data, err = json.Marshal(r); err == nil {
			err = dirs.Reports(x.host.URI).Write(x.attachment.name, data)
		}
	}
	if err != nil {
		c.note(x.attachment.name, fmt.Errorf("what %s said of itself could not be kept: %w", x.attachment.name, err))
	}
}

// reportOf is what the guest said of itself when it was ready last, or nil.
func (c *call) reportOf(hostURI, machine string) *guest.Report {
	dirs, err := c.dirs()
	if err != nil {
		return nil
	}
	var r guest.Report
	if json.Unmarshal(dirs.Reports(hostURI).Read(machine), &r) != nil {
		return nil
	}
	return &r
}

// dropReport forgets what the guest said of itself.
func (c *call) dropReport(hostURI, machine string) {
	if dirs, err := c.dirs(); err == nil {
		dirs.Reports(hostURI).Remove(machine)
	}
}

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

// reach is how to get to a running machine.
type reach struct {
	// Console is the command that shows the serial console.
	Console string `json:"console"`
	// SSH is the command that logs in over the network, when there is a way.
	SSH       string   `json:"ssh,omitempty"`
	Ports     []port   `json:"ports"`
	Addresses []string `json:"addresses"`

	// remote names the host whose addresses the forwards are on; empty for this one.
	remote string
	// unknown says that the guest should have an address, and none is known yet.
	unknown bool
	name    string
}

// reachOf is how to get to a machine that may have addresses too.
func (c *call) reachOf(name string, ports []spec.Port) reach {
	r := reach{name: name, Console: c.onHost() + " console " + name, Ports: portsOf(ports), Addresses: []string{}}
	return r
}

// reach finds out how to get to a machine; what logs in stands in its definition, where there is
// one. That it has no address yet is no error.
func (c *call) reach(ctx context.Context, host *engine.Host, name, network string, ports []spec.Port, m *spec.Machine) reach {
	r := c.reachOf(name, ports)
	if !host.Local {
		r.remote = host.URI
	}
	user := ""
	if m != nil {
		user = c.sshOf(m).User + "@"
	}
	if onNetwork(network) {
		if addresses, err := host.Networks.Addresses(ctx, name); err == nil && len(addresses) > 0 {
			r.Addresses = addresses
			r.SSH = "ssh " + user + addresses[0]
		}
		if len(r.Addresses) == 0 {
			// As on a bridge, whose DHCP server nobody can ask, without an agent.
			if said := c.reportOf(host.URI, name); said != nil && len(said.Addresses) > 0 {
				r.Addresses, r.SSH = said.Addresses, "ssh "+user+said.Addresses[0]
			}
		}
		r.unknown = len(r.Addresses) == 0
	}
	for _, p := range r.Ports {
		if p.Guest == 22 && p.Protocol == "tcp" && host.Local {
			r.SSH = fmt.Sprintf("ssh -p %d %s%s", p.Host, user, dial(p.Address))
			break
		}
	}
	return r
}

// lines are the ways to the machine, for people.
func (r reach) lines() []string {
	lines := []string{"console: " + r.Console}
	if r.SSH != "" {
		lines = append(lines, "ssh:     "+r.SSH)
	}
	for _, a := range r.Addresses {
		lines = append(lines, "address: "+a)
	}
	if r.unknown {
		lines = append(lines, fmt.Sprintf("address: not known yet; ask again with vmctl ip %s", r.name))
	}
	for _, p := range r.Ports {
		if p.Guest == 22 && r.SSH != "" && r.remote == "" {
			continue
		}
		line := "port:    " + p.String()
		if r.remote != "" {
			line += " on " + r.remote
		}
		lines = append(lines, line)
	}
	return lines
}

// upResult is what up tells of one machine.
type upResult struct {
	Name string `json:"name"`
	Host string `json:"host"`
	// Changed says that there was something to do, Started that the guest was booted.
	Changed bool `json:"changed"`
	Started bool `json:"started"`
	// Ready says how the guest showed that it is ready; empty when nobody waited.
	Ready      string      `json:"ready"`
	Operations []engine.Op `json:"operations"`
	Pending    []string    `json:"pending"`
	Notes      []string    `json:"notes"`
	reach
}

const upJSON = `{
  "machines": [
    {
      "name": "example",
      "host": "qemu:///session",
      "changed": true,
      "started": true,
      "ready": "it asks for a login",
      "operations": [
        {
          "action": "start domain",
          "resource": "example",
          "cause": "shut off",
          "destructive": false,
          "when": "now"
        }
      ],
      "pending": [],
      "notes": [],
      "console": "vmctl console example",
      "ssh": "ssh -p 2222 root@127.0.0.1",
      "ports": [
        { "address": "127.0.0.1", "host": 2222, "guest": 22, "protocol": "tcp", "auto": false }
      ],
      "addresses": []
    }
  ]
}`

// sayUp tells a person how up ended.
func (c *call) sayUp(r *upResult, took time.Duration) {
	var b strings.Builder
	switch {
	case !r.Changed && r.Ready != "":
		fmt.Fprintf(&b, "%s is up to date, and ready after %s: %s", r.Name, ui.Duration(took), r.Ready)
	case !r.Changed:
		fmt.Fprintf(&b, "%s is up to date", r.Name)
	case r.Ready != "":
		fmt.Fprintf(&b, "%s is ready after %s: %s", r.Name, ui.Duration(took), r.Ready)
	case r.Started:
		fmt.Fprintf(&b, "%s is started", r.Name)
	default:
		fmt.Fprintf(&b, "%s is changed", r.Name)
	}
	if r.Changed {
		for _, line := range r.lines() {
			b.WriteString("\n  " + line)
		}
	}
	for _, waits := range r.Pending {
		b.WriteString("\n  waits for the next boot: " + ansi.Line(waits))
	}
	if len(r.Pending) > 0 {
		fmt.Fprintf(&b, "\n  vmctl up --restart %s restarts it now", r.Name)
	}
	c.sayDone("%s", b.String())
}

// machines is the JSON document of verbs that work on several machines.
type machines[T any] struct {
	Machines []T `json:"machines"`
}

// results writes what is known of the machines as JSON, when asked to, also after an
// error; the error goes on.
func results[T any](c *call, done []T, err error) error {
	if !c.json() {
		return err
	}
	c.progress.Close()
	if done == nil {
		done = []T{}
	}
	if broken := ui.JSON(c.streams, machines[T]{done}); err == nil {
		err = broken
	}
	return err
}

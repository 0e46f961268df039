package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func ipCommand() *command {
	return &command{
		name: "ip", group: look, takes: oneMachine, run: runIP,
		summary: "Print a machine's addresses",
		about: []string{
			"Prints the addresses of a running guest, one per line, as its agent or the network's DHCP server knows them. " +
				"A guest with user networking has none of its own: it is reached through its forwarded ports, which vmctl info shows.",
		},
		examples: []example{{"vmctl ip example", ""}, {`ssh "$(vmctl ip example | head -1)"`, "log in at the first one"}},
		json: `{
  "name": "example",
  "addresses": ["192.168.122.57"]
}`,
	}
}

// ipResult is what ip tells.
type ipResult struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
}

func runIP(ctx context.Context, c *call, _ *urfave.Context) error {
	name := c.line.args[0]
	t, e, d, err := c.observe(ctx, name)
	if err != nil {
		return err
	}
	addresses, err := c.addresses(ctx, e.Host, d, t.machine)
	if err != nil {
		return err
	}
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, ipResult{name, addresses})
	}
	return c.print(join(addresses, "\n") + "\n")
}

// addresses are those of a running guest; that there are none is an error which says why.
func (c *call) addresses(ctx context.Context, host *engine.Host, d *engine.Domain, m *spec.Machine) ([]string, error) {
	if !d.State.Active() {
		return nil, fault.New(fault.NotFound, "%s is %s and has no address", d.Name, d.State).WithHint("vmctl start %s", d.Name)
	}
	record := d.Record
	if d.Live != nil && d.Live.Record != nil {
		record = d.Live.Record
	}
	switch record.Network {
	case spec.NetworkNone:
		return nil, fault.New(fault.NotFound, "%s has no network", d.Name).WithHint("vmctl console %s", d.Name)
	case spec.NetworkUser:
		r := c.reach(ctx, host, d.Name, record.Network, record.Ports, m)
		none := fault.New(fault.NotFound, "%s has no address of its own: it uses user networking", d.Name)
		if r.SSH != "" {
			return nil, none.WithHint("%s", r.SSH)
		}
		if len(r.Ports) > 0 {
			words := make([]string, len(r.Ports))
			for i, p := range r.Ports {
				words[i] = p.String()
			}
			return nil, none.WithHint("it is reached through its forwarded ports: %s", join(words, ", "))
		}
		return nil, none.WithHint("forward a port to it in the definition, such as ports: [\"2222:22\"]")
	}
	addresses, err := host.Networks.Addresses(ctx, d.Name)
	if err == nil && len(addresses) == 0 {
		err = fault.New(fault.NotFound, "%s has no address on the network %s yet", d.Name, record.Network).
			WithHint("it may still be booting: vmctl logs %s", d.Name)
	}
	return addresses, err
}

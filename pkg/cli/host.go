package cli

import (
	"context"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/hosts"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/ui"
)

func hostCommand() *command {
	return &command{
		name: "host", group: other,
		summary: "Name the libvirt hosts that machines run on",
		about: []string{
			"A host is where libvirt runs: this machine, or one that ssh reaches. With a name it can be given as -H NAME, " +
				"and as host: NAME in a definition. The names are in ~/.config/vmctl/hosts.yaml, one line NAME: URI for each.",
			"ssh is the person's own: its agent, its configuration with ProxyJump, and its known_hosts. A host whose key is not known is refused.",
		},
		verbs: []*command{
			{
				name: "add", run: runHostAdd, takes: ownWords,
				args:     &arguments{usage: "NAME URI", one: "a name and a URI", least: 2, most: 2, hint: "vmctl host add server qemu+ssh://root@server/system"},
				summary:  "Give a host a name",
				about:    []string{"Notes the URI under the name, and connects to nothing: vmctl host check NAME tries it."},
				examples: []example{{"vmctl host add server qemu+ssh://root@server.example.org/system", "then: vmctl -H server up example"}},
			},
			{
				name: "list", run: runHostList,
				summary: "List the hosts that have a name",
				about:   []string{"Asks no host."},
				json: `{
  "hosts": [
    { "name": "server", "uri": "qemu+ssh://root@server.example.org/system" }
  ]
}`,
			},
			{
				name: "remove", run: runHostRemove, takes: ownWords,
				args:    &arguments{usage: "NAME", one: "the name of a host", least: 1, most: 1, hint: "vmctl host list shows them", complete: hostWords},
				summary: "Forget the name of a host",
				about:   []string{"The host and its machines are left as they are."},
			},
			{
				name: "check", run: runHostCheck, takes: ownWords,
				args:    &arguments{usage: "[NAME|URI...]", one: "the name of a host", least: 0, most: -1, hint: "vmctl host list shows them", complete: hostWords},
				summary: "Try whether machines can run on hosts",
				about: []string{
					"Connects to all hosts at once (all that have a name, when none is named) and looks at libvirt, QEMU, KVM, storage, network and firmware, " +
						"as vmctl doctor does for the host in use. It changes nothing. Exits with 1 when one fails.",
				},
				json: `{
  "hosts": [
    {
      "name": "server",
      "uri": "qemu+ssh://root@server.example.org/system",
      "checks": [
        { "name": "kvm", "status": "warn", "detail": "guests run under software emulation, which is slow: …", "hint": "…" }
      ]
    }
  ]
}`,
			},
		},
	}
}

// hostWords are the names of hosts, for completion.
func hostWords(c *call, given []string) []string {
	list, err := c.hostList()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(list.Names(), func(name string) bool { return slices.Contains(given, name) })
}

func runHostAdd(_ context.Context, c *call, _ *urfave.Context) error {
	name, uri := c.line.args[0], c.line.args[1]
	if err := libvirt.CheckURI(uri); err != nil {
		return err
	}
	list, err := c.hostList()
	if err != nil {
		return err
	}
	if err := list.Add(hosts.Host{Name: name, URI: uri}); err != nil {
		return err
	}
	c.say(name + " is " + uri + "; vmctl host check " + name + " tries it")
	return nil
}

func runHostRemove(_ context.Context, c *call, _ *urfave.Context) error {
	list, err := c.hostList()
	if err != nil {
		return err
	}
	if err := list.Remove(c.line.args[0]); err != nil {
		return err
	}
	c.say(c.line.args[0] + " names no host any more; the machines there stay as they are")
	return nil
}

// listedHost is one host of a list.
type listedHost struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
}

// checkedHost is a host and what was found there.
type checkedHost struct {
	Name   string  `json:"name"`
	URI    string  `json:"uri"`
	Checks []check `json:"checks"`
}

type hostsResult[T any] struct {
	Hosts []T `json:"hosts"`
}

func runHostList(_ context.Context, c *call, _ *urfave.Context) error {
	list, err := c.hostList()
	if err != nil {
		return err
	}
	result := hostsResult[listedHost]{Hosts: []listedHost{}}
	table := ui.NewTable(ui.Column{Title: "NAME", Keep: true}, ui.Column{Title: "URI"})
	for _, h := range list.All() {
		result.Hosts = append(result.Hosts, listedHost{Name: h.Name, URI: h.URI})
		table.Row(h.Name, h.URI)
	}
	switch {
	case c.json():
		return ui.JSON(c.streams, result)
	case len(result.Hosts) == 0:
		c.say("no host has a name yet; vmctl host add NAME URI gives one")
		return nil
	}
	return table.Write(c.streams)
}

func runHostCheck(ctx context.Context, c *call, _ *urfave.Context) error {
	wanted, err := c.hostsToCheck()
	if err != nil {
		return err
	}
	uris := make([]string, len(wanted))
	for i, h := range wanted {
		uris[i] = h.URI
	}
	answers := askHosts(ctx, c.asking(), uris, func(ctx context.Context, uri string) ([]check, error) {
		return c.checkHostAt(ctx, uri), nil
	}, nil)
	c.progress.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	broken := false
	for i, a := range answers {
		if wanted[i].Checks = a.is; a.err != nil {
			wanted[i].Checks = []check{failed("libvirt", a.err)} // it came too late
		}
		broken = broken || slices.ContainsFunc(wanted[i].Checks, func(k check) bool { return k.Status == statusFail })
		if !c.json() {
			if err := c.showHost(wanted[i], len(wanted) > 1); err != nil {
				return err
			}
		}
	}
	if c.json() {
		if err := ui.JSON(c.streams, hostsResult[checkedHost]{wanted}); err != nil {
			return err
		}
	}
	if broken {
		return errChecks
	}
	return nil
}

// hostsToCheck are the hosts named, or all.
func (c *call) hostsToCheck() ([]checkedHost, error) {
	list, err := c.hostList()
	if err != nil {
		return nil, err
	}
	wanted := []checkedHost{}
	for _, word := range unique(c.line.args) {
		uri, err := c.namedHost(word, true)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, checkedHost{Name: word, URI: uri})
	}
	if len(c.line.args) > 0 {
		return wanted, nil
	}
	for _, h := range list.All() {
		wanted = append(wanted, checkedHost{Name: h.Name, URI: h.URI})
	}
	if len(wanted) == 0 {
		return nil, usagef("no host has a name yet").WithHint("vmctl host add NAME URI gives one; vmctl doctor checks the host in use")
	}
	return wanted, nil
}

func (c *call) showHost(h checkedHost, several bool) error {
	if several {
		if err := c.print(h.Name + "\n"); err != nil {
			return err
		}
	}
	for _, k := range h.Checks {
		if err := c.print(k.text(c.streams.OutColor, c.streams.OutWidth())); err != nil {
			return err
		}
	}
	return nil
}

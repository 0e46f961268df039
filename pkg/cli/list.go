package cli

import (
	"context"
	"errors"
	"maps"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func listCommand() *command {
	return &command{
		name: "list", group: look, run: runList,
		takes: ownWords, args: &arguments{usage: "[FLAKE...]", one: "a flake", most: -1},
		summary: "List machines",
		about: []string{
			"Lists the machines of the project, on the hosts that they name, and the machines that vmctl made on the host in use. " +
				"Outside of a project it lists those alone. While some hosts keep it waiting, what others have said is shown; one that " +
				"has not answered at all within 30 seconds is given up.",
			"With --available it lists what could be brought up instead: the configurations of the flakes named, or of the flake in the project's " +
				"(else the current) directory and those in images/. None of them is evaluated.",
		},
		options: []option{
			{name: "all", short: "a", help: "also list domains that vmctl did not make"},
			{name: "all-hosts", short: "A", help: "list the machines of every host of vmctl host list, too; all are asked at once"},
			{name: "available", help: "list the configurations that flakes offer"},
		},
		examples: []example{
			{"vmctl list", ""},
			{"vmctl list -c qemu:///system -a", "everything on the system's libvirt"},
			{"vmctl list --all-hosts", "a host that does not answer hides no other"},
			{"vmctl list --available .", "what vmctl up .#NAME could bring up"},
			{"vmctl list -o json | jq -r '.machines[] | select(.state == \"running\").name'", ""},
		},
		json: `{
  "machines": [
    {
      "name": "example",
      "host": "qemu:///session",
      "state": "running",
      "declared": true,
      "managed": true,
      "autostart": false,
      "cpus": 2,
      "memory": 1610612736,
      "image": "images/example",
      "ports": [
        { "address": "127.0.0.1", "host": 2222, "guest": 22, "protocol": "tcp", "auto": false }
      ],
      "addresses": [],
      "moving": ""
    }
  ]
}`,
	}
}

// notCreated is the state of a machine that is declared and not on the host.
const notCreated = "not created"

// listed is one machine of a list. Memory is in bytes.
type listed struct {
	Name      string   `json:"name"`
	Host      string   `json:"host"`
	State     string   `json:"state"`
	Declared  bool     `json:"declared"`
	Managed   bool     `json:"managed"`
	Autostart bool     `json:"autostart"`
	CPUs      int      `json:"cpus"`
	Memory    uint64   `json:"memory"`
	Image     string   `json:"image"`
	Ports     []port   `json:"ports"`
	Addresses []string `json:"addresses"`
	// Moving is the host that the machine is on its way to, and has left this one for when
	// it is listed there, too.
	Moving string `json:"moving"`

	deciding bool
}

func runList(ctx context.Context, c *call, in *urfave.Context) error {
	switch {
	case in.Bool("available") && in.Bool("all"):
		return usagef("--available and --all list different things").WithHint("leave one of them out")
	case in.Bool("available"):
		return c.listAvailable(ctx)
	case len(c.line.args) > 0:
		return c.line.explain(usagef("list does not take %q", c.line.args[0]).
			WithHint("vmctl info NAME shows one machine; vmctl list --available FLAKE what a flake offers"))
	}
	machines, invalid, err := c.machinesByHost()
	if err != nil {
		return err
	}
	uris, err := c.hostsToList(in.Bool("all-hosts"))
	if err != nil {
		return err
	}
	uris = slices.AppendSeq(uris, maps.Keys(machines))
	slices.Sort(uris)
	l := &listing{call: c, names: c.hostNames()}
	a := c.asking()
	tell := a.waiting
	a.waiting = func(left []string, all int) {
		l.several = true
		l.show() // others are not waited for
		tell(left, all)
	}
	_, failed := allOf(askHosts(ctx, a, slices.Compact(uris), func(ctx context.Context, uri string) ([]listed, error) {
		return c.listHost(ctx, uri, machines[uri], in.Bool("all"))
	}, func(came answer[[]listed]) { l.rows = append(l.rows, came.is...) }))
	c.progress.Close()
	if c.json() {
		l.sort(0)
		return results(c, append([]listed{}, l.rows...), spec.Join(failed, invalid))
	}
	failed = errors.Join(failed, brief(invalid))
	l.show()
	if l.err != nil {
		return l.err
	}
	if len(l.rows) == 0 && failed == nil {
		c.say("there are no machines here; vmctl list -a shows domains that vmctl did not make")
	}
	return failed
}

// machinesByHost are the project's machines under the URI that they run on. The second
// result is what is wrong in definitions: it does not keep the others from being listed.
func (c *call) machinesByHost() (map[string][]spec.Machine, error, error) {
	machines := map[string][]spec.Machine{}
	p, err := c.projectOrNone()
	if err != nil || p == nil {
		return machines, nil, err
	}
	all, invalid := p.LoadAll()
	for _, m := range all {
		// What its configuration says counts, as far as it is known.
		if t, err := c.defined(p, m.Name); err == nil {
			c.recall(t)
			m = t.machine
		}
		uri, err := c.uri(m.Host)
		if err != nil {
			invalid = spec.Join(invalid, err)
			continue
		}
		machines[uri] = append(machines[uri], *m)
	}
	return machines, invalid, nil
}

// brief is err, but for a report of several problems, of which it says how many each file has: for
// who asked for something else.
func brief(err error) error {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		var each []error
		for _, one := range joined.Unwrap() {
			each = append(each, brief(one))
		}
		return errors.Join(each...)
	}
	report, ok := errors.AsType[*spec.Error](err)
	if !ok || len(report.Problems) < 2 {
		return err
	}
	count := map[string]int{}
	for _, p := range report.Problems {
		count[p.File]++
	}
	var files []string
	for _, file := range slices.Sorted(maps.Keys(count)) {
		files = append(files, file+" has "+counted(count[file], "error"))
	}
	return fault.New(fault.Invalid, "%s", join(files, ", ")).WithHint("vmctl validate shows them")
}

// hostsToList is the host in use, and with all those that have a name.
func (c *call) hostsToList(all bool) ([]string, error) {
	uri, err := c.uri("")
	if err != nil || !all {
		return []string{uri}, err
	}
	if c.onHost() != "vmctl" {
		return nil, usagef("--all-hosts lists all hosts, and the command line names one").WithHint("leave one of them out")
	}
	list, err := c.hostList()
	if err != nil {
		return nil, err
	}
	uris := []string{uri}
	for _, h := range list.All() {
		uris = append(uris, h.URI)
	}
	return uris, nil
}

// listHost lists one host's machines. Of a host that does not answer, those that are
// declared are known all the same.
func (c *call) listHost(ctx context.Context, uri string, declared []spec.Machine, all bool) ([]listed, error) {
	var rows []listed
	e, err := c.engine(ctx, uri, nil)
	if err == nil {
		var found []engine.Row
		reading := engine.Briefly
		if c.json() {
			reading = engine.WithAutostart // the table does not show it
		}
		if found, err = e.List(ctx, declared, all, reading); err == nil {
			for _, r := range found {
				rows = append(rows, listRow(r, uri))
			}
			return rows, nil
		}
	}
	for _, m := range declared {
		row := listRow(engine.Row{Name: m.Name, Declared: true, Image: m.Image.String(), Memory: m.Memory, CPUs: m.CPUs, Ports: m.Ports}, uri)
		row.State = "unknown"
		rows = append(rows, row)
	}
	return rows, err
}

func listRow(r engine.Row, uri string) listed {
	row := listed{
		Name: r.Name, Host: uri, State: notCreated, Declared: r.Declared, CPUs: r.CPUs, Memory: uint64(r.Memory),
		Image: r.Image, Ports: portsOf(r.Ports), Addresses: r.Addresses,
	}
	if row.Addresses == nil {
		row.Addresses = []string{}
	}
	if d := r.Domain; d != nil {
		row.State, row.Managed, row.Autostart = string(d.State), d.Managed, d.Autostart
		if d.Record != nil && d.Record.Moving != nil {
			row.Moving, row.deciding = d.Record.Moving.To, d.Record.Moving.Deciding
		}
	}
	return row
}

// stateOf is a machine's state in a list. Of one that is on its way to another host it says
// on which of them it is, as far as the list tells.
func (c *call) stateOf(r listed, rows []listed) string {
	if r.Moving == "" {
		return r.State
	}
	for _, other := range rows {
		if other.Name == r.Name && other.Host == r.Moving && other.Managed && other.Moving == "" && r.deciding {
			return "moved to " + c.called(r.Moving)
		}
	}
	return r.State + ", moving to " + c.called(r.Moving)
}

// whereabouts are a machine's addresses and forwards in one cell.
func whereabouts(addresses []string, ports []port) string {
	words := slices.Clone(addresses)
	for _, p := range ports {
		words = append(words, p.short())
	}
	return join(words, ", ")
}

package cli

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

// listing is the table of machines, which grows while hosts answer.
type listing struct {
	*call
	rows []listed
	// names are the hosts' by their URIs; several says that they are told apart.
	names   map[string]string
	several bool

	table *ui.Table
	shown int
	err   error
}

// sort sorts the rows from one on, by the names of machines and hosts.
func (l *listing) sort(from int) {
	slices.SortStableFunc(l.rows[from:], func(a, b listed) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Host, b.Host))
	})
}

// show prints the rows that have not been printed yet. As JSON all come at once.
func (l *listing) show() {
	if l.json() || l.err != nil || l.shown == len(l.rows) {
		return
	}
	l.sort(l.shown)
	if l.table == nil {
		l.several = l.several || slices.ContainsFunc(l.rows, func(r listed) bool { return r.Host != l.rows[0].Host })
		l.table = ui.NewTable(l.columns()...)
	}
	for _, r := range l.rows[l.shown:] {
		l.row(r)
	}
	l.shown = len(l.rows)
	l.progress.Pause()
	l.err = l.table.Write(l.streams)
	l.progress.Resume()
}

// columns are the table's; hosts are named when there are several.
func (l *listing) columns() []ui.Column {
	columns := []ui.Column{
		{Title: "NAME", Keep: true}, {Title: "STATE", State: true, Keep: true}, {Title: "CPUS", Right: true},
		{Title: "MEMORY", Right: true}, {Title: "ADDRESS"}, {Title: "IMAGE"},
	}
	if l.several {
		columns = append(columns, ui.Column{Title: "HOST"})
	}
	return columns
}

func (l *listing) row(r listed) {
	cpus, memory := "", ""
	if r.CPUs > 0 {
		cpus = strconv.Itoa(r.CPUs)
	}
	if r.Memory > 0 {
		memory = spec.Size(r.Memory).String()
	}
	l.table.Row(r.Name, l.stateOf(r, l.rows), cpus, memory, whereabouts(r.Addresses, r.Ports), r.Image, cmp.Or(l.names[r.Host], r.Host))
}

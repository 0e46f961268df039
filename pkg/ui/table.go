package ui

import "strings"

// Column is one column of a Table.
type Column struct {
	// Title is the header.
	Title string
	// Right aligns to the right, for numbers.
	Right bool
	// State colours a cell by what it says: "running" is green, "crashed" red.
	State bool
	// Keep says that the column is shortened last: a name, which gets typed again.
	Keep bool
}

// Table is rows under headers, the most important columns first. On a terminal it is
// cut to the width, and what cannot be shown legibly is left out; in a pipe it
// is the same table whole and without colour, as virsh and kubectl do, so that awk
// and people see one thing. An empty cell is "-", so that each row has all fields.
// Scripts should rather ask for JSON.
type Table struct {
	columns []Column
	rows    [][]string
	// written is how many rows were written already.
	written int
}

// NewTable makes an empty table.
func NewTable(columns ...Column) *Table { return &Table{columns: columns} }

// Row adds a row; missing cells are empty, surplus ones are dropped.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.columns))
	for i := range row {
		row[i] = "-"
		if i < len(cells) {
			if cell := oneLine(cells[i]); cell != "" {
				row[i] = cell
			}
		}
	}
	t.rows = append(t.rows, row)
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

const (
	tableGap = "  "
	// narrowest is the width below which a column rather goes than is cut.
	narrowest = 8
)

// Write writes the table to standard output; the next time only the rows that are new, as
// far as can be under the same headers.
func (t *Table) Write(s *Streams) error {
	widths := t.widths(s.OutWidth())
	more, paint := s.glyphs().more, s.outStyle()
	var b strings.Builder
	if t.written == 0 {
		header := make([]string, len(t.columns))
		for i, column := range t.columns {
			header[i] = column.Title
		}
		t.line(&b, header, widths, more, func(int, string) string { return bold }, paint)
	}
	for _, row := range t.rows[t.written:] {
		t.line(&b, row, widths, more, func(i int, cell string) string {
			if t.columns[i].State {
				return stateColor(cell)
			}
			return plain
		}, paint)
	}
	t.written = len(t.rows)
	_, err := s.Out.Write([]byte(b.String()))
	return err
}

func (t *Table) line(b *strings.Builder, row []string, widths []int, more string, color func(int, string) string, paint style) {
	gap := ""
	for i, cell := range row {
		if widths[i] == 0 {
			continue // no room for this column at all
		}
		text := cut(cell, widths[i], more)
		fill := strings.Repeat(" ", max(widths[i]-cells(text), 0))
		text = paint.paint(color(i, cell), text)
		// What fills a cell is written with the next one, so that no line ends in blanks.
		b.WriteString(gap)
		if gap = tableGap; t.columns[i].Right {
			text = fill + text
		} else {
			gap = fill + tableGap
		}
		b.WriteString(text)
	}
	b.WriteByte('\n')
}

// widths are the columns' widths such that the table fits into limit columns (0: any).
func (t *Table) widths(limit int) []int {
	widths := make([]int, len(t.columns))
	for i, column := range t.columns {
		widths[i] = cells(column.Title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], cells(row[i]))
		}
	}
	if limit <= 0 {
		return widths
	}
	// Terminals differ in what they do after a character in the last column.
	limit--
	// First the widest columns give, down to a readable rest; then columns go from the
	// right, because half a table that can be read beats a whole one that cannot.
	shrink(widths, limit, func(i, w int) bool { return w > narrowest && !t.columns[i].Keep })
	drop(widths, limit, 2)
	shrink(widths, limit, func(_, w int) bool { return w > narrowest })
	drop(widths, limit, 1)
	shrink(widths, limit, func(_, w int) bool { return w > 1 })
	return widths
}

// drop removes columns from the right until the rest fits or only least are left.
func drop(widths []int, limit, least int) {
	for i := len(widths) - 1; i >= least && total(widths) > limit; i-- {
		widths[i] = 0
	}
}

// shrink takes cells from the widest column that may give one, until all fit.
func shrink(widths []int, limit int, may func(i, w int) bool) {
	for total(widths) > limit {
		widest := -1
		for i, w := range widths {
			if may(i, w) && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func total(widths []int) int {
	sum := -len(tableGap)
	for _, w := range widths {
		if w > 0 {
			sum += w + len(tableGap)
		}
	}
	return sum
}

package spec

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type lamp struct {
	Name, Colour string
	Tags         []string
	Socket       socket
}

type socket struct{ Volts Size }

func lampRecord() record[lamp] {
	return record[lamp]{
		what: "a lamp", example: "{colour: red}",
		fresh:       func(name string) lamp { return lamp{Name: name, Colour: "white"} },
		short:       func(p *parser, v value, t *lamp) { readWord(p, v, &t.Colour, "red", "white") },
		shortSchema: oneOf("red", "white"),
		fields: func(t *lamp) fieldTable {
			socketRecord := record[socket]{what: "a socket", example: "socket: {volts: 1B}", fields: func(s *socket) fieldTable {
				return fieldTable{{
					Field: Field{Key: "volts", Type: "size", Example: "1B", Doc: "V."}, required: true,
					schema: text(sizePattern, sizeLength), read: func(p *parser, v value) { readSize(p, v, &s.Volts, 1, 9, 1) },
				}}
			}}
			return fieldTable{
				{
					Field:  Field{Key: "colour", Type: "red or white", Default: "white", Example: "red", Doc: "C."},
					schema: oneOf("red", "white"), read: func(p *parser, v value) { readWord(p, v, &t.Colour, "red", "white") },
				},
				texts(field{Field: Field{Key: "tags", Type: "list", Default: "none", Example: `["a"]`, Doc: "T."}}, "^[a-z]+$", 9, 3,
					func(_ *parser, _ value, s string) { t.Tags = append(t.Tags, s) }),
				single(field{Field: Field{Key: "socket", Type: "socket", Default: "none", Example: `{"volts": "1B"}`, Doc: "S."}}, socketRecord,
					func(_ *parser, s socket) { t.Socket = s }),
			}
		},
	}
}

// lamps reads one definition whose only keys are lamps and row.
func lamps(t *testing.T, text string) (named1, row []lamp, report string) {
	t.Helper()
	table := fieldTable{
		named(field{Field: Field{Key: "lamps"}}, lampRecord(), 9, 9, func(_ *parser, l lamp) { named1 = append(named1, l) }),
		listed(field{Field: Field{Key: "row"}}, lampRecord(), 9, func(_ *parser, _ value, l lamp) { row = append(row, l) }),
	}
	p := &parser{file: "f", m: Defaults("m1"), keys: map[string]place{}, wrong: map[string]bool{}, listed: map[string]bool{}}
	_, ok := p.text([]byte(text))
	require.True(t, ok)
	file, err := parseYAML(text)
	require.NoError(t, err)
	p.mapping(p.body(file), table, scope{what: "a test"})
	e := &Error{Problems: p.problems}
	e.sort()
	return named1, row, e.Error()
}

func TestRecords(t *testing.T) {
	named1, row, report := lamps(t, `
lamps:
  b: red
  a: {tags: [x, y], socket: {volts: 2B}}
row:
  - colour: red
  - white
  - {socket: {volts: 3B}}
`)
	assert.Empty(t, report)
	assert.Equal(t, []lamp{{Name: "a", Colour: "white", Tags: []string{"x", "y"}, Socket: socket{2}}, {Name: "b", Colour: "red"}}, named1)
	assert.Equal(t, []lamp{{Colour: "red"}, {Colour: "white"}, {Colour: "white", Socket: socket{3}}}, row)
}

// Each problem is told at its own place, whatever level it is on, and what is good is
// still read.
func TestRecordsWrong(t *testing.T) {
	named1, row, report := lamps(t, `
lamps:
  a: {tags: [1, {}], socket: {}}
  b: blue
  c: {socket: {volt: 1B}}
  d: [x]
  e: red
row:
  - {colour: red, colour: red}
  -
  - - red
  - {socket: 3}
  - white
`)
	assert.Equal(t, []lamp{{Name: "e", Colour: "red"}}, named1)
	assert.Equal(t, []lamp{{Colour: "white"}}, row)
	assert.Equal(t, `f:3:14: lamps.a.tags[0]: this should be text, but is a number
    3 |   a: {tags: [1, {}], socket: {}}
      |              ^
f:3:17: lamps.a.tags[1]: this should be text, but is a mapping
    3 |   a: {tags: [1, {}], socket: {}}
      |                 ^
f:3:22: lamps.a.socket: a socket needs the key volts
    3 |   a: {tags: [1, {}], socket: {}}
      |                      ^^^^^^
      hint: such as volts: 1B
f:4:6: lamps.b: "blue" is not red or white
    4 |   b: blue
      |      ^^^^
f:5:7: lamps.c.socket: a socket needs the key volts
    5 |   c: {socket: {volt: 1B}}
      |       ^^^^^^
      hint: such as volts: 1B
f:5:16: lamps.c.socket: "volt" is not a key of a socket
    5 |   c: {socket: {volt: 1B}}
      |                ^^^^
      hint: did you mean volts?
f:6:6: lamps.d: this should be a lamp's keys, but is a list
    6 |   d: [x]
      |      ^
      hint: write {colour: red}
f:9:19: row[0].colour: the key is here twice; the first is in line 9
    9 |   - {colour: red, colour: red}
      |                   ^^^^^^
      hint: keep one of them
f:10:3: row[1]: there is no value
   10 |   -
      |   ^
      hint: write one, or delete the line to take the default
f:11:5: row[2]: this should be a lamp's keys, but is a list
   11 |   - - red
      |     ^
      hint: write {colour: red}
f:12:14: row[3].socket: this should be a socket's keys, but is a number
   12 |   - {socket: 3}
      |              ^
      hint: write socket: {volts: 1B}`, report)
}

func TestRecordsDocumented(t *testing.T) {
	table := fieldTable{
		named(field{Field: Field{Key: "lamps"}}, lampRecord(), 9, 9, func(*parser, lamp) {}),
		listed(field{Field: Field{Key: "row"}}, lampRecord(), 9, func(*parser, value, lamp) {}),
	}
	var keys []string
	for _, f := range table.documented("") {
		keys = append(keys, f.Key+" "+f.Default)
	}
	assert.Equal(t, []string{
		"lamps ", "lamps.NAME.colour white", "lamps.NAME.tags none", "lamps.NAME.socket none", "lamps.NAME.socket.volts must be given",
		"row ", "row[].colour white", "row[].tags none", "row[].socket none", "row[].socket.volts must be given",
	}, keys)
}

package delta

// Index knows the blocks of files by their keys.
type Index struct {
	files [][]Key
	where map[Key]place
	room  int64
}

// place is a block of a file of the index.
type place struct {
	file  uint32
	block uint32
}

// NewIndex makes an index that takes up to so many blocks, about 40 bytes each.
func NewIndex(room int64) *Index { return &Index{where: map[Key]place{}, room: room} }

// Room is how many blocks more it takes.
func (x *Index) Room() int64 { return x.room }

// Add takes a file's keys, in order, and gives the file its number: 0 is the first. What
// there is no room for is left out.
func (x *Index) Add(keys []Key) {
	keys = keys[:min(int64(len(keys)), x.room)]
	x.room -= int64(len(keys))
	file := uint32(len(x.files))
	if file == 0 {
		x.where = make(map[Key]place, len(keys)) // it need not grow then
	}
	x.files = append(x.files, keys)
	for i, key := range keys {
		if _, known := x.where[key]; !known && key != Hole {
			x.where[key] = place{file, uint32(i)}
		}
	}
}

// holds says that a block of a file has a key.
func (x *Index) holds(p place, key Key) bool {
	return int(p.file) < len(x.files) && int(p.block) < len(x.files[p.file]) && x.files[p.file][p.block] == key
}

// Kind is what an operation does.
type Kind uint8

// The kinds of operations.
const (
	// Keep leaves what is there.
	Keep Kind = iota
	// Clear makes zeros.
	Clear
	// Copy takes blocks from a file of the index.
	Copy
	// Data takes blocks that have to be sent.
	Data
)

// Op makes a run of blocks of a file what they should be.
type Op struct {
	Kind Kind
	// At is the first block, Count how many there are.
	At, Count int64
	// File and From say where Copy takes them: which file of the index, and its block.
	File int
	From int64
}

// Plan says how to make blocks of a file those of want, the first of which is block at.
// have are the keys of the same blocks as they are; none is a hole. The operations are in order, adjacent, as
// long as can be, and do not depend on each other: none takes from the file itself.
func (x *Index) Plan(want []Key, at int64, have []Key) []Op {
	var ops []Op
	var next place // the block behind the one that was copied last
	for i, key := range want {
		op := Op{Kind: Data, At: at + int64(i), Count: 1}
		is := Hole
		if i < len(have) {
			is = have[i]
		}
		p, found := x.where[key]
		if x.holds(next, key) {
			p, found = next, true
		}
		switch {
		case is == key:
			op.Kind = Keep
		case key == Hole:
			op.Kind = Clear
		case found:
			op.Kind, op.File, op.From = Copy, int(p.file), int64(p.block)
			next = place{p.file, p.block + 1}
		}
		if n := len(ops) - 1; n >= 0 && ops[n].goesOn(op) {
			ops[n].Count++
			continue
		}
		ops = append(ops, op)
	}
	return ops
}

// goesOn says that an operation on the block behind those of o is the same.
func (o Op) goesOn(next Op) bool {
	return o.Kind == next.Kind && (o.Kind != Copy || o.File == next.File && o.From+o.Count == next.From)
}

package engine

import (
	"bytes"
	"context"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// FuzzVolumeNames: of a pool's files, whose names anybody on the host chooses, only those
// are vmctl's that vmctl gives.
func FuzzVolumeNames(f *testing.F) {
	f.Add(DataVolume("example", "data"))
	f.Add("base-nix-0123456789ab.a1b2c3d4-e5.qcow2.ok")
	f.Add("base-clock.x.lease")
	f.Add("example.d02b2cdb.data-../../x.qcow2")
	f.Add("base-.qcow2\nbase-a..qcow2")
	f.Fuzz(func(t *testing.T, names string) {
		var pool []Volume
		for name := range strings.SplitSeq(names, "\n") {
			pool = append(pool, Volume{Name: name})
			if machine, volume, ok := parseDataVolume(name); ok {
				require.NoError(t, spec.CheckName(strings.ToLower(machine[:min(len(machine), spec.NameLength)])))
				assert.Equal(t, name, DataVolume(machine, volume))
				assert.Equal(t, name, path.Base(name))
			}
			ownVolume("example", name)
			imageAt(Pool{Target: "/p"}, "/p/"+name)
		}
		for _, image := range readBases(pool) {
			image.usable("qcow2", "a")
			image.unfinished("a")
			for _, c := range image.copies {
				for _, v := range c.volumes() {
					assert.Contains(t, pool, v, "nothing is removed that is not there")
					assert.True(t, strings.HasPrefix(v.Name, basePrefix))
				}
			}
		}
	})
}

func FuzzSplitVolume(f *testing.F) {
	f.Add("example/data")
	f.Add("../../etc/passwd")
	f.Add("-x/-y")
	f.Fuzz(func(t *testing.T, word string) {
		machine, volume, err := SplitVolume(word)
		if err != nil {
			return
		}
		assert.Equal(t, word, machine+"/"+volume)
		assert.NotContains(t, volume, "/")
		assert.NotEqual(t, byte('-'), word[0])
	})
}

// logFile is a console's log that nothing was put aside of; nil is not there.
type logFile []byte

func (f *logFile) ListVolumes(_ context.Context, name string) ([]Volume, error) {
	return []Volume{{Name: name, Length: spec.Size(len(*f))}}, nil
}

func (f *logFile) ReadLog(_ context.Context, name string, offset int64) (io.ReadCloser, error) {
	if *f == nil {
		return nil, fault.New(fault.NotFound, "no %s", name)
	}
	return io.NopCloser(bytes.NewReader((*f)[min(int(offset), len(*f)):])), nil
}

// FuzzConsoleLog reads a log that becomes another one between two looks: longer, shorter,
// begun anew or gone. What is given ends with all of it, or with what was added.
func FuzzConsoleLog(f *testing.F) {
	f.Add([]byte("boot\r\n"), []byte("boot\r\nlogin: "))
	f.Add(bytes.Repeat([]byte("x"), 200), []byte("anew"))
	f.Add([]byte("a"), []byte(nil))
	f.Fuzz(func(t *testing.T, first, then []byte) {
		var file logFile
		var out bytes.Buffer
		log := NewConsoleLog(&file, "example")
		for _, now := range [][]byte{first, then, first} {
			file = now
			begun := false
			log.Anew = func() error { begun = true; return nil }
			before, known := out.Len(), log.offset
			_, err := log.Next(t.Context(), &out, Whole)
			require.NoError(t, err)
			require.Equal(t, int64(len(now)), log.offset)
			if begun {
				known = 0
			}
			require.Equal(t, string(now[known:]), out.String()[before:])
		}
	})
}

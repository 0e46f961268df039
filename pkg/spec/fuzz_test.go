package spec_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

// Nothing makes Parse panic, and every problem points into the file.
func FuzzParse(f *testing.F) {
	addDefinitions(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := spec.Parse("m1", "m1.yaml", data)
		if err != nil {
			assert.Nil(t, m)
			checkPlaces(t, data, err)
			return
		}
		assert.GreaterOrEqual(t, m.Memory, 16*spec.MiB)
		assert.Positive(t, m.CPUs)
	})
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"1GiB", "1.5 GiB", "10GB", "1536", "0B", "x", "0.1TiB", "9223372036854775807B"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		size, err := spec.ParseSize(s)
		if err != nil {
			return
		}
		again, err := spec.ParseSize(size.Exact())
		require.NoError(t, err)
		assert.Equal(t, size, again)
		assert.LessOrEqual(t, len(size.String()), len("8388608.0TiB"))
	})
}

func FuzzParsePort(f *testing.F) {
	for _, seed := range []string{"2222:22", "127.0.0.1:2222:22/tcp", "[::1]:53:53/udp", "22", "a:b:c:d", "[::]:0:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		port, err := spec.ParsePort(s)
		if err != nil {
			return
		}
		assert.True(t, port.Host > 0 && port.Guest > 0 && port.Address.IsValid())
		again, err := spec.ParsePort(port.String())
		require.NoError(t, err)
		assert.Equal(t, port, again)
	})
}

func FuzzParseImage(f *testing.F) {
	for _, seed := range []string{"images/example#a.b", `.#"a.b".c`, "github:o/r?dir=x#y", "./d.qcow2", "-x", "a//", "https://x", "git+ssh://-o"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		image, err := spec.ParseImage(s)
		if err != nil {
			return
		}
		assert.NotEmpty(t, image.Ref)
		assert.NotContains(t, image.Ref, "#")
		assert.False(t, strings.HasPrefix(image.String(), "-"))
		assert.Negative(t, strings.IndexFunc(image.String(), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }))
		assert.False(t, strings.ContainsAny(image.String(), "$`;|<>\\*()!{}"))
		again, err := spec.ParseImage(image.String())
		require.NoError(t, err)
		assert.Equal(t, image, again)
	})
}

func FuzzCheckHost(f *testing.F) {
	for _, seed := range []string{"qemu:///system", "qemu+ssh://me@h/system?keyfile=/x", "qemu+ext:///system", "test:///default"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if spec.CheckHost(s) != nil {
			return
		}
		for _, word := range []string{"command=", "netcat=", "no_verify", "+ext", "://-", "%"} {
			assert.NotContains(t, s, word)
		}
	})
}

func addDefinitions(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*/*.yaml")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
}

// FuzzFragment: XML that a definition adds is whole elements and never whose the domain is.
func FuzzFragment(f *testing.F) {
	f.Add("devices", "<sound model='ich9'/>")
	f.Add("", "<name>evil</name>")
	f.Add("", "<!--")
	f.Add("devices/disk[1]", "<a/>")
	f.Add("/domain/domain/name", "</domain><domain>")
	f.Add("", "<x:name xmlns:x='y'/>")
	f.Fuzz(func(t *testing.T, at, add string) {
		text := "image: x\nxml:\n  - {at: " + strconv.Quote(at) + ", add: " + strconv.Quote(add) + "}\n"
		m, err := spec.Parse("m1", "m1.yaml", []byte(text))
		if err != nil {
			return
		}
		require.Len(t, m.XML, 1)
		require.NotEmpty(t, m.XML[0].Elements())
		steps := m.XML[0].Steps()
		for _, own := range []string{"name", "uuid", "metadata"} {
			if len(steps) == 0 {
				assert.NotContains(t, m.XML[0].Elements(), own)
			} else {
				assert.NotEqual(t, own, steps[0].Name)
			}
		}
	})
}

func FuzzParseReady(f *testing.F) {
	for _, seed := range []string{"auto", "report", "port 80", "ssh", "console /^login/", "console /((a*)*)*b/", "30s", "console /\x00/", "port 0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ready, err := spec.ParseReady(s)
		if err != nil {
			return
		}
		again, err := spec.ParseReady(ready.String())
		require.NoError(t, err)
		assert.Equal(t, ready, again)
	})
}

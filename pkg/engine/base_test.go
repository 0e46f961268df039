package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNamesOfBases(t *testing.T) {
	for name, want := range map[string]baseName{
		"base-nix-abc.qcow2":                   {id: "nix-abc", format: "qcow2"},
		"base-nix-abc-0123.raw":                {id: "nix-abc-0123", format: "raw"},
		"base-sha256-ab.c1-r1.qcow2":           {id: "sha256-ab", token: "c1-r1", format: "qcow2"},
		"base-sha256-ab.c1-r1.qcow2.ok":        {id: "sha256-ab", token: "c1-r1", format: "qcow2", role: "ok"},
		"base-sha256-ab.qcow2.ok":              {id: "sha256-ab", format: "qcow2", role: "ok"},
		"base-sha256-ab.c1-r1.qcow2.doomed-c2": {id: "sha256-ab", token: "c1-r1", format: "qcow2", role: "doomed", client: "c2"},
		"base-sha256-ab.qcow2.doomed":          {id: "sha256-ab", format: "qcow2", role: "doomed"},
		"base-sha256-ab.c1-r1.qcow2.sent":      {id: "sha256-ab", token: "c1-r1", format: "qcow2", role: "sent"},
		"base-sha256-ab.c1.lease":              {id: "sha256-ab", role: "lease", client: "c1"},
		"base-sha256-ab.lease":                 {id: "sha256-ab", role: "lease"},
	} {
		got, ok := parseBase(name)
		require.True(t, ok, name)
		assert.Equal(t, want, got, name)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{
		"", "base-", "base-.qcow2", "base-x", "base-x.iso", "base-x.a.b.qcow2", "base-x.qcow2.part", "base-x.ok", "base-x..qcow2",
		"base-x.qcow2.doomed-", "base-x.a.b.lease-", "base-x.lease.ok", "web.0a1b2c3d.root.qcow2", "base-x.qcow2.ok.ok", "mybase-x.qcow2",
	} {
		_, ok := parseBase(name)
		assert.False(t, ok, name)
	}
}

func FuzzParseBase(f *testing.F) {
	f.Add("base-sha256-ab.c1-r1.qcow2.doomed-c2")
	f.Add("base-x.lease")
	f.Fuzz(func(t *testing.T, name string) {
		if n, ok := parseBase(name); ok {
			assert.Equal(t, name, n.String(), "a name is read as it is written")
		}
	})
}

func FuzzDecodeArrived(f *testing.F) {
	f.Add(arrived{Size: 100, Sent: 8, Next: 16, Digest: "ab"}.encode(), int64(100))
	f.Add([]byte(`{"size":100,"sent":-1,"next":9223372036854775807}`), int64(100))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		if a, ok := decodeArrived(data, size); ok {
			assert.True(t, 0 < a.Sent && a.Sent <= a.Next && a.Next <= size)
			again, ok := decodeArrived(a.encode(), size)
			assert.True(t, !ok && len(a.encode()) > arrivedSize || again == a)
		}
	})
}

func FuzzDecodeOrigin(f *testing.F) {
	f.Add([]byte(`{"source":"images/x","rev":"abc","made":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o := DecodeOrigin(data)
		if o.Known() && o.Made.Year() < 9999 {
			assert.True(t, o.Made.Equal(DecodeOrigin(o.Encode()).Made))
		}
	})
}

// TestJudge holds what prune, down and up may take away to what is in the pool. The
// client is "me"; the pool is named by volumes with their age, "<" before a name makes a
// root disk that lies on it.
func TestJudge(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const young, long = time.Minute, 2 * time.Hour
	pool := func(ages map[string]time.Duration) []Volume {
		var all []Volume
		for name, age := range ages {
			v := Volume{Name: name, Path: "/pool/" + name, Modified: now.Add(-age)}
			if name[0] == '<' {
				v = Volume{Name: "web.root", Path: "/pool/web.root", Backing: "/pool/" + name[1:], Modified: now}
			}
			all = append(all, v)
		}
		return all
	}
	any := func(*baseCopy) bool { return true }
	none := func(*baseCopy) bool { return false }
	for name, tt := range map[string]struct {
		pool map[string]time.Duration
		c    clearing
		want []string
	}{
		"whole, nothing uses it":               {map[string]time.Duration{"base-x.u-1.raw": young, "base-x.u-1.raw.ok": young}, clearing{wants: any}, []string{"base-x.u-1.raw", "base-x.u-1.raw.ok"}},
		"whole, not wanted":                    {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long}, clearing{wants: none, strangers: true}, nil},
		"whole, in use":                        {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long, "<base-x.u-1.raw": 0}, clearing{wants: any, strangers: true}, nil},
		"whole, used by a domain":              {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long}, clearing{wants: any, users: map[string][]string{"/pool/base-x.u-1.raw": {"win"}}}, nil},
		"whole, another upload of it in use":   {map[string]time.Duration{"base-x.u-1.raw": young, "base-x.u-1.raw.ok": young, "base-x.v-1.raw": 0, "base-x.v-1.raw.ok": 0, "<base-x.v-1.raw": 0}, clearing{wants: any}, []string{"base-x.u-1.raw", "base-x.u-1.raw.ok"}},
		"whole, leased by another":             {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long, "base-x.u.lease": young}, clearing{wants: any, strangers: true}, nil},
		"whole, an old lease":                  {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long, "base-x.u.lease": long}, clearing{wants: any, strangers: true}, []string{"base-x.u-1.raw", "base-x.u-1.raw.ok", "base-x.u.lease"}},
		"whole, an old lease, not for down":    {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long, "base-x.u.lease": long}, clearing{wants: any}, nil},
		"my own lease was left":                {map[string]time.Duration{"base-x.me.lease": young}, clearing{wants: none}, []string{"base-x.me.lease"}},
		"my own lease is held":                 {map[string]time.Duration{"base-x.me.lease": young, "base-x.me-1.raw": young, "base-x.me-1.raw.ok": young}, clearing{wants: any, holding: true}, []string{"base-x.me-1.raw", "base-x.me-1.raw.ok"}},
		"my upload was cut short":              {map[string]time.Duration{"base-x.me-1.raw": young}, clearing{wants: none}, []string{"base-x.me-1.raw"}},
		"my upload, another is removing it":    {map[string]time.Duration{"base-x.me-1.raw": young, "base-x.me-1.raw.doomed-u": young}, clearing{wants: none}, nil},
		"another's upload goes on":             {map[string]time.Duration{"base-x.u-1.raw": young}, clearing{wants: any, strangers: true}, nil},
		"another's upload was cut short":       {map[string]time.Duration{"base-x.u-1.raw": long}, clearing{wants: none, strangers: true}, []string{"base-x.u-1.raw"}},
		"another's upload, not for down":       {map[string]time.Duration{"base-x.u-1.raw": long}, clearing{wants: any}, nil},
		"another's is old and at work again":   {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.sent": long, "base-x.u.lease": young}, clearing{wants: none, strangers: true}, nil},
		"another's note is young":              {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.sent": young}, clearing{wants: none, strangers: true}, nil},
		"my upload and its note":               {map[string]time.Duration{"base-x.me-1.raw": young, "base-x.me-1.raw.sent": young}, clearing{wants: none}, []string{"base-x.me-1.raw", "base-x.me-1.raw.sent"}},
		"my note was left on what is used":     {map[string]time.Duration{"base-x.me-1.raw": long, "base-x.me-1.raw.ok": long, "base-x.me-1.raw.sent": young, "<base-x.me-1.raw": 0}, clearing{wants: any}, []string{"base-x.me-1.raw.sent"}},
		"an older vmctl's upload goes on":      {map[string]time.Duration{"base-x.raw": young}, clearing{wants: any, strangers: true}, nil},
		"only my marker is left":               {map[string]time.Duration{"base-x.me-1.raw.ok": young}, clearing{wants: none}, []string{"base-x.me-1.raw.ok"}},
		"another's marker, young":              {map[string]time.Duration{"base-x.u-1.raw.ok": young}, clearing{wants: any, strangers: true}, nil},
		"another's marker, old":                {map[string]time.Duration{"base-x.u-1.raw.ok": long}, clearing{wants: any, strangers: true}, []string{"base-x.u-1.raw.ok"}},
		"my doom was left on what is used":     {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long, "base-x.u-1.raw.doomed-me": young, "<base-x.u-1.raw": 0}, clearing{wants: any}, []string{"base-x.u-1.raw.doomed-me"}},
		"another's old doom on what is used":   {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long, "base-x.u-1.raw.doomed-v": long, "<base-x.u-1.raw": 0}, clearing{wants: any, strangers: true}, []string{"base-x.u-1.raw.doomed-v"}},
		"another's young doom on what is used": {map[string]time.Duration{"base-x.u-1.raw": long, "base-x.u-1.raw.ok": long, "base-x.u-1.raw.doomed-v": young, "<base-x.u-1.raw": 0}, clearing{wants: any, strangers: true}, nil},
		"foreign files":                        {map[string]time.Duration{"base-x.iso": long, "other.qcow2": long, "base-y": long, "base-x.a.b.raw": long}, clearing{wants: any, strangers: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := &Engine{Token: Token{Client: "me", Run: "9"}}
			var got []string
			for _, v := range e.judge(pool(tt.pool), nil, tt.c, now).volumes() {
				got = append(got, v.Name)
			}
			assert.ElementsMatch(t, tt.want, got)
			tt.c.strangers = true
			for _, v := range e.judge(pool(tt.pool), []string{"another"}, tt.c, now).volumes() {
				assert.Fail(t, "another image's", v.Name)
			}
		})
	}
}

func TestUsableUploads(t *testing.T) {
	read := func(names ...string) *bases {
		var all []Volume
		for _, n := range names {
			all = append(all, Volume{Name: n})
		}
		return readBases(all)[0]
	}
	for name, tt := range map[string]struct {
		pool []string
		want string
	}{
		"none whole":        {[]string{"base-x.u-1.raw"}, ""},
		"a marker alone":    {[]string{"base-x.u-1.raw.ok"}, ""},
		"another's":         {[]string{"base-x.u-1.raw", "base-x.u-1.raw.ok"}, "base-x.u-1.raw"},
		"an older vmctl's":  {[]string{"base-x.raw", "base-x.raw.ok"}, "base-x.raw"},
		"mine first":        {[]string{"base-x.a-1.raw", "base-x.a-1.raw.ok", "base-x.me-1.raw", "base-x.me-1.raw.ok"}, "base-x.me-1.raw"},
		"doomed by another": {[]string{"base-x.a-1.raw", "base-x.a-1.raw.ok", "base-x.a-1.raw.doomed-u"}, ""},
		"doomed by me":      {[]string{"base-x.a-1.raw", "base-x.a-1.raw.ok", "base-x.a-1.raw.doomed-me"}, ""},
		"another format":    {[]string{"base-x.a-1.qcow2", "base-x.a-1.qcow2.ok"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(tt.pool...).usable("raw", "me")
			if tt.want == "" {
				assert.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			assert.Equal(t, tt.want, got.name.String())
		})
	}
}

//go:build acceptance

package cli

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
)

// wild is text that a host would like to see on the terminal of who looks.
const wild = "\u009b2J\x1b]0;title\x07\u202ewild\nvmctl: forged\r\nhint: forged | sh\x1b[2K$(id)"

// spoil makes every text in a value wild.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(wild)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		spoil(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String || v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			spoil(v.Index(0))
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				spoil(field)
			}
		}
	default: // numbers harm nobody
	}
}

// TestWhatAHostSaysDrivesNoTerminal: whatever a host has written into a machine's metadata and beside its
// images, it reaches no terminal as anything but text, and forges no line.
func TestWhatAHostSaysDrivesNoTerminal(t *testing.T) {
	forged := regexp.MustCompile(`(?m)^(vmctl|hint): forged`)
	for name, tame := range map[string]func(l *lab, r *engine.Record){
		"all of it":          func(*lab, *engine.Record) {},
		"of the project":     func(l *lab, r *engine.Record) { r.Project, r.Moving = l.dir, nil },
		"on its way":         func(l *lab, r *engine.Record) { r.Project = l.dir },
		"of a newer version": func(_ *lab, r *engine.Record) { r.Version = 99 },
		"with what it is for": func(l *lab, r *engine.Record) {
			*r = engine.Record{Project: l.dir, Source: wild, Network: wild, Settings: r.Settings}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			host := l.host.Connect()
			d, err := host.Domains.Domain(t.Context(), "example")
			require.NoError(t, err)
			version := d.Record.Version
			spoil(reflect.ValueOf(d.Record).Elem())
			d.Record.Version = version
			tame(l, d.Record)
			if d.Record.Version == 0 {
				d.Record.Version = version
			}
			live := *d.Record
			d.Live.Record = &live
			l.host.PlantDomain(*d)
			var origin engine.Origin
			spoil(reflect.ValueOf(&origin).Elem())
			marker, err := json.Marshal(origin)
			require.NoError(t, err)
			for _, volume := range l.host.VolumeNames() {
				if strings.HasSuffix(volume, ".ok") {
					require.NoError(t, host.Volumes.Upload(t.Context(), volume, bytes.NewReader(marker), int64(len(marker)), nil))
				}
			}
			seen := 0
			for _, args := range [][]string{
				{"list", "-a"}, {"list", "-o", "json"}, {"info", "example"}, {"info", "-o", "json", "example"}, {"plan", "example"}, {"plan", "-o", "json", "example"},
				{"image", "list"}, {"image", "list", "-o", "json"}, {"image", "inspect", "sha256-"}, {"image", "inspect", "-o", "json", "sha256-"}, {"image", "prune", "--dry-run"}, {"volume", "list"},
				{"outdated"}, {"outdated", "-o", "json"}, {"ip", "example"}, {"logs", "example"}, {"secret", "list", "example"}, {"forward", "example", "22"}, {"ssh-config"},
				{"ssh", "example", "true"}, {"exec", "example", "true"}, {"start", "example"}, {"up", "--no-wait", "example"}, {"up", "-o", "json", "--no-wait", "--restart", "example"}, {"down", "--yes", "example"},
			} {
				_, out, errs := l.run(args...)
				for _, text := range []string{out, errs} {
					at := strings.IndexFunc(text, func(r rune) bool {
						return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
					})
					assert.Negative(t, at, "vmctl %s: a terminal would obey %q", strings.Join(args, " "), text)
					assert.NotRegexp(t, forged, text, "vmctl %s", strings.Join(args, " "))
					if strings.Contains(text, "wild") {
						seen++
					}
				}
			}
			assert.Greater(t, seen, 3, "it shows, else this means nothing")
		})
	}
}

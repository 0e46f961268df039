package engine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/fault"
)

// pusher is a way that does what it is told, and ends with an error.
type pusher struct {
	host  *enginetest.Host
	begin bool
	write int64
	err   error
	asked int
	// open is how many were prepared and not given up.
	open int
}

func (p *pusher) Prepare(context.Context, string) engine.Pushing { p.open++; return p }

func (p *pusher) End() { p.open-- }

func (p *pusher) Push(ctx context.Context, push engine.Push) error {
	p.asked++
	if p.begin {
		if err := push.Begin(); err != nil {
			return err
		}
	}
	if p.write > 0 {
		if err := p.host.UploadRange(ctx, push.Volume, io.LimitReader(push.Image, p.write), 0, p.write, nil); err != nil {
			return err
		}
		push.Report(p.write)
	}
	return p.err
}

const pushedSize = 64 << 20

func pushable(t *testing.T) engine.Wanted {
	w := inFile(t)
	w.Image.Path, w.Image.FileSize = filepath.Join(t.TempDir(), "disk.qcow2"), pushedSize
	content := make([]byte, pushedSize)
	for i := 0; i < len(content); i += 5000 {
		content[i] = byte(i>>12) | 1
	}
	require.NoError(t, os.WriteFile(w.Image.Path, content, 0o600))
	return w
}

func TestTheWayOfAnImage(t *testing.T) {
	t.Parallel()
	other := errors.Join(engine.ErrOtherWay, errors.New("the host has no shell"))
	for name, tt := range map[string]struct {
		p    pusher
		size int64
		kind fault.Kind
		kept bool
	}{
		"by content":                     {p: pusher{begin: true, write: pushedSize}},
		"too small":                      {size: pushedSize - 1},
		"no way":                         {p: pusher{err: other}},
		"no way any more":                {p: pusher{begin: true, write: 9 << 20, err: other}},
		"cut":                            {p: pusher{begin: true, write: 9 << 20, err: fault.New(fault.Unreachable, "lost")}, kind: fault.Unreachable, kept: true},
		"interrupted":                    {p: pusher{begin: true, write: 9 << 20, err: fault.New(fault.Interrupted, "Ctrl-C")}, kind: fault.Interrupted, kept: true},
		"interrupted before it began":    {p: pusher{err: fault.New(fault.Interrupted, "Ctrl-C")}, kind: fault.Interrupted},
		"no room":                        {p: pusher{begin: true, write: 9 << 20, err: fault.New(fault.Refused, "full")}, kind: fault.Refused},
		"an image that cannot be read":   {p: pusher{begin: true, err: fault.New(fault.Build, "no")}, kind: fault.Build},
		"a connection that could not be": {p: pusher{err: fault.New(fault.Unreachable, "no")}, kind: fault.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			h, w := enginetest.NewHost(enginetest.Options{Remote: true}), pushable(t)
			if tt.size != 0 {
				w.Image.FileSize -= 1
			}
			e := client(h, "ann")
			tt.p.host = h
			e.Host.Pusher = &tt.p
			if tt.size == 0 && tt.p.write == pushedSize {
				h.Fail("Upload", 2, errors.New("nothing else is uploaded")) // than the push's own
			}
			plan, err := e.Plan(t.Context(), w, engine.Options{})
			require.NoError(t, err)
			assert.Equal(t, tt.size == 0, strings.Contains(plan.String(), "(./disk.qcow2, without what the host has of it)"), "%s", plan)
			_, err = e.Up(t.Context(), w, engine.Options{})
			assert.Zero(t, tt.p.open, "what was prepared is given up")
			if tt.kind != fault.Other {
				require.Equal(t, tt.kind, fault.KindOf(err), "%v", err)
				assert.Equal(t, tt.kept, len(h.VolumeNames()) > 0, "%v", h.VolumeNames())
				if !tt.kept {
					return
				}
				// The next run, which has no such way, does not build on it.
				e = client(h, "ann")
				_, err = e.Up(t.Context(), w, engine.Options{})
			}
			require.NoError(t, err)
			want, err := os.ReadFile(w.Image.Path)
			require.NoError(t, err)
			for _, name := range h.VolumeNames() {
				if strings.HasPrefix(name, "base-") && strings.HasSuffix(name, ".qcow2") {
					got, err := h.ReadRange(t.Context(), name, 0, pushedSize)
					require.NoError(t, err)
					assert.True(t, bytes.Equal(want[:w.Image.FileSize], got))
				}
			}
		})
	}
}

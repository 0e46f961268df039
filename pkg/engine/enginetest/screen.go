package enginetest

import (
	"context"
	"fmt"
	"io"
	"strings"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// firstPort is where the fake serves screens, as QEMU does.
const firstPort = 5900

// screened is a domain that has a screen.
func (h *Host) screened(name string) (*domain, error) {
	d, err := h.running(name)
	if err == nil && (d.live.graphics == "" || d.live.graphics == spec.GraphicsNone) {
		err = fault.New(fault.NotFound, "domain %s has no screen", name)
	}
	return d, err
}

// Screen implements engine.Screens.
func (h *Host) Screen(ctx context.Context, name string) (engine.Screen, error) {
	return read(ctx, h, "Screen", on(name), func() (engine.Screen, error) {
		d, err := h.screened(name)
		if err != nil {
			return engine.Screen{}, err
		}
		return engine.Screen{Kind: string(d.live.graphics), Address: "127.0.0.1", Port: firstPort}, nil
	})
}

// Screenshot implements engine.Screens. The guest's screen is two pixels, red and blue.
func (h *Host) Screenshot(ctx context.Context, name string) (string, io.ReadCloser, error) {
	picture, err := read(ctx, h, "Screenshot", on(name), func() (io.ReadCloser, error) {
		_, err := h.screened(name)
		return io.NopCloser(strings.NewReader(fmt.Sprintf("P6\n2 1\n255\n%s", "\xff\x00\x00\x00\x00\xff"))), err
	})
	if err != nil {
		return "", nil, err
	}
	return "image/x-portable-pixmap", picture, nil
}

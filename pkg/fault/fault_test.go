package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"

	"vmctl/pkg/fault"
)

type kinded struct{ error }

func (kinded) FaultKind() fault.Kind { return fault.Invalid }

func TestKindOf(t *testing.T) {
	busy := fault.New(fault.Refused, "port 22 is taken")
	for name, tc := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"nil":                  {nil, fault.Other},
		"foreign":              {io.EOF, fault.Other},
		"plain":                {busy, fault.Refused},
		"wrapped":              {fmt.Errorf("start: %w", busy), fault.Refused},
		"outermost decides":    {fault.New(fault.Timeout, "waiting: %w", busy), fault.Timeout},
		"joined, first kind":   {errors.Join(io.EOF, busy, fault.New(fault.Build, "x")), fault.Refused},
		"joined and wrapped":   {fmt.Errorf("up: %w", errors.Join(busy)), fault.Refused},
		"a type of its own":    {kinded{io.EOF}, fault.Invalid},
		"wrapped own type":     {fmt.Errorf("x: %w", kinded{io.EOF}), fault.Invalid},
		"joined without kinds": {errors.Join(io.EOF, io.ErrClosedPipe), fault.Other},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, fault.KindOf(tc.err)) })
	}
	assert.False(t, fault.Is(nil, fault.Other), "no error is of no kind")
	assert.True(t, fault.Is(busy, fault.Refused))
}

func TestTheCauseIsSeenThrough(t *testing.T) {
	err := fault.New(fault.Build, "cannot read the image: %w", io.ErrUnexpectedEOF)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.EqualError(t, err, "cannot read the image: unexpected EOF")
}

func TestHintOf(t *testing.T) {
	inner := fault.New(fault.Refused, "busy").WithHint("vmctl %s", "stop")
	assert.Equal(t, "vmctl stop", fault.HintOf(inner))
	assert.Equal(t, "vmctl stop", fault.HintOf(fault.New(fault.Other, "no hint here: %w", inner)))
	assert.Equal(t, "vmctl stop", fault.HintOf(errors.Join(io.EOF, inner)))
	assert.Empty(t, fault.HintOf(io.EOF))
	assert.Empty(t, fault.HintOf(nil))
}

package cli

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func TestBrief(t *testing.T) {
	t.Parallel()
	_, b := spec.Parse("b", "b.yaml", []byte("cpus: 0\n"))
	_, a := spec.Parse("a", "a.yaml", []byte("cpus: 0\ncpus: 0\n"))
	joined, other := spec.Join(b, nil, a), errors.New("other")
	require.NoError(t, brief(nil))
	assert.Equal(t, b, brief(b), "one problem is short")
	mixed := brief(spec.Join(joined, other))
	require.ErrorIs(t, mixed, other)
	assert.Equal(t, fault.Invalid, fault.KindOf(mixed))
	assert.EqualError(t, brief(joined), "a.yaml has 2 errors, b.yaml has 1 error")
	assert.Equal(t, "vmctl validate shows them", fault.HintOf(brief(joined)))
}

package libvirt_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/testenv"
)

func TestCallsProbe(t *testing.T) {
	testenv.Host(t)
	link := testenv.RPC(t, 0)
	h, c, err := libvirt.Open(t.Context(), link.URI())
	require.NoError(t, err)
	t.Log("open", link.Procedures())
	link.Reset()
	_, err = h.Domains.ListDomains(t.Context(), 0)
	require.NoError(t, err)
	t.Log("list", link.Procedures())
	link.Reset()
	_, err = h.Inspector.Capabilities(t.Context())
	t.Log("caps", link.Procedures())
	link.Reset()
	_, err = h.Pools.Pool(t.Context())
	t.Log("pool", link.Procedures())
	link.Reset()
	_, err = h.Networks.Network(t.Context(), "default")
	t.Log("network", link.Procedures())
	link.Reset()
	require.NoError(t, c.Close())
	t.Log("close", link.Procedures())
}

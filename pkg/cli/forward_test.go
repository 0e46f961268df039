package cli

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRefusedPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	for address, want := range map[string]string{
		taken.Addr().String(): "something else listens there",
		"192.0.2.1:0":         "the address is none of this machine's", // for documentation
	} {
		_, err := net.Listen("tcp", address)
		require.Error(t, err, address)
		assert.Equal(t, want, refusedPort(err))
	}
}

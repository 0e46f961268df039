package testenv_test

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// TestLink sends lines through a link to a server that sends them back.
func TestLink(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = bufio.NewReader(c).WriteTo(c) }()
		}
	}()
	link := testenv.TCP(t, server.Addr().String(), testenv.Shape{Delay: time.Millisecond})
	client, err := net.Dial("tcp", link.Address)
	require.NoError(t, err)
	back := bufio.NewReader(client)
	send := func() {
		_, err := client.Write([]byte("hello, hello, hello, hello\n"))
		require.NoError(t, err)
	}
	heard := func() {
		line, err := back.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "hello, hello, hello, hello\n", line)
	}
	send()
	heard()
	assert.EqualValues(t, 27, link.Up.Load())
	assert.EqualValues(t, 27, link.Down.Load())
	assert.Equal(t, 1, link.Connections())
	assert.Zero(t, link.Calls(), "it is not libvirt's protocol")

	stalled := make(chan struct{})
	link.After(1, func() { link.Stall(); close(stalled) })
	send()
	<-stalled
	assert.EqualValues(t, 27, link.Down.Load(), "nothing comes back")
	link.Mend()
	heard()

	link.After(1, link.Drop)
	send()
	_, err = back.ReadString('\n')
	require.ErrorContains(t, err, "reset")
}

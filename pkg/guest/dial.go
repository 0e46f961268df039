package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"vmctl/pkg/spec"
	"vmctl/pkg/ssh"
)

const (
	// tryAgain is how long to wait between attempts to connect: nothing tells of a port
	// that begins to listen.
	tryAgain = 500 * time.Millisecond
	// connectTime bounds one attempt, and what a server takes to say something.
	connectTime = 3 * time.Second
	// quiet is how long a connection has to stand to count as taken: user networking
	// accepts it before the guest is asked, and breaks it off when the guest refuses.
	quiet = time.Second
)

// answer is what came of attempts to connect: how the guest answered, or what the trouble is.
type answer struct{ how, trouble string }

// dial tries a port of the guest until it answers, if that is the sign to wait for.
func (w *watcher) dial(ctx context.Context) <-chan answer {
	kind, port := w.o.Ready.Kind, w.o.Ready.Port
	if kind != spec.ReadySSH && kind != spec.ReadyPort || w.o.Targets == nil {
		return nil
	}
	probe, how := probePort, ByPort
	if kind == spec.ReadySSH {
		probe, how = probeSSH, BySSH
	}
	answers := make(chan answer)
	go func() {
		for ctx.Err() == nil {
			a := answer{trouble: fmt.Sprintf("no address is known at which its port %d could be reached from here", port)}
			for _, target := range w.o.Targets(ctx, port) {
				trouble := probe(ctx, w.o.Jump, target)
				if trouble == "" {
					a = answer{how: how}
					break
				}
				a.trouble = trouble
			}
			select {
			case answers <- a:
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(tryAgain):
			case <-ctx.Done():
			}
		}
	}()
	return answers
}

// connect gives a connection that ends with ctx, or says what the trouble is. Behind a
// jump host it shows when something is read.
func connect(ctx context.Context, jump *ssh.Host, target string) (net.Conn, string) {
	if jump != nil {
		return jump.Dial(ctx, target), ""
	}
	conn, err := (&net.Dialer{Timeout: connectTime}).DialContext(ctx, "tcp", target)
	switch {
	case err == nil:
		return conn, ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, target + " refuses connections"
	default:
		return nil, target + " does not answer"
	}
}

// probeSSH waits for a server's greeting (RFC 4253, 4.2).
func probeSSH(ctx context.Context, jump *ssh.Host, target string) string {
	conn, trouble := connect(ctx, jump, target)
	if conn == nil {
		return trouble
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(connectTime))
	greeting := make([]byte, 4)
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return "no ssh server answers at " + target
	}
	if !bytes.Equal(greeting, []byte("SSH-")) {
		return "what answers at " + target + " is no ssh server"
	}
	return ""
}

// probePort looks whether somebody took the connection: a server that speaks first shows
// it at once, another one when it is told that nothing more comes.
func probePort(ctx context.Context, jump *ssh.Host, target string) string {
	conn, trouble := connect(ctx, jump, target)
	if conn == nil {
		return trouble
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	one := make([]byte, 1)
	patience := quiet
	if jump != nil {
		patience = connectTime // ssh itself takes its time
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, err := conn.Read(one)
	if n > 0 {
		return ""
	}
	timeout := func(err error) bool {
		var late net.Error
		return errors.As(err, &late) && late.Timeout()
	}
	if !timeout(err) {
		return "nothing listens behind " + target
	}
	if jump != nil {
		return "" // ssh cannot say that nothing more comes, and has not said that it was refused
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = conn.SetReadDeadline(time.Now().Add(connectTime))
	if n, err = conn.Read(one); n > 0 || errors.Is(err, io.EOF) {
		return ""
	}
	return "nothing answers at " + target
}

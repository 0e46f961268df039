// Command vmctl takes a NixOS flake, or any disk image, to a running virtual machine
// on a libvirt host.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"vmctl/pkg/cli"
)

// version is set when a release is built.
var version = "dev"

// errSignal is why the context ends.
var errSignal = errors.New("interrupted by a signal")

func main() {
	collectLater()
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	deps := cli.System(version)
	go func() {
		obey(signals, func() { cancel(errSignal) })
		os.Exit(cli.Abandon(deps)) // the person has waited long enough for things to be taken back
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], deps))
}

// sameSignal is how long a signal is taken for the one before. timeout(1) sends its own twice, to the
// program and to its group, and whoever hands on the Ctrl-C of a terminal does so with one that all have got.
const sameSignal = 250 * time.Millisecond

// obey cancels at the first signal, and returns at the second.
func obey(signals <-chan os.Signal, cancel func()) {
	<-signals
	first := time.Now()
	cancel()
	for time.Since(first) < sameSignal {
		<-signals
	}
}

// collectLater lets the first garbage collection come at 16 MiB and not at 4, which most commands
// never reach: one took a sixth of a list of a thousand domains. The next ones come as ever.
func collectLater() {
	if os.Getenv("GOGC") != "" {
		return
	}
	normal := debug.SetGCPercent(400)
	runtime.AddCleanup(&struct{ _ *int }{}, func(percent int) { debug.SetGCPercent(percent) }, normal)
}

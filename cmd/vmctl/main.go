// Command vmctl takes a NixOS flake, or any disk image, to a running virtual machine
// on a libvirt host.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"vmctl/pkg/cli"
)

// version is set when a release is built.
var version = "dev"

// errSignal is why the context ends.
var errSignal = errors.New("interrupted by a signal")

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel(errSignal)
		<-signals
		os.Exit(130) // the person has waited long enough for things to be taken back
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.System(version)))
}

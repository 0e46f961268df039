package cli

import (
	"context"
	_ "embed"

	"vmctl/pkg/ssh"
)

// certificates ends well where QEMU has certificates for live moves.
//
//go:embed certified.sh
var certificates string

// certified looks for QEMU's certificates: on a host by ssh, without one here.
func certified(ctx context.Context, host *ssh.Host) bool {
	run := ssh.RunHere
	if host != nil {
		run = host.Run
	}
	_, err := run(ctx, certificates)
	return err == nil
}

package cli

import (
	"context"
	_ "embed"

	"vmctl/pkg/proc"
	"vmctl/pkg/ssh"
)

// certificates ends well where QEMU has certificates for live moves.
//
//go:embed certified.sh
var certificates string

// certified looks for QEMU's certificates: on a host by ssh, without one here.
func certified(ctx context.Context, host *ssh.Host) bool {
	var err error
	if host != nil {
		_, err = host.Run(ctx, certificates)
	} else {
		_, err = proc.Run(ctx, proc.Cmd{Path: "sh", Args: []string{"-c", certificates}})
	}
	return err == nil
}

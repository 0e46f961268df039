package libvirt_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt"
	"vmctl/pkg/testenv"
)

// Why a host is not reached stands in one sentence, with what to do about it. Each case is
// brought about for real.
func TestWhyAHostIsNotReached(t *testing.T) {
	server := testenv.SSH(t)
	why := func(uri, sentence, hint string) {
		t.Helper()
		_, _, err := libvirt.Open(t.Context(), uri)
		require.Error(t, err)
		assert.Equal(t, fault.Unreachable, fault.KindOf(err))
		assert.Equal(t, "cannot connect to "+uri+": "+sentence, err.Error())
		assert.Contains(t, fault.HintOf(err), hint)
		assert.NotContains(t, err.Error(), "\n")
	}
	why("qemu+ssh://root@no-such-host.invalid/system", "the name of the host cannot be resolved", "getent hosts")
	why("qemu+tcp://no-such-host.invalid/system", "the name of the host cannot be resolved", "getent hosts")
	why("qemu+ssh://root@127.0.0.1:1/system", "the host refuses the connection (nothing listens on that port)", "daemon runs")
	why("qemu+tcp://127.0.0.1:1/system", "the host refuses the connection (nothing listens on that port)", "daemon runs")
	why(server.URI(), "the host's ssh key is unknown or has changed", "ssh-keygen -R")
	server.Trust(t)
	other := *server
	other.HostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8CRwsTRykVGM4NfA8dipjzKmZ9651GVBAHsjJEJ0rC"
	other.Trust(t)
	why(server.URI(), "the host's ssh key is unknown or has changed", "ssh-keygen -R")
	server.Trust(t)

	strict := testenv.SSH(t, "AllowUsers nobody")
	strict.Trust(t)
	why(strict.URI(), "ssh was not let in", "ssh-copy-id")

	server.Trust(t)
	why(fmt.Sprintf("qemu+ssh://tester@127.0.0.1:%d/system", server.Port), "this user may not use /var/run/libvirt/libvirt-sock", "group libvirt")

	bare := testenv.SSH(t, "SetEnv PATH="+testenv.Programs(t, "sh", "which"))
	bare.Trust(t)
	why(bare.URI(), "the host has neither virt-ssh-helper nor netcat", "netcat-openbsd")

	// A host without libvirtd: its helper sees an empty /run/libvirt.
	without := testenv.Programs(t, "sh", "which", "mount", "unshare")
	helper, err := exec.LookPath("virt-ssh-helper")
	require.NoError(t, err)
	script := "#!/bin/sh\nexec unshare -m -- sh -c 'mount -t tmpfs none /run/libvirt && exec " + helper + " \"$@\"' sh \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(without, "virt-ssh-helper"), []byte(script), 0o755))
	down := testenv.SSH(t, "SetEnv PATH="+without)
	down.Trust(t)
	why(down.URI(), "libvirt is not running there (nothing listens on /var/run/libvirt/libvirt-sock)", "systemctl start libvirtd")

	// One that only lets a program of its own run, as backup servers do.
	forced := testenv.SSH(t, "ForceCommand echo this account is not available")
	forced.Trust(t)
	why(forced.URI(), "what answers there is not libvirt", "ssh to the host by hand")
}

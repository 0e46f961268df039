package screen

import (
	"context"
	"net"
	"net/url"
	"os/exec"
	"strconv"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
)

// URL is the screen's address as viewers take it, such as vnc://127.0.0.1:5900.
func URL(s engine.Screen) string {
	return s.Kind + "://" + net.JoinHostPort(s.Address, strconv.Itoa(int(s.Port)))
}

// Tunnel is the command that makes a screen of a host that is reached by ssh appear on
// this machine, under the same port; empty for other hosts.
func Tunnel(hostURI string, s engine.Screen) string {
	u, err := url.Parse(hostURI)
	if err != nil || u.Scheme != "qemu+ssh" && u.Scheme != "qemu+libssh" && u.Scheme != "qemu+libssh2" {
		return ""
	}
	port := strconv.Itoa(int(s.Port))
	command := "ssh -N -L " + port + ":" + net.JoinHostPort(s.Address, port)
	if p := u.Port(); p != "" {
		command += " -p " + p
	}
	if user := u.User.Username(); user != "" {
		return command + " " + user + "@" + u.Hostname()
	}
	return command + " " + u.Hostname()
}

// Viewer is the command line of a program that shows the screen, or nothing when there
// is no display or no such program. virt-viewer makes its own way to a remote host;
// remote-viewer reaches screens of this machine only.
func Viewer(host *engine.Host, domain string, s engine.Screen, getenv func(string) string) []string {
	if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
		return nil
	}
	if path, err := exec.LookPath("virt-viewer"); err == nil {
		return []string{path, "--connect", host.URI, domain}
	}
	if path, err := exec.LookPath("remote-viewer"); err == nil && host.Local {
		return []string{path, URL(s)}
	}
	return nil
}

// Show runs a viewer until it is closed.
func Show(ctx context.Context, argv []string) error {
	_, err := proc.Run(ctx, proc.Cmd{Path: argv[0], Args: argv[1:]})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.New(fault.Interrupted, "interrupted; the viewer has been closed")
	}
	return fault.New(fault.Other, "the viewer ended with an error: %w", err).
		WithHint("vmctl view --address prints where the screen is served, for other viewers")
}

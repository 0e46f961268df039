package libvirt

import "vmctl/pkg/fault"

// noHost are the ways in which a connection does not come about.
var noHost = []rule{
	{
		`libvirt(?:-admin|-qemu)?\.so|Failed to open libvirt`,
		fault.Unreachable, "the libvirt library is not installed on this machine",
		"install libvirt (Debian and Ubuntu: apt install libvirt-daemon-system; NixOS: virtualisation.libvirtd.enable = true)",
	},
	{
		`Failed to connect socket to '([^']+)': (?:No such file or directory|Connection refused)`,
		fault.Unreachable, "libvirt is not running there (nothing listens on $1)",
		"systemctl start libvirtd; without systemd: virtlogd -d && libvirtd -d",
	},
	{
		`Failed to connect socket to '([^']+)': Permission denied`,
		fault.Unreachable, "this user may not use $1",
		"add yourself to the group libvirt (sudo usermod -aG libvirt $USER, then log in again), or use -c qemu:///session",
	},
	{
		`(?i)system bus connection|polkit|authentication unavailable|access denied by policy`,
		fault.Unreachable, "the host wants polkit to authorise this user, and that failed",
		"add yourself to the group libvirt (sudo usermod -aG libvirt $USER, then log in again), or use -c qemu:///session",
	},
	{
		`(?i)Could not resolve hostname ([^ :]+)|unable to resolve address '?([^' ]+)'?`,
		fault.Unreachable, "the name of the host cannot be resolved", "check its spelling; getent hosts NAME must find it",
	},
	{
		`(?i)Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* (?:changed|unknown)|HOST KEY`,
		fault.Unreachable, "the host's ssh key is unknown or has changed",
		"ssh to it once by hand and check the key; ssh-keygen -R HOST forgets an old one",
	},
	{
		`Cannot read (?:CA )?(?:certificate|certificate list|private key|key)[^']*'([^']+)': No such file`,
		fault.Unreachable, "TLS needs $1, which is not on this machine",
		"libvirt looks in /etc/pki/CA and /etc/pki/libvirt, or where pkipath= of the URI says (cacert.pem, clientcert.pem, clientkey.pem)",
	},
	{
		`Our own certificate (\S+) failed validation against ([^:]+):`,
		fault.Unreachable, "this machine's TLS certificate $1 is not one of the authority in $2", "both must come from the same authority as the host's",
	},
	{
		`Failed to verify peer's certificate`,
		fault.Unreachable, "the host's TLS certificate is of another authority, or of another name",
		"name the host in the URI as its certificate does; the authority's certificate is cacert.pem of pkipath=, else /etc/pki/CA/cacert.pem",
	},
	{
		`TLS handshake failed`,
		fault.Unreachable, "the host and this machine cannot agree on TLS",
		"check that libvirt's TLS port is meant (16514); the host's log says whether it refused this machine's certificate",
	},
	{
		`(?i)Permission denied \((?:publickey|password|keyboard)[^)]*\)|authentication failed|no authentication methods`,
		fault.Unreachable, "ssh was not let in",
		"ssh to it must work without a password first: ssh-copy-id USER@HOST",
	},
	{
		`(?i)virt-ssh-helper: (?:command )?not found|nc: (?:command )?not found|netcat: (?:command )?not found|'nc' .*not found`,
		fault.Unreachable, "the host has neither virt-ssh-helper nor netcat",
		"install libvirt's daemon or netcat-openbsd on the host",
	},
	{
		`(?i)Connection refused`,
		fault.Unreachable, "the host refuses the connection (nothing listens on that port)", "check that its ssh or libvirt daemon runs",
	},
	{
		`(?i)timed out|No route to host|Network is unreachable`,
		fault.Unreachable, "the host does not answer", "check that it is up and that no firewall is between",
	},
	{
		`^(?:Cannot recv data: )?Connection reset by peer$|^(?:End of file while reading data: )?Input/output error$|^End of file$|Broken pipe|client socket is closed`,
		fault.Unreachable, "it hung up at once",
		"libvirt there may be starting or stopping: run the same command again; if that does not help, its log (journalctl -t libvirtd) says why",
	},
	{
		`packet \d+ bytes received from server|unknown program|(?i)bad protocol`,
		fault.Unreachable, "what answers there is not libvirt",
		"look at the port; over ssh, a program that the account is bound to runs instead: ssh to the host by hand shows it",
	},
	{
		`(?i)Cannot recv data: (.+?)(?:: Connection reset by peer)?$|End of file while reading data: (.+?)(?:: Input/output error)?$`,
		fault.Unreachable, "$1$2", "ssh to the host by hand shows what is wrong",
	},
	{
		`no connection driver available`,
		fault.Unreachable, "it is no URI, and neither vmctl nor libvirt knows a host of that name",
		"write it as qemu:///system or qemu+ssh://user@host/system; vmctl host list shows the hosts that have names",
	},
	{
		`(?i)XDG_RUNTIME_DIR|Cannot create user runtime directory '([^']+)'`,
		fault.Unreachable, "there is no runtime directory for this user",
		"log in properly (not by su), or make one: export XDG_RUNTIME_DIR=$(mktemp -d)",
	},
}

// unreachable makes a sentence of an error of connecting.
func unreachable(uri string, err error) error {
	message := text(err)
	for _, r := range noHost {
		if m := r.match(message); m != nil {
			return because(fault.Unreachable, "cannot connect to "+named(uri)+": "+expand(r.why, m), err).
				WithHint("%s", expand(r.hint, m))
		}
	}
	return because(fault.Unreachable, "cannot connect to "+named(uri)+": "+tidy(message), err).
		WithHint("vmctl doctor checks the connection step by step")
}

package libvirt

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// rule recognises what libvirt, QEMU or the kernel said and puts it plainly. Where
// why or hint contain $1, the match's first group stands for it.
type rule struct {
	pattern   string
	kind      fault.Kind
	why, hint string
}

// match compiles only now: every start of the program would pay for all patterns, and few
// runs meet an error.
func (r rule) match(message string) []string {
	return regexp.MustCompile(r.pattern).FindStringSubmatch(message)
}

// hostForward is QEMU's complaint about a port that something else listens on.
const hostForward = `Could not set up host forwarding rule '(?:tcp|udp):([^']*?)-:`

// attachedAlready is why a console or a channel cannot be opened.
const attachedAlready = "somebody else is attached to it"

// rules are tried in order, on errors of calls.
var rules = []rule{
	{
		`no storage vol with matching name '([^']*)'`,
		fault.NotFound, "there is no volume $1", "",
	},
	{
		`no (domain|network|storage pool) with matching name '([^']*)'`,
		fault.NotFound, "there is no $1 $2", "",
	},
	{
		`Could not set up host forwarding rule '(?:tcp|udp):([^']*?:(?:\d{1,3}|10[01]\d|102[0-3]))-:`,
		fault.Refused, "port $1 of the host is already in use, or is closed to QEMU's user, as ports below 1024 are",
		"write a port from 1024 on, or auto, for the host's port in the definition",
	},
	{
		hostForward,
		fault.Refused, "port $1 of the host is already in use",
		"stop what listens there (ss -ltnp shows it), or write auto for the host's port in the definition",
	},
	{
		`Failed to get (?:shared )?"(?:write|consistent read)" lock`,
		fault.Refused, "another process has its disk image open",
		"stop the other machine or qemu-img that uses it: a disk can have only one writer",
	},
	{
		`Cannot access (?:storage file|backing file) '([^']+)'[^:]*\(as uid:(\d+)[^)]*\): Permission denied`,
		fault.Refused, "QEMU (user id $2) may not read $1",
		"put the image where that user can reach it (every directory above it needs x), or use qemu:///session",
	},
	{
		`Could not open '([^']+)': Permission denied`,
		fault.Refused, "QEMU may not read $1",
		"put the image where QEMU's user can reach it (every directory above it needs x), or use qemu:///session",
	},
	{
		`Cannot access (?:storage file|backing file) '([^']+)'.*: No such file or directory|Could not open '([^']+)': No such file or directory`,
		fault.NotFound, "its disk $1$2 is not on the host", "vmctl plan shows what up would do about it; a disk of the host's own is named in volumes of the definition",
	},
	{
		`cannot set up guest memory.*Cannot allocate memory`,
		fault.Refused, "the host has not that much memory free", "lower memory in the definition, or stop another machine",
	},
	{
		`unable to map backing store for guest RAM: Cannot allocate memory`,
		fault.Refused, "too few of the host's huge pages are free", "set more aside on the host (sysctl vm.nr_hugepages), write hugepages: false, or stop another machine",
	},
	{
		`No emulator found for arch '([^']+)'`,
		fault.Refused, "the host has no QEMU for $1 guests", "install it on the host (Debian and Ubuntu: apt install qemu-system)",
	},
	{
		`(?:process exited while connecting to monitor|(?i:QEMU) unexpectedly closed the monitor)[:\s]*$`,
		fault.Other, "QEMU ended at once, and said nothing",
		"its log on the host may say more: /var/log/libvirt/qemu, or ~/.cache/libvirt/qemu/log of a session; whether it runs at all: vmctl doctor",
	},
	{
		`Unable to access credentials ([^:]+): `,
		fault.Refused, "QEMU on one of the hosts has no certificates to encrypt it with ($1)",
		"put ca-cert.pem, and server-cert.pem, server-key.pem, client-cert.pem and client-key.pem of each host, into that directory on both; --no-tls goes without",
	},
	{
		`[Cc]ertificate does not match the hostname (\S+)`,
		fault.Refused, "the certificate there is not for $1", "name the address that the certificate is for: --address ADDRESS; --no-tls goes without",
	},
	{
		`No space left on device|Disk quota exceeded`,
		fault.Refused, "there is no space left on the host's disk",
		"vmctl doctor shows the free space; vmctl down removes a machine that is not needed, with its disk",
	},
	{
		`(?i)Could not access KVM kernel module|failed to initialize kvm|KVM is not available|invalid accelerator kvm|domain type 'kvm'|Emulator .* does not support virt type 'kvm'|does not support virttype=kvm`,
		fault.Refused, "KVM does not work on the host",
		"write accel: tcg in the definition for software emulation; vmctl doctor says what is wrong with KVM",
	},
	{
		`Failed to connect socket to '([^']*virtlogd[^']*)'`,
		fault.Unreachable, "virtlogd, which writes the console's log, is not running",
		"systemctl start virtlogd.socket, or without systemd: virtlogd -d",
	},
	{
		`(?i)network backend 'user' is not compiled|Parameter 'type' expects a netdev backend type`,
		fault.Refused, "QEMU on the host was built without user-mode networking",
		"use a libvirt network: set network: default and leave out ports",
	},
	{
		`(?:domain|network|storage pool|pool) '?([^' ]+)'? already exists with uuid|operation failed: domain '([^']+)' already exists`,
		fault.Refused, "one of the same name exists already", "",
	},
	{
		`domain '?([^' ]+)'? is already defined with uuid`,
		fault.Refused, "its UUID belongs to domain $1 already", "",
	},
	{
		`storage vol(?:ume)? (?:name )?(?:'[^']*' )?(?:already exists|exists already|already in use)`,
		fault.Refused, "one of the same name exists already", "",
	},
	{
		`(?i)is already running|Domain is already active|domain is already active`,
		fault.Refused, "it is running already", "",
	},
	{
		`(?i)domain is not running|domain '?[^' ]*'? is not (?:running|active)`,
		fault.Refused, "it is not running", "",
	},
	{
		`(?i)domain '?[^' ]*'? (?:is )?not paused`,
		fault.Refused, "it is not paused", "",
	},
	{
		`(?i)can't shrink capacity|shrink`,
		fault.Refused, "it would become smaller, and what is at its end would be lost", "",
	},
	{
		`cannot set memory higher than max memory`,
		fault.Refused, "it was started with less memory and cannot have more without a restart", "vmctl up --restart",
	},
	{
		`Active channel stream exists`,
		fault.Refused, attachedAlready, "",
	},
	{
		`Active console session exists|another console session|console .* is already in use`,
		fault.Refused, attachedAlready, "",
	},
	{
		// A libvirtd that was killed leaves it, and another user's cannot remove it.
		`Couldn't create lock file for device '[^']*' in path '([^']+)': File exists`,
		fault.Refused, "the lock $1 stands in the way: another libvirt holds the console, or was killed while it did",
		"if nobody is attached: sudo rm $1",
	},
	{
		`(?i)guest agent is not (?:connected|available|configured)|guest agent is not responding|Guest agent not available`,
		fault.Refused, "the guest agent does not answer", "",
	},
	{
		`no screens to take screenshot from`,
		fault.NotFound, "it has no screen", "write graphics: vnc in the definition, then vmctl up --restart",
	},
	{
		`couldn't locate a matching dhcp host entry in network '([^']+)'`,
		fault.NotFound, "network $1 does not keep it", "",
	},
	{
		`there is an existing dhcp host entry in network '([^']+)'`,
		fault.Refused, "network $1 keeps it, or an address for the same card, already", "virsh net-dumpxml $1 shows what is kept",
	},
	{
		`(?i)virtiofs is not (?:yet )?supported in session mode`,
		fault.Refused, "libvirt there has no virtiofs in session mode", "use qemu:///system",
	},
	{
		`network '([^']+)' is not active`,
		fault.Refused, "network $1 is not active", "virsh net-start $1",
	},
	{
		`No more available PCI (?:slots|addresses)`,
		fault.Refused, "the running guest has no room for another device", "restart it: vmctl restart",
	},
	{
		`(?i)no secret with matching uuid|secret .* does not have a value|no secret value|Secret not found`,
		fault.NotFound, "the key of an encrypted volume is not on the host",
		"restore it: virsh secret-define and secret-set-value; without it nobody can read the volume",
	},
	{
		`(?i)timed out during operation: cannot acquire state change lock`,
		fault.Refused, "another operation on it is still running", "wait for it, then run the same command again",
	},
	{
		`(?i)Unable to find any firmware to satisfy 'efi'`,
		fault.Refused, "the host has no fitting UEFI firmware",
		"install it on the host (Debian and Ubuntu: apt install ovmf), or write firmware: bios",
	},
	{
		`requested vcpus is greater than max allowable|failed to find appropriate hotpluggable vcpus|vcpu unplug|hot(?:un)?plug of vcpus`,
		fault.Refused, "the running guest cannot take this number of CPUs", "restart it: vmctl up --restart",
	},
}

var group = regexp.MustCompile(`\$(\d)`)

// expand puts the match's groups into a template.
func expand(template string, match []string) string {
	return group.ReplaceAllStringFunc(template, func(g string) string {
		n, err := strconv.Atoi(g[1:])
		if err != nil || n >= len(match) {
			return ""
		}
		return printable(match[n])
	})
}

// portTaken makes an error about a taken port one that callers can tell; others stay.
func portTaken(message string, err error) error {
	m := rule{pattern: hostForward}.match(message)
	if m == nil {
		return err
	}
	at := strings.LastIndexByte(m[1], ':')
	n, _ := strconv.ParseUint(m[1][at+1:], 10, 16)
	return errors.Join(&engine.PortTakenError{Port: uint16(n)}, err)
}

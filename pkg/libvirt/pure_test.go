package libvirt

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// Messages as libvirt 9.0, QEMU 7.2 and ssh gave them, or as their sources have them.
func TestCallErrors(t *testing.T) {
	c := &conn{uri: "qemu:///system"}
	for _, row := range []struct {
		number  golibvirt.ErrorNumber
		message string
		kind    fault.Kind
		want    string
		hint    string
	}{
		{
			golibvirt.ERR_NO_DOMAIN, "Domain not found: no domain with matching name 'x'",
			fault.NotFound, "there is no domain x", "",
		},
		{
			golibvirt.ERR_NO_STORAGE_VOL, "Storage volume not found: no storage vol with matching name 'x.qcow2'",
			fault.NotFound, "there is no volume x.qcow2", "",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: 2026-01-01T00:00:00Z qemu-system-x86_64: -netdev user,id=vmctl0,hostfwd=tcp:127.0.0.1:2222-:22: Could not set up host forwarding rule 'tcp:127.0.0.1:2222-:22'",
			fault.Refused, "port 127.0.0.1:2222 of the host is already in use", "write auto for the host's port",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: 2026-01-01T00:00:00Z qemu-system-x86_64: -netdev user,id=vmctl0,hostfwd=tcp:127.0.0.1:80-:80: Could not set up host forwarding rule 'tcp:127.0.0.1:80-:80'",
			fault.Refused, "port 127.0.0.1:80 of the host is already in use, or is closed to QEMU's user, as ports below 1024 are", "from 1024 on",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: 2026-01-01T00:00:00Z qemu-system-x86_64: -blockdev {\"node-name\":\"x\"}: Failed to get \"write\" lock\nIs another process using the image [/x/root.qcow2]?",
			fault.Refused, "another process has its disk image open", "only one writer",
		},
		{
			golibvirt.ERR_SYSTEM_ERROR, "Cannot access storage file '/root/x.qcow2' (as uid:64055, gid:64055): Permission denied",
			fault.Refused, "QEMU (user id 64055) may not read /root/x.qcow2", "needs x",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: qemu-system-x86_64: -blockdev {}: Could not open '/root/x.qcow2': Permission denied",
			fault.Refused, "QEMU may not read /root/x.qcow2", "needs x",
		},
		{
			golibvirt.ERR_SYSTEM_ERROR, "Cannot access backing file '/nix/store/x/nixos.qcow2' of storage file '/pool/x.qcow2' (as uid:64055, gid:64055): No such file or directory",
			fault.NotFound, "its disk /nix/store/x/nixos.qcow2 is not on the host", "vmctl plan",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: 2026-01-01T00:00:00Z qemu-system-x86_64: -blockdev {\"driver\":\"file\"}: Could not open '/nowhere/x': No such file or directory",
			fault.NotFound, "its disk /nowhere/x is not on the host", "vmctl plan",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: ",
			fault.Other, "QEMU ended at once, and said nothing", "/var/log/libvirt/qemu",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: unable to execute QEMU command 'object-add': Unable to access credentials /etc/pki/qemu/ca-cert.pem: No such file or directory",
			fault.Refused, "QEMU on one of the hosts has no certificates to encrypt it with (/etc/pki/qemu/ca-cert.pem)", "--no-tls goes without",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: qemu unexpectedly closed the monitor: qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory",
			fault.Refused, "the host has not that much memory free", "lower memory",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: qemu unexpectedly closed the monitor: qemu-system-x86_64: unable to map backing store for guest RAM: Cannot allocate memory",
			fault.Refused, "too few of the host's huge pages are free", "vm.nr_hugepages",
		},
		{
			golibvirt.ERR_CONFIG_UNSUPPORTED, "unsupported configuration: No emulator found for arch 'aarch64'",
			fault.Refused, "the host has no QEMU for aarch64 guests", "qemu-system",
		},
		{
			golibvirt.ERR_SYSTEM_ERROR, "Cannot create new file '/pool/x': No space left on device",
			fault.Refused, "there is no space left on the host's disk", "vmctl doctor",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: failed to initialize kvm: Permission denied",
			fault.Refused, "KVM does not work on the host", "accel: tcg",
		},
		{
			golibvirt.ERR_CONFIG_UNSUPPORTED, "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support virt type 'kvm'",
			fault.Refused, "KVM does not work on the host", "accel: tcg",
		},
		{
			golibvirt.ERR_SYSTEM_ERROR, "Failed to connect socket to '/var/run/libvirt/virtlogd-sock': No such file or directory",
			fault.Unreachable, "virtlogd, which writes the console's log, is not running", "virtlogd -d",
		},
		{
			golibvirt.ERR_OPERATION_FAILED, "operation failed: domain 'x' already exists with uuid 0f",
			fault.Refused, "one of the same name exists already", "",
		},
		{
			golibvirt.ERR_OPERATION_FAILED, "operation failed: domain 'y' is already defined with uuid 0f",
			fault.Refused, "its UUID belongs to domain y already", "",
		},
		{
			golibvirt.ERR_OPERATION_INVALID, "Requested operation is not valid: domain is already running",
			fault.Refused, "it is running already", "",
		},
		{
			golibvirt.ERR_OPERATION_FAILED, "operation failed: Active console session exists for this domain",
			fault.Refused, "somebody else is attached to it", "",
		},
		{
			golibvirt.ERR_SYSTEM_ERROR, "Couldn't create lock file for device '/dev/pts/2' in path '/var/lock/LCK.._pts_2': File exists",
			fault.Refused, "the lock /var/lock/LCK.._pts_2 stands in the way: another libvirt holds the console, or was killed while it did",
			"sudo rm /var/lock/LCK.._pts_2",
		},
		{
			golibvirt.ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding: QEMU guest agent is not connected",
			fault.Refused, "the guest agent does not answer", "",
		},
		{
			golibvirt.ERR_OPERATION_INVALID, "Requested operation is not valid: network 'default' is not active",
			fault.Refused, "network default is not active", "virsh net-start default",
		},
		{
			golibvirt.ERR_OPERATION_FAILED, "operation failed: Unable to find any firmware to satisfy 'efi'",
			fault.Refused, "the host has no fitting UEFI firmware", "ovmf",
		},
		{
			golibvirt.ERR_OPERATION_TIMEOUT, "Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainCreate)",
			fault.Refused, "another operation on it is still running", "wait",
		},
		{
			golibvirt.ERR_OPERATION_INVALID, "Requested operation is not valid: something new",
			fault.Refused, "something new", "",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: process exited while connecting to monitor: 2026-01-01T00:00:00.000000Z qemu-system-x86_64: -device x: \x1b[31mbad\x1b[0m \u202e thing",
			fault.Other, "QEMU ended: -device x: [31mbad[0m thing", "",
		},
		{
			golibvirt.ERR_INTERNAL_ERROR, "internal error: client socket is closed",
			fault.Unreachable, "", "same command again",
		},
		{
			golibvirt.ERR_RPC, "stream had unexpected termination",
			fault.Other, "stream had unexpected termination", "",
		},
		{
			golibvirt.ERR_RPC, "internal error: received hangup event on socket",
			fault.Unreachable, "", "same command again",
		},
	} {
		t.Run(row.message, func(t *testing.T) {
			cause := golibvirt.Error{Code: row.number, Message: row.message}
			err := c.explain("do it", fmt.Errorf("wrapped: %w", cause))
			assert.Equal(t, row.kind, fault.KindOf(err), "%v", err)
			if row.want != "" {
				assert.EqualError(t, err, "cannot do it: "+row.want)
			}
			assert.NotContains(t, err.Error(), "virError")
			if row.hint == "" {
				assert.Empty(t, fault.HintOf(err))
			} else {
				assert.Contains(t, fault.HintOf(err), row.hint)
			}
			assert.ErrorIs(t, err, row.number, "the cause is kept for errors.Is")
		})
	}
}

func TestConnectErrors(t *testing.T) {
	for _, row := range []struct{ message, want, hint string }{
		{
			"libvirt.so.0: cannot open shared object file: No such file or directory",
			"the libvirt library is not installed on this machine", "apt install",
		},
		{"Failed to open libvirt.so.0", "the libvirt library is not installed on this machine", "apt install"},
		{
			"Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
			"libvirt is not running there (nothing listens on /var/run/libvirt/libvirt-sock)", "virtlogd -d && libvirtd -d",
		},
		{
			"Failed to connect socket to '/var/run/libvirt/libvirt-sock': Connection refused",
			"libvirt is not running there (nothing listens on /var/run/libvirt/libvirt-sock)", "systemctl start",
		},
		{
			"Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
			"this user may not use /var/run/libvirt/libvirt-sock", "group libvirt",
		},
		{
			"error from service: Unable to get system bus connection: Could not connect: No such file or directory",
			"the host wants polkit to authorise this user, and that failed", "group libvirt",
		},
		{
			"Cannot recv data: ssh: Could not resolve hostname nohost: Name or service not known: Connection reset by peer",
			"the name of the host cannot be resolved", "getent",
		},
		{
			"Cannot recv data: ssh: connect to host h port 22: Connection refused: Connection reset by peer",
			"the host refuses the connection (nothing listens on that port)", "ssh",
		},
		{
			"Cannot recv data: Host key verification failed.: Connection reset by peer",
			"the host's ssh key is unknown or has changed", "ssh-keygen -R",
		},
		{
			"Cannot recv data: u@h: Permission denied (publickey,password).: Connection reset by peer",
			"ssh was not let in", "ssh-copy-id",
		},
		{
			"Cannot recv data: sh: 1: virt-ssh-helper: not found: Connection reset by peer",
			"the host has neither virt-ssh-helper nor netcat", "netcat-openbsd",
		},
		{
			"unable to connect to server at 'h:16509': Connection timed out",
			"the host does not answer", "firewall",
		},
		{"Connection reset by peer", "it hung up at once", "again"},
		{"Cannot recv data: Connection reset by peer", "it hung up at once", "again"},
		{"End of file while reading data: Input/output error", "it hung up at once", "again"},
		{"End of file while reading data: sh: 1: nc: strange: Input/output error", "sh: 1: nc: strange", "ssh to the host"},
		{"something new", "something new", "vmctl doctor"},
	} {
		t.Run(row.message, func(t *testing.T) {
			err := unreachable("qemu:///system", golibvirt.Error{Code: golibvirt.ERR_SYSTEM_ERROR, Message: row.message})
			assert.EqualError(t, err, "cannot connect to qemu:///system: "+row.want)
			assert.Equal(t, fault.Unreachable, fault.KindOf(err))
			assert.Contains(t, fault.HintOf(err), row.hint)
		})
	}
}

func TestCheckURI(t *testing.T) {
	for _, uri := range []string{
		"", "hail", "qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/x", "test:///default",
		"test:///a/b.xml", "qemu+ssh://user@host.example:2222/system?keyfile=/k&proxy=native", "qemu+tls://[::1]/system", "qemu+ssh://[fe80::1%25eth0]/system", "qemu+ssh://dom%5Cme@h/system?keyfile=/my%20key",
	} {
		assert.NoError(t, CheckURI(uri), uri)
	}
	for uri, why := range map[string]string{
		"qemu+ext:///system?command=/bin/evil":             `transport "ext"`,
		"qemu:///system?command=/bin/evil":                 `parameter "command"`,
		"qemu+ssh://h/system?netcat=/bin/evil":             `parameter "netcat"`,
		"qemu+ssh://h/system?no_verify=1":                  `parameter "no_verify"`,
		"qemu+ssh://h/system?no_tty=1&no_verify=1":         `parameter "no_verify"`,
		"qemu+libssh://h/system?known_hosts_verify=ignore": "host's key",
		"qemu+libssh://h/system?known_hosts_verify=Ignore": "host's key",
		"qemu+libssh://h/system?known_hosts_verify=auto":   "host's key",
		"qemu+ssh://h/system?COMMAND=/bin/evil":            `parameter "COMMAND"`,
		"qemu+ssh://h/system#x":                            "is not a connection URI",
		"qemu+ssh://-oProxyCommand=evil/system":            "begins with a dash",
		"qemu+ssh://-l@h/system":                           "begins with a dash",
		"xen:///system":                                    "is not a QEMU host",
		"qemu+ssh://h/system?a;b":                          `contains ";"`,
		"qemu+ssh://h/system?a=%zz":                        "parameters",
		"/run/x":                                           "is not a connection URI",
		"-x":                                               "is not a connection URI",
		"qemu:///system\n?command=x":                       "contains a control character",
		"qemu+ssh://a$(id)b/system":                        `contains "$"`,
		"qemu+ssh://a;id/system":                           `contains ";"`,
		"qemu+ssh://h/system;id":                           `contains ";"`,
		"qemu+ssh://h/system?socket=`id`":                  "contains \"`\"",
		"qemu+ssh://a&id@h/system":                         "host or user",
		"qemu+ssh://a%3Bid@h/system":                       "host or user",
		"qemu+ssh://a%24(id)@h/system":                     `contains "("`,
		"qemu+ssh://a%0Aid@h/system":                       "host or user",
		"qemu+ssh://a%20b@h/system":                        "host or user",
		"qemu+ssh://h/system?keyfile=/a%0AProxyCommand":    "control character in parameter",
	} {
		err := CheckURI(uri)
		require.Error(t, err, uri)
		assert.Equal(t, fault.Usage, fault.KindOf(err), uri)
		assert.ErrorContains(t, err, why, uri)
	}
}

func TestLocate(t *testing.T) {
	for uri, want := range map[string]place{
		"qemu:///system":                {local: true},
		"qemu:///session":               {local: true, session: true},
		"qemu:///session?socket=/run/x": {local: true, session: true},
		"qemu+unix:///session":          {local: true, session: true},
		"qemu+ssh://u@h/session":        {session: true},
		"qemu+ssh://root@h/session":     {},
		"qemu+ssh://h/system":           {},
		"qemu+ssh://localhost/system":   {},
		"test:///default":               {local: true, test: true},
		"test:///session":               {local: true, test: true},
	} {
		assert.Equal(t, want, locate(uri, 1000), uri)
	}
	assert.Equal(t, place{local: true}, locate("qemu:///session", 0), "root's session is the system daemon")
}

func TestDefaultTarget(t *testing.T) {
	assert.Equal(t, "/var/lib/libvirt/images/vmctl", defaultTarget(place{local: true}))
	assert.Equal(t, "/var/lib/libvirt/images/vmctl", defaultTarget(place{}))
	assert.Empty(t, defaultTarget(place{session: true}), "the home is on another machine")
	t.Setenv("HOME", "/home/u")
	t.Setenv("XDG_DATA_HOME", "")
	assert.Equal(t, "/home/u/.local/share/libvirt/images/vmctl", defaultTarget(place{local: true, session: true}))
	t.Setenv("XDG_DATA_HOME", "/data")
	assert.Equal(t, "/data/libvirt/images/vmctl", defaultTarget(place{local: true, session: true}))
	t.Setenv("XDG_DATA_HOME", "relative")
	assert.Equal(t, "/home/u/.local/share/libvirt/images/vmctl", defaultTarget(place{local: true, session: true}))
}

func TestMetadata(t *testing.T) {
	record := engine.Record{
		Version: 1, Rendering: 3, Vmctl: "1.2", Project: "/p <&>\"'", Image: "nix-x", Source: "images/x", Base: "/b",
		Root: "r", Log: "l", Memory: 1_000_000_001, CPUs: 2, Disk: 10 * spec.GiB, Accel: spec.AccelAuto,
		Firmware: spec.FirmwareEFI, SecureBoot: true, Network: "user",
		Ports: []spec.Port{{Address: netip.MustParseAddr("127.0.0.1"), Host: 1, Guest: 2, Protocol: "tcp"}},
		Life:  3, Media: []engine.MediumRecord{{Role: engine.RoleSeed, Serial: engine.SerialSeed, Digest: "0a"}},
	}
	text, err := definitionMetadata(record)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(text, `<vmctl:machine xmlns:vmctl="urn:vmctl:machine" version="1" `), text)
	assert.Contains(t, text, "<vmctl:memory>1000000001B</vmctl:memory>")
	assert.Contains(t, text, "<vmctl:disk>10GiB</vmctl:disk>")
	parsed, err := parseDomain("<domain><metadata><other xmlns='urn:other'/>" + text + "</metadata></domain>")
	require.NoError(t, err)
	assert.Equal(t, &record, parsed.record())

	for name, row := range map[string]struct {
		xml  string
		want *engine.Record
	}{
		"none":           {"", nil},
		"other prefix":   {`<v:machine xmlns:v="urn:vmctl:machine" version="1"/>`, &engine.Record{Version: 1}},
		"other element":  {`<v:thing xmlns:v="urn:vmctl:machine" version="1"/>`, nil},
		"no namespace":   {`<machine version="1"/>`, nil},
		"newer":          {`<v:machine xmlns:v="urn:vmctl:machine" version="7"><v:new/></v:machine>`, &engine.Record{Version: 7}},
		"no version":     {`<v:machine xmlns:v="urn:vmctl:machine"/>`, &engine.Record{Version: math.MaxInt}},
		"broken version": {`<v:machine xmlns:v="urn:vmctl:machine" version="x"/>`, &engine.Record{Version: math.MaxInt}},
		"broken values": {
			`<v:machine xmlns:v="urn:vmctl:machine" version="1"><v:memory>x</v:memory><v:cpus>y</v:cpus><v:port address="z"/></v:machine>`,
			&engine.Record{Version: 1},
		},
	} {
		parsed, err := parseDomain("<domain><metadata>" + row.xml + "</metadata></domain>")
		require.NoError(t, err, name)
		assert.Equal(t, row.want, parsed.record(), name)
	}
}

func TestAddresses(t *testing.T) {
	ip := func(all ...string) (out []golibvirt.DomainIPAddress) {
		for _, a := range all {
			out = append(out, golibvirt.DomainIPAddress{Addr: a})
		}
		return out
	}
	got := addresses([]golibvirt.DomainInterface{
		{Name: "lo", Hwaddr: "00:00:00:00:00:00", Addrs: ip("127.0.0.1", "::1")},
		{Name: "docker0", Hwaddr: "02:42:00:00:00:01", Addrs: ip("172.17.0.1")},
		{Name: "eth0", Hwaddr: "52:54:00:AA:bb:cc", Addrs: ip("fe80::1", "fd00::2", "192.168.122.5", "192.168.122.5", "::ffff:10.0.0.1")},
		{Name: "evil", Addrs: ip("\x1b[31m", "1.2.3.4\n", "fe80::1%eth0", "0.0.0.0", "224.0.0.1", strings.Repeat("1", 1<<20), "")},
	}, "52:54:00:aa:bb:cc")
	assert.Equal(t, []string{"192.168.122.5", "10.0.0.1", "fd00::2", "172.17.0.1"}, got)

	var many golibvirt.DomainInterface
	for i := range 1000 {
		many.Addrs = append(many.Addrs, ip(fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))...)
	}
	assert.Len(t, addresses([]golibvirt.DomainInterface{many}, ""), maxAddresses)
}

// A guest that claims to be somewhere else is not believed before the DHCP server, and
// never when it claims to be its host.
func TestFalseAddresses(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.168.122.1"), netip.MustParseAddr("2001:db8::1")}
	assert.Equal(t, []string{"192.168.122.50", "10.9.9.9"},
		merge([]string{"192.168.122.50"}, []string{"192.168.122.1", "2001:db8::1", "10.9.9.9", "192.168.122.50"}, own))
	many := make([]string, 10000)
	for i := range many {
		many[i] = fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)
	}
	assert.Len(t, merge([]string{"192.168.122.50"}, many, own), maxAddresses)
	here := &conn{uri: "qemu:///system", place: place{local: true}}
	assert.Contains(t, here.own(), netip.MustParseAddr("127.0.0.1"))
	there := &conn{uri: "qemu+ssh://root@192.0.2.9:2222/system"}
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.9")}, there.own())
}

func TestKVM(t *testing.T) {
	lists := func(arch string, kinds ...string) *hostXML {
		h := &hostXML{}
		h.CPU.Arch = arch
		h.Guests = make([]struct {
			OSType string `xml:"os_type"`
			Arch   struct {
				Name    string      `xml:"name,attr"`
				Domains []domainRef `xml:"domain"`
			} `xml:"arch"`
		}, 1)
		h.Guests[0].OSType, h.Guests[0].Arch.Name = "hvm", arch
		for _, k := range kinds {
			h.Guests[0].Arch.Domains = append(h.Guests[0].Arch.Domains, domainRef{k})
		}
		return h
	}
	cpu := func(features ...string) func(string) (bool, error) {
		return func(f string) (bool, error) { return strings.Contains(strings.Join(features, " "), f), nil }
	}
	assert.Empty(t, noKVM(lists("x86_64", "qemu", "kvm"), cpu("vmx")), "Intel")
	assert.Empty(t, noKVM(lists("x86_64", "qemu", "kvm"), cpu("svm")), "AMD")
	assert.Empty(t, noKVM(lists("aarch64", "qemu", "kvm"), cpu()), "what x86 calls vmx, ARM has no word for")
	assert.Contains(t, noKVM(lists("x86_64", "qemu", "kvm"), cpu()), "neither vmx nor svm")
	assert.Contains(t, noKVM(lists("x86_64", "qemu"), cpu("vmx")), "/dev/kvm")
	assert.Contains(t, noKVM(lists("aarch64", "qemu"), cpu()), "/dev/kvm")
	assert.Empty(t, noKVM(lists("x86_64", "kvm"), func(string) (bool, error) { return false, errors.New("unsupported") }))
}

func TestPrintable(t *testing.T) {
	assert.Equal(t, "a b c", printable("a\r\n\tb\x1b\x00 \u202ec. "))
	assert.Equal(t, "�", printable("\xff"))
	assert.LessOrEqual(t, len([]rune(printable(strings.Repeat("x", 1<<20)))), maxText+1)
	assert.Equal(t, "a-b.c", quoteName("a-b.c"))
	assert.Equal(t, `"a b"`, quoteName("a b"))
	assert.Equal(t, `"\x1b"`, quoteName("\x1b"))
	assert.Equal(t, `""`, quoteName(""))
}

func TestLuksClock(t *testing.T) {
	t.Parallel()
	assert.True(t, luksClock(golibvirt.Error{
		Code:    golibvirt.ERR_INTERNAL_ERROR,
		Message: "internal error: Child process (/usr/bin/qemu-img create) unexpected exit status 1: qemu-img: v.qcow2: Unable to get accurate CPU usage",
	}))
	assert.False(t, luksClock(golibvirt.Error{Code: golibvirt.ERR_INTERNAL_ERROR, Message: "No space left on device"}))
	assert.False(t, luksClock(nil))
}

package libvirt

import (
	"math"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
)

// XML as libvirt 9.0 gives it, with what a hostile neighbour in the libvirt group, or a
// guest that chooses what its disks look like, could put into it.
const (
	domainText = `<domain type='kvm'><name>example</name><uuid>d02b2cdb-0000-5000-8000-000000000000</uuid>
<metadata><vmctl:machine xmlns:vmctl="urn:vmctl:machine" version="1" rendering="2" by="v1&#x9b;2J"><vmctl:project>/p&#x202e;</vmctl:project><vmctl:root>../../etc/passwd</vmctl:root>
<vmctl:memory>18446744073709551615B</vmctl:memory><vmctl:cpus>-1</vmctl:cpus><vmctl:port protocol="tcp" address="x" host="1" guest="2"/><vmctl:interface link="network" address="::"/></vmctl:machine></metadata>
<memory unit='KiB'>1048576</memory><currentMemory unit='KiB'>524288</currentMemory><vcpu current='1'>2</vcpu>
<devices><disk type='file' device='disk'><driver type='qcow2'/><source file='/x'/><target dev='vda'/><serial>root</serial></disk>
<interface><mac address='52:54:00:00:00:01'/></interface><channel><target name='org.qemu.guest_agent.0' state='connected'/></channel>
<graphics type='vnc' port='5900' listen='127.0.0.1'/></devices></domain>`
	volumeText  = `<volume type='file'><name>x.qcow2</name><capacity unit='bytes'>1073741824</capacity><allocation>196616</allocation><target><path>/p/x.qcow2</path><format type='qcow2'/><timestamps><mtime>1700000000.123456789</mtime></timestamps></target><backingStore><path>/etc/shadow</path></backingStore></volume>`
	poolText    = `<pool type='dir'><name>vmctl</name><target><path>/var/lib/libvirt/images/vmctl</path></target></pool>`
	networkText = `<network><name>default</name><ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><host mac='52:54:00:AA:BB:CC' ip='192.168.122.50'/></dhcp></ip><ip address='10.0.0.1' prefix='99'><dhcp/></ip></network>`
	hostText    = `<capabilities><host><cpu><arch>x86_64</arch></cpu><topology><cells><cell><pages unit='KiB' size='2048'>18446744073709551615</pages></cell></cells></topology></host><guest><os_type>hvm</os_type><arch name='x86_64'><domain type='kvm'/></arch></guest></capabilities>`
	capsText    = `<domainCapabilities><os><enum name='firmware'><value>efi</value></enum></os><cpu><mode name='custom'><model usable='yes'>qemu64</model></mode></cpu><devices><filesystem><enum name='driverType'><value>path</value></enum></filesystem></devices></domainCapabilities>`
	deviceText  = `<device><capability type='pci'><domain>0</domain><bus>3</bus><slot>31</slot><function>7</function><product id='0x1'>a&#x9b;b</product><vendor id='0x8086'>I</vendor><iommuGroup/></capability></device>`
)

// FuzzXML reads a host's XML in all the ways in which it is read.
func FuzzXML(f *testing.F) {
	for _, seed := range []string{
		domainText, volumeText, poolText, networkText, hostText, capsText, deviceText, "", "<domain/>", "<?xml version='1.0' encoding='latin1'?><x/>",
		`<!DOCTYPE d [<!ENTITY a "&b;&b;"><!ENTITY b "xx">]><domain><name>&a;</name></domain>`, strings.Repeat("<a>", 100),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDomain(text); err == nil {
			if r := d.record(); r != nil {
				assert.Positive(t, r.Version, "a version that cannot be read is a newer one")
				harmless(t, append([]string{r.Vmctl}, r.Secrets...)...)
				again, err := definitionMetadata(*r)
				require.NoError(t, err, "what was read can be written")
				back, err := parseDomain("<domain><metadata>" + again + "</metadata></domain>")
				require.NoError(t, err)
				require.Len(t, back.Metadata.Record, 1)
			}
			d.cpus()
			d.memory(d.record())
			d.files()
			d.attached()
			d.device("root")
		}
		if head, err := parseHead(text); err == nil && head.record() != nil {
			assert.Positive(t, head.record().Version)
			head.cpus()
		}
		_, _ = diskElement(text, "vda")
		if s, err := parseScreen("example", text); err == nil {
			assert.NotZero(t, s.Port)
			harmless(t, s.Kind, s.Address)
		}
		if v, err := parseVolume(text); err == nil {
			assert.False(t, v.Modified.Before(fileTime("")) && !v.Modified.IsZero() && v.Modified.Year() < math.MinInt16)
		}
		_, _ = parsePool(text)
		_, _ = parseCPU(text)
		if p, err := parsePortable(text); err == nil {
			_, _ = relocate(p.Text, engine.Relocation{Paths: map[string]string{"/a": "/b"}}, true)
		}
		if d, err := parseDHCP(text); err == nil {
			for _, subnet := range d.Subnets {
				assert.True(t, subnet.IsValid(), "%v", subnet)
			}
		}
		if h, err := parseCapabilities(text); err == nil {
			noKVM(h, func(string) (bool, error) { return false, nil })
			hugePages(h)
		}
		if d, err := parseDomainCapabilities(text); err == nil {
			d.into(&engine.Capabilities{}, "9.0.0", place{local: true, session: true})
		}
		if d, ok, err := parseDevice(text); err == nil && ok {
			harmless(t, d.Name, d.Address)
		}
	})
}

// harmless says that words can be shown on a terminal.
func harmless(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		assert.Negative(t, strings.IndexFunc(w, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }), "%q", w)
	}
}

// FuzzAgentAddresses: of what an agent answers only addresses pass, and few.
func FuzzAgentAddresses(f *testing.F) {
	const mac = "52:54:00:00:00:01"
	for _, seed := range []string{
		`{"return":[{"name":"eth0","hardware-address":"52:54:00:00:00:01","ip-addresses":[{"ip-address-type":"ipv4","ip-address":"192.0.2.7","prefix":24}]}]}`,
		`{"return":[{"ip-addresses":[{"ip-address":"127.0.0.1"},{"ip-address":"224.0.0.1"},{"ip-address":"fe80::1%eth0"},{"ip-address":"\u001b[2J"},{"ip-address":"::ffff:127.0.0.1"}]}]}`,
		`{"return":{}}`, `{"error":{"class":"GenericError","desc":"\u009b"}}`, "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		found := parseAgentAddresses(reply, mac)
		assert.LessOrEqual(t, len(found), maxAddresses)
		for _, s := range found {
			address, err := netip.ParseAddr(s)
			require.NoError(t, err)
			assert.True(t, address.IsGlobalUnicast() && address.Zone() == "", s)
		}
	})
}

// FuzzRefusal: what an agent says in an error becomes one harmless line.
func FuzzRefusal(f *testing.F) {
	f.Add("internal error: unable to execute QEMU agent command 'guest-exec': Guest agent command failed, error was 'no\x1b]0;x\x07'")
	f.Add("error: \u202e\u009b2J\n\n")
	f.Fuzz(func(t *testing.T, message string) {
		if m := agentRefusal.FindStringSubmatch(message); m != nil {
			harmless(t, printable(m[1]), printable(m[2]+m[3]))
		}
		line := printable(message)
		harmless(t, line)
		assert.NotContains(t, line, "\n")
		assert.LessOrEqual(t, len([]rune(line)), maxText+1)
	})
}

// FuzzURI: what passes starts no program, drops no check, and hands ssh no option.
func FuzzURI(f *testing.F) {
	for _, seed := range []string{
		"", "server", "qemu:///system", "qemu+ssh://me@h:22/system?keyfile=/k&proxy=native", "qemu+ssh://h/system?COMMAND=/bin/evil", "qemu+ext:///system?command=/x",
		"qemu+ssh://-oProxyCommand=x/system", "qemu+ssh://%2doProxyCommand=x@h/system", "qemu+ssh://h/system?netcat=/x", "qemu+ssh://h/system?no_verify=1", "qemu+ssh://h/?name=qemu%2bext:///x%3fcommand=y",
		"qemu+libssh2://h/system?known_hosts_verify=Ignore", "qemu+libssh://h/system?known_hosts_verify=auto", "test:///default", "QEMU+EXT:///system", "qemu+ssh://h/system?a;command=x", "qemu+ssh://h/system#?command=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if CheckURI(uri) != nil {
			return
		}
		locate(uri, 0)
		if !strings.ContainsAny(uri, ":/?") {
			return
		}
		u, err := url.Parse(uri)
		require.NoError(t, err)
		for key, values := range u.Query() {
			assert.NotContains(t, []string{"command", "netcat", "no_verify", "no_sanity"}, strings.ToLower(key))
			if strings.EqualFold(key, "known_hosts_verify") {
				assert.Equal(t, []string{"normal"}, values)
			}
		}
		assert.NotContains(t, strings.ToLower(u.Scheme), "ext")
		assert.False(t, strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-"), uri)
		assert.Negative(t, strings.IndexFunc(uri, unicode.IsControl), "%q", uri)
		assert.False(t, strings.ContainsAny(uri, "`$;|<>\"'"), "%q", uri)
		assert.False(t, strings.ContainsAny(u.Hostname()+u.User.Username(), "`$;|&<>(){}\"' \n"), "%q", uri)
	})
}

// FuzzVirtiofsd reads the descriptions of vhost-user programs, which any package installs.
func FuzzVirtiofsd(f *testing.F) {
	f.Add([]byte(`{"type":"fs","binary":"/bin/true"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "x.json")
		require.NoError(t, os.WriteFile(file, text, 0o600))
		hasVirtiofsd([]string{file})
	})
}

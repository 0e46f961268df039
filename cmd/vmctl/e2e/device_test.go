//go:build e2e

package e2e

import (
	"bytes"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/testenv"
)

// TestDevices boots one guest with a share, cards of every kind, a TPM, a screen and XML of the
// definition's own, and looks at all of them from inside and outside.
func TestDevices(t *testing.T) {
	testenv.Tool(t, "swtpm", "swtpm_setup", "dnsmasq")
	p := root(t)
	server := testenv.SSH(t)
	server.Trust(t)
	p.lines(t)
	before := p.look(t)
	pr := p.project(t)
	pr.write(t, "src/from-host", "hello from the host\n")
	pr.machine(t, "rich", `network:`, // none: the cards are below
		"tpm: true", "graphics: vnc", "cpu: {model: maximum, topology: {sockets: 1, cores: 1, threads: 1}}",
		"interfaces:", `  - {network: default, mac: "52:54:00:aa:bb:01", address: 192.168.122.99}`, "  - user",
		"  - {network: lonely, address: 10.79.0.50}", "  - {bridge: br-own}", "  - {macvtap: near}",
		"shares: {src: {source: src, target: /mnt/src}}",
		"xml:", "  - {at: devices, add: <sound model='ich9'/>}",
		"  - {at: on_crash, replace: <on_crash>preserve</on_crash>}", "  - {at: devices/rng, remove: true}",
	)
	pr.edit(t, "rich", "network:\n", "")

	shown := pr.ok(t, "up", "rich")
	assert.Contains(t, shown.err, "changes the domain's XML as the definition says")
	s := p.shell(t, pr.dir)
	s.visit("rich", func() {
		assert.Equal(t, "hello from the host", s.guest("cat /mnt/src/from-host"))
		s.guest("su -c 'echo hello from the guest >/mnt/src/from-guest; sync'")
		assert.Equal(t, "2", s.guest("cat /sys/class/tpm/tpm0/tpm_version_major"))
		s.guest("until ip addr show eth0 | grep -q 'inet '; do sleep 0.1; done")
		eth0 := s.guest("ip addr show eth0")
		assert.Contains(t, eth0, "52:54:00:aa:bb:01")
		assert.Contains(t, eth0, "192.168.122.99/24")
		assert.Contains(t, s.guest("ip link show eth1"), "52:54:00:", "the second card is the second")
		// An isolated network, a bridge of the host's, and a card beside one of its own.
		s.guest(`su -c 'udhcpc -n -q -i eth2; ip addr add 10.80.0.2/24 dev eth3; ip addr add 10.81.0.2/24 dev eth4; ip link set eth3 up; ip link set eth4 up'`)
		assert.Contains(t, s.guest("ip addr show eth2"), "10.79.0.50/24")
		for _, host := range []string{"10.79.0.1", "10.80.0.1", "10.81.0.1"} {
			assert.Contains(t, s.guest("su -c 'ping -c 1 -w 10 "+host+"'"), "1 packets received", host)
		}
	})
	content, err := os.ReadFile(filepath.Join(pr.dir, "src/from-guest"))
	require.NoError(t, err)
	assert.Equal(t, "hello from the guest\n", string(content))

	xml := p.virsh(t, "dumpxml", "rich")
	for _, word := range []string{"<sound model='ich9'>", "type='virtiofs'", "<tpm model='tpm-crb'>", "<topology sockets='1'"} {
		assert.Contains(t, xml, word)
	}
	assert.Contains(t, xml, "<on_crash>preserve</on_crash>")
	assert.NotContains(t, xml, "<rng ")
	assert.Contains(t, p.virsh(t, "net-dumpxml", "default"), "52:54:00:aa:bb:01")
	assert.Contains(t, pr.ok(t, "ip", "rich").out, "192.168.122.99")
	pr.jumps(t, "rich", server.URI())
	assert.Contains(t, pr.ok(t, "up", "rich").err, "rich is up to date")
	info := pr.ok(t, "info", "rich").out
	assert.Contains(t, info, "mount -t virtiofs -o rw src /mnt/src")
	assert.Contains(t, info, "network default, 192.168.122.99, 52:54:00:aa:bb:01, virtio")

	picture := filepath.Join(pr.dir, "shot.png")
	pr.ok(t, "screenshot", "rich", "-o", picture)
	file, err := os.Open(picture)
	require.NoError(t, err)
	defer file.Close()
	config, err := png.DecodeConfig(file)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, config.Width, 640)
	assert.Regexp(t, `^vnc://127\.0\.0\.1:59\d\d$`, strings.TrimSpace(pr.ok(t, "view", "--address", "rich").out))

	state := filepath.Join("/var/lib/libvirt/swtpm", engine.UUID("rich"))
	pr.ok(t, "stop", "rich")
	assert.DirExists(t, state, "what the TPM holds stays when the machine is off")
	pr.ok(t, "down", "rich")
	assert.NoDirExists(t, state, "and goes with it")
	assert.NotContains(t, p.virsh(t, "net-dumpxml", "default"), "52:54:00:aa:bb:01")
	s.leave()
	p.virsh(t, "net-destroy", "default") // as it was found
	require.NoError(t, os.RemoveAll(state))
	p.nothingLeft(t, before)
}

// lines gives the host a bridge, a link whose other end answers, and a network without a way out.
func (p *person) lines(t *testing.T) {
	t.Helper()
	network := filepath.Join(t.TempDir(), "lonely.xml")
	require.NoError(t, os.WriteFile(network, []byte("<network><name>lonely</name><bridge name='br-lonely'/>"+
		"<ip address='10.79.0.1' netmask='255.255.255.0'><dhcp><range start='10.79.0.2' end='10.79.0.40'/></dhcp></ip></network>"), 0o600))
	for _, command := range []string{
		"ip link add br-own type bridge", "ip addr add 10.80.0.1/24 dev br-own", "ip link set br-own up",
		"ip link add near type veth peer name far", "ip addr add 10.81.0.1/24 dev far", "ip link set near up", "ip link set far up",
		"virsh -c " + p.uri + " net-define " + network,
	} {
		words := strings.Fields(command)
		out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput()
		require.NoError(t, err, "%s: %s", command, out)
	}
	t.Cleanup(func() {
		for _, command := range []string{"ip link del br-own", "ip link del near", "virsh -c " + p.uri + " net-destroy lonely", "virsh -c " + p.uri + " net-undefine lonely"} {
			words := strings.Fields(command)
			_ = exec.Command(words[0], words[1:]...).Run()
		}
	})
}

// jumps logs in to a guest that has an address on a network of a host which is reached by
// ssh: through that host, with nothing set up.
func (pr *project) jumps(t *testing.T, machine, uri string) {
	t.Helper()
	binary := random(t, 100<<10)
	r := pr.piped(t, binary, "-c", uri, "ssh", "-l", "tarn", machine, "cat; exit 5")
	assert.Equal(t, 5, r.code, r.err)
	assert.True(t, bytes.Equal(binary, []byte(r.out)))
	assert.NotContains(t, r.err, "authenticity")

	config := filepath.Join(pr.dir, "jump.conf")
	require.NoError(t, os.WriteFile(config, []byte(pr.ok(t, "-c", uri, "ssh-config").out), 0o600))
	r = pr.p.finish(t, pr.p.command(t, pr.dir, "ssh", "-n", "-F", config, "-l", "tarn", machine, "id -un"))
	assert.Equal(t, "tarn\n", r.out, r.err)

	// What is known of the guest on the host by that name stays when the guest goes by another.
	known, err := filepath.Glob(filepath.Join(pr.p.home, ".local/state/vmctl/ssh/known/*", machine))
	require.NoError(t, err)
	require.NotEmpty(t, known)
	for _, file := range known {
		require.NoError(t, os.Remove(file))
	}
}

// TestDevicesRefused: what a host does not have is said in a sentence, and nothing is made.
func TestDevicesRefused(t *testing.T) {
	p := root(t)
	before := p.look(t)
	pr := p.project(t)
	for lines, words := range map[string][]string{
		"devices: {pci: [\"0000:99:00.0\"]}":                                 {"has no PCI device 0000:99:00.0", "lspci"},
		"devices: {usb: [\"dead:beef\"]}":                                    {"has no USB device dead:beef", "lsusb"},
		"hugepages: true":                                                    {"cannot run on huge pages", "/nr_hugepages"},
		"cpu: EPYC-Nonsense":                                                 {"the CPU EPYC-Nonsense"},
		"interfaces: [{bridge: br-none}]":                                    {"has no bridge br-none"},
		"xml: [{at: devices, add: <sound/>}]":                                {"xml[0] of the definition, which adds <sound> to devices"},
		"xml: [{at: devices, add: <sound model='ich9'/>}, {add: <nosuch/>}]": {"xml[1] of the definition, which adds <nosuch> to the domain"},
	} {
		pr.machine(t, "odd", lines)
		if strings.HasPrefix(lines, "interfaces") {
			pr.edit(t, "odd", "network: user\n", "")
		}
		r := pr.vmctl(t, "up", "odd")
		assert.NotZero(t, r.code, lines)
		for _, word := range words {
			assert.Contains(t, r.err, word)
		}
		assert.Contains(t, r.err, "hint:", lines)
	}
	p.nothingLeft(t, before)
}

// TestSharesOfASession: libvirt before 10 has no virtiofs there, and 9p takes its place.
func TestSharesOfASession(t *testing.T) {
	p := tester(t)
	before := p.look(t)
	pr := p.project(t)
	pr.machine(t, "shared", "shares: {src: {source: ., target: /mnt/src}}")
	r := pr.ok(t, "up", "--no-wait", "shared")
	xml := p.virsh(t, "dumpxml", "shared")
	if !strings.Contains(xml, "type='virtiofs'") {
		assert.Contains(t, r.err, "share src goes by 9p, which is slower: libvirt")
		assert.Contains(t, xml, "<filesystem type='mount' accessmode='mapped' fmode='0644' dmode='0755'>")
	}
	pr.ok(t, "down", "--force", "shared")
	p.nothingLeft(t, before)
}

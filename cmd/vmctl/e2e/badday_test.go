//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

// TestBadDays are the ways in which a host disappoints: each is a sentence with the
// right exit code, nothing is lost, and nothing stays behind.
func TestBadDays(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	pr.machine(t, "warm", "image: images/tiny#tiny")
	pr.ok(t, "build", "warm")
	// The pool stays for all; who makes it is not the question here.
	pr.ok(t, "up", "--no-wait", "warm")
	pr.ok(t, "down", "--force", "warm")
	for name, day := range map[string]func(*testing.T, *project){
		"not there":        notThere,
		"foreign domain":   foreignDomain,
		"port taken":       portTaken,
		"shrunk disk":      shrunkDisk,
		"network":          networks,
		"kvm":              noKVM,
		"permission":       permission,
		"no libvirtd":      noLibvirtd,
		"two at once":      twoAtOnce,
		"changed image":    changedImage,
		"another project":  anotherProject,
		"broken last line": closedOutput,
		"store full":       storeFull,
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { p.tidy(t) })
			before := p.look(t)
			day(t, pr)
			p.nothingLeft(t, before)
		})
	}
}

func notThere(t *testing.T, pr *project) {
	assert.Contains(t, pr.ok(t, "down", "warm").err, "warm is not on qemu:///system: nothing to remove")
	assert.Contains(t, pr.ok(t, "down", "warn").err, "did you mean warm?")
	pr.refused(t, 4, []string{"up", "warn"}, "warn", "did you mean warm?")
	pr.refused(t, 4, []string{"console", "warm"}, "warm is not up", "vmctl up warm")
	pr.refused(t, 4, []string{"stop", "warm"}, "warm is not up", "vmctl up warm")
	pr.p.refused(t, 4, "/", []string{"up", "warm"}, "hint:")
}

func foreignDomain(t *testing.T, pr *project) {
	pr.machine(t, "theirs", "image: images/tiny#tiny")
	file := filepath.Join(testenv.Dir(t, ""), "theirs.xml")
	require.NoError(t, os.WriteFile(file, []byte(`<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`), 0o644))
	pr.p.virsh(t, "define", file)
	defer pr.p.virsh(t, "undefine", "theirs")
	xml := pr.p.virsh(t, "dumpxml", "theirs")
	for _, verb := range []string{"up", "plan", "down", "stop", "start", "restart", "console", "logs"} {
		pr.refused(t, 5, []string{verb, "theirs"}, "theirs", "vmctl did not make it", "hint:")
	}
	pr.refused(t, 5, []string{"up", "--adopt", "--replace", "theirs"}, "vmctl did not make it")
	pr.refused(t, 5, []string{"down", "--force", "theirs"}, "vmctl did not make it")
	assert.NotContains(t, pr.p.ok(t, "/", "list").out, "theirs")
	assert.Contains(t, pr.ok(t, "list", "-a").out, "theirs")
	assert.Equal(t, xml, pr.p.virsh(t, "dumpxml", "theirs"), "not a byte of it has changed")
}

func portTaken(t *testing.T, pr *project) {
	l, err := net.Listen("tcp", "127.0.0.1:2222")
	require.NoError(t, err)
	defer l.Close()
	pr.machine(t, "ported", "image: images/tiny#tiny", "ports: [\"127.0.0.1:2222:22\"]")
	pr.refused(t, 5, []string{"up", "ported"}, "port 127.0.0.1:2222 of the host is already in use", "hint:", "ss -ltnp")
	assert.Contains(t, pr.ok(t, "down", "ported").err, "nothing to remove", "what was begun has been taken back")
}

func shrunkDisk(t *testing.T, pr *project) {
	pr.machine(t, "large", "image: images/tiny#tiny", "disk: 1GiB")
	pr.ok(t, "up", "--no-wait", "large")
	pr.edit(t, "large", "disk: 1GiB", "disk: 512MiB")
	for _, verb := range []string{"plan", "up"} {
		pr.refused(t, 5, []string{verb, "large"}, "1GiB", "cannot shrink to 512MiB", "vmctl up --replace large")
	}
	assert.Contains(t, pr.p.virsh(t, "vol-info", "--pool", "vmctl", filepath.Base(pr.p.volume("large"))), "1.00 GiB")
	pr.ok(t, "stop", "--force", "large")
	pr.ok(t, "up", "--no-wait", "--replace", "large")
	assert.Contains(t, pr.p.virsh(t, "vol-info", "--pool", "vmctl", filepath.Base(pr.p.volume("large"))), "512.00 MiB")
	pr.edit(t, "large", "disk: 512MiB", "disk: 1MiB")
	pr.refused(t, 3, []string{"plan", "large"}, "smaller than the image")
	pr.ok(t, "down", "--force", "large")
}

// networks uses the host's own network, which is defined and not started.
func networks(t *testing.T, pr *project) {
	pr.machine(t, "lost", "image: images/tiny#tiny", "network: nosuch")
	pr.refused(t, 4, []string{"up", "lost"}, "has no network nosuch: it has default", "hint:", "network: user")
	pr.ok(t, "down", "lost") // what was built is kept until then
	pr.machine(t, "tiny", "network: default")
	plan := pr.vmctl(t, "plan", "tiny")
	assert.Equal(t, 2, plan.code)
	assert.Contains(t, plan.out, "start network default (inactive)")
	pr.ok(t, "up", "tiny")
	defer pr.p.virsh(t, "net-destroy", "default")
	var address string
	eventually(t, func() bool {
		r := pr.vmctl(t, "ip", "tiny")
		address = strings.TrimSpace(r.out)
		return r.code == 0
	})
	assert.Regexp(t, `^192\.168\.122\.\d+$`, address)
	assert.Contains(t, pr.ok(t, "list").out, address)
	assert.Contains(t, pr.ok(t, "info", "tiny").out, "ssh root@"+address)
	assert.Contains(t, pr.ok(t, "down", "tiny").err, "it shut down")
}

func noKVM(t *testing.T, pr *project) {
	flags, err := os.ReadFile("/proc/cpuinfo")
	require.NoError(t, err)
	_, noDevice := os.Stat("/dev/kvm")
	works := noDevice == nil && (strings.Contains(string(flags), " vmx") || strings.Contains(string(flags), " svm"))
	pr.machine(t, "fast", "image: images/tiny#tiny", "accel: kvm")
	if works {
		pr.ok(t, "up", "--no-wait", "fast")
	} else {
		pr.refused(t, 5, []string{"up", "fast"}, "cannot run fast under KVM", "accel: auto")
	}
	pr.ok(t, "up", "--no-wait", "--restart", "--accel", "tcg", "fast")
	pr.ok(t, "down", "--force", "fast")
}

func permission(t *testing.T, pr *project) {
	someone := tester(t)
	theirs := someone.project(t)
	theirs.refused(t, 6, []string{"-c", testenv.System, "up", "tiny"}, "cannot connect to qemu:///system", "this user may not use", "hint:", "qemu:///session")
}

func noLibvirtd(t *testing.T, pr *project) {
	killLibvirtd(t)
	for _, verb := range []string{"up", "plan", "down", "console", "ip"} {
		pr.refused(t, 6, []string{verb, "warm"}, "cannot connect to qemu:///system: libvirt is not running there", "hint:", "libvirtd -d")
	}
	list := pr.vmctl(t, "list")
	assert.Equal(t, 6, list.code)
	assert.Contains(t, list.out, "unknown", "what is declared is known all the same")
	startLibvirtd(t)
}

func twoAtOnce(t *testing.T, pr *project) {
	pr.machine(t, "both", "image: images/tiny#tiny")
	var all sync.WaitGroup
	results := make([]result, 4)
	for i := range results {
		all.Go(func() { results[i] = pr.vmctl(t, "up", "--no-wait", "both") })
	}
	all.Wait()
	started := 0
	for _, r := range results {
		assert.Zero(t, r.code, r.err)
		started += strings.Count(r.err, "both is started")
	}
	assert.Equal(t, 1, started, "one of them did it")
	assert.Len(t, qemus(t), 1)
	for i := range results {
		all.Go(func() { results[i] = pr.vmctl(t, "down", "--force", "both") })
	}
	all.Wait()
	for _, r := range results {
		assert.Zero(t, r.code, r.err)
	}
}

// changedImage rebuilds the image below a machine that runs.
func changedImage(t *testing.T, pr *project) {
	pr.machine(t, "changes", "image: images/tiny#tiny")
	motd := filepath.Join(pr.dir, "images/tiny/root/etc/motd")
	original, err := os.ReadFile(motd)
	require.NoError(t, err)
	defer pr.write(t, "images/tiny/root/etc/motd", string(original))
	pr.ok(t, "up", "--no-wait", "changes")
	old := pr.image(t, "changes")
	pr.write(t, "images/tiny/root/etc/motd", "Another one.\n")
	plan := pr.vmctl(t, "plan", "changes")
	assert.Equal(t, 2, plan.code)
	assert.Regexp(t, `delete volume changes\.\w+\.root\.qcow2 \(image nix-\w+ → nix-\w+\), DESTROYS DATA`, plan.out)
	pr.refused(t, 5, []string{"up", "changes"}, "would be replaced and what is in it lost", "vmctl up --replace changes")
	require.FileExists(t, old, "the running machine's image is kept")
	assert.Len(t, qemus(t), 1, "it runs on")
	pr.ok(t, "stop", "--force", "changes")
	pr.ok(t, "up", "--no-wait", "--replace", "changes")
	assert.Contains(t, pr.p.virsh(t, "dumpxml", "changes"), pr.image(t, "changes"))
	pr.ok(t, "down", "--force", "changes")
}

func anotherProject(t *testing.T, pr *project) {
	other := pr.p.project(t)
	pr.machine(t, "shared", "image: images/tiny#tiny")
	other.machine(t, "shared", "image: images/tiny#tiny")
	pr.ok(t, "up", "--no-wait", "shared")
	for _, verb := range []string{"up", "down", "stop"} {
		other.refused(t, 5, []string{verb, "shared"}, "belongs to another project, "+pr.dir, "hint:")
	}
	other.ok(t, "up", "--no-wait", "--adopt", "shared")
	pr.refused(t, 5, []string{"down", "shared"}, "belongs to another project, "+other.dir)
	other.ok(t, "down", "--force", "shared")
}

// closedOutput is a reader that goes away, as head does.
func closedOutput(t *testing.T, pr *project) {
	sh := pr.p.command(t, pr.dir, "bash", "-c", "set -o pipefail; vmctl help | head -1; exit ${PIPESTATUS[0]}")
	r := pr.p.finish(t, sh)
	assert.Contains(t, []int{0, 141}, r.code)
	assert.Empty(t, r.err)
}

// storeFull builds where there is no room for the image.
func storeFull(t *testing.T, pr *project) {
	small := testenv.Dir(t, "")
	require.NoError(t, syscall.Mount("tmpfs", small, "tmpfs", 0, "size=8m,mode=0755"))
	defer func() { require.NoError(t, syscall.Unmount(small, syscall.MNT_DETACH)) }()
	p := root(t)
	p.nix = testenv.NixIn(t, small)
	p.refused(t, 7, pr.dir, []string{"up", "--no-wait", "tiny"}, "a disk is full", "hint:", "nix store gc")
}

// TestPoolFull uploads an image to a pool that has no room for it, and to one that has
// room for nothing else.
func TestPoolFull(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	copyFile(t, pr.image(t, "tiny"), filepath.Join(pr.dir, "disk.qcow2"))
	pr.machine(t, "full", "image: ./disk.qcow2")
	pr.ok(t, "down", "tiny") // the image's root
	require.NoError(t, os.MkdirAll(p.pool, 0o711))
	require.NoError(t, syscall.Mount("tmpfs", p.pool, "tmpfs", 0, "size=200m"))
	defer func() { require.NoError(t, syscall.Unmount(p.pool, syscall.MNT_DETACH)) }()
	room := func(size int64) {
		require.NoError(t, syscall.Mount("tmpfs", p.pool, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", size)))
	}
	before := p.look(t)
	pr.ok(t, "up", "--no-wait", "full")
	var pool syscall.Statfs_t
	require.NoError(t, syscall.Statfs(p.pool, &pool))
	taken := int64(pool.Blocks-pool.Bfree) * pool.Bsize
	pr.ok(t, "down", "--force", "full")
	for _, size := range []int64{8 << 20, taken - 300<<10, taken - 100<<10} {
		room(size)
		pr.refused(t, 5, []string{"up", "--no-wait", "full"}, "there is no space left on the host's disk", "hint:")
		p.nothingLeft(t, before)
	}
	assert.Contains(t, pr.ok(t, "down", "full").err, "nothing to remove")
	// Room for the machine, and for next to nothing that it writes.
	room(taken + 100<<10)
	pr.refused(t, 5, []string{"up", "full"}, "full is paused: there is no room left", "hint:", "virsh -c")
	room(200 << 20)
	p.virsh(t, "resume", "full")
	assert.Contains(t, pr.ok(t, "up", "full").err, "full is ready")
	pr.ok(t, "down", "--force", "full")
	p.nothingLeft(t, before)
}

// TestImageFiles are images that nobody built with nix.
func TestImageFiles(t *testing.T) {
	p := root(t)
	pr := p.project(t)
	image := pr.image(t, "tiny")
	pr.ok(t, "down", "tiny")
	before := p.look(t)
	dir := func(name string) string { return filepath.Join(pr.dir, name) }
	copyFile(t, image, dir("disk.qcow2"))
	t.Run("refused", func(t *testing.T) {
		whole, err := os.ReadFile(image)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(dir("truncated.qcow2"), whole[:len(whole)/2], 0o644))
		require.NoError(t, os.WriteFile(dir("empty.qcow2"), nil, 0o644))
		require.NoError(t, os.WriteFile(dir("text.qcow2"), []byte(strings.Repeat("not an image\n", 100)), 0o644))
		qemuImg(t, "create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", dir("backing.qcow2"), "1G")
		qemuImg(t, "create", "-q", "-f", "qcow2", "-o", "data_file="+dir("data.raw")+",data_file_raw=on", dir("data.qcow2"), "16M")
		secret := fingerprint(t, dir("data.raw"))
		for name, word := range map[string]string{
			"truncated": "cut short", "empty": "is empty", "text": "is not a qcow2", "backing": "backing file", "data": "keeps its data in another file",
		} {
			pr.machine(t, "bad", "image: ./"+name+".qcow2")
			pr.refused(t, 7, []string{"up", "bad"}, name+".qcow2", word)
		}
		pr.machine(t, "bad", "image: ./disc.qcow2")
		pr.refused(t, 4, []string{"up", "bad"}, "there is no image", "disc.qcow2", "did you mean", "disk.qcow2?")
		assert.Equal(t, secret, fingerprint(t, dir("data.raw")), "what an image names is not touched")
	})
	t.Run("shared", func(t *testing.T) {
		original := fingerprint(t, dir("disk.qcow2"))
		pr.machine(t, "tiny", "image: ./disk.qcow2")
		pr.machine(t, "two", "image: ./disk.qcow2")
		assert.Contains(t, pr.ok(t, "up", "tiny").err, "tiny is ready after")
		pr.ok(t, "up", "--no-wait", "two")
		bases := func() []string {
			all, err := filepath.Glob(p.pool + "/base-*.qcow2")
			require.NoError(t, err)
			return all
		}
		require.Len(t, bases(), 1, "uploaded once")
		assert.Contains(t, pr.ok(t, "up", "tiny").err, "tiny is up to date")
		pr.ok(t, "down", "--force", "tiny")
		require.Len(t, bases(), 1, "the other one needs it")
		pr.ok(t, "down", "--force", "two")
		require.Empty(t, bases())
		assert.Equal(t, original, fingerprint(t, dir("disk.qcow2")))
	})
	p.nothingLeft(t, before)
}

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "qemu-img", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestGarbageCollection collects the nix store while a machine runs.
func TestGarbageCollection(t *testing.T) {
	p := root(t)
	testenv.Tool(t, "nix-store")
	p.nix = testenv.NixIn(t, testenv.Dir(t, ""))
	pr := p.project(t)
	before := p.look(t)
	collect := func() {
		out, err := p.command(t, "/", "nix-store", "--gc").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	pr.ok(t, "up", "--no-wait", "tiny")
	image := pr.image(t, "tiny")
	was := fingerprint(t, image)
	collect()
	assert.Equal(t, was, fingerprint(t, image), "a running machine keeps its image")
	pr.ok(t, "stop", "--force", "tiny")
	collect()
	assert.Equal(t, was, fingerprint(t, image), "so does one that is off")
	assert.Contains(t, pr.ok(t, "up", "--no-wait", "tiny").err, "start domain tiny")
	pr.ok(t, "down", "--force", "tiny")
	collect()
	assert.NoFileExists(t, image, "nobody keeps it any more")
	p.nothingLeft(t, before)
}

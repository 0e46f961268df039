//go:build bench

package bench

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/testenv"
)

const (
	// pushedSize is that of the image, pushedNew how much of it is new in its next version, in
	// pushedPlaces, and everything else is at another place there: as in an image of 753 MiB
	// that was rebuilt with 20 store paths changed, of which 13 MiB were new.
	pushedSize   = 753 << 20
	pushedNew    = 13 << 20
	pushedPlaces = 20
)

// slow is a line of 100 Mbit/s, fast one of 1 Gbit/s, both of 20 ms there and back.
func slow() testenv.Shape { return testenv.Shape{Rate: 100e6 / 8, Delay: 10 * time.Millisecond} }
func fast() testenv.Shape { return testenv.Shape{Rate: 1e9 / 8, Delay: 10 * time.Millisecond} }

// pusher measures how images get to a host that is reached by ssh.
type pusher struct {
	*host
	server  *testenv.SSHServer
	project string
	seed    byte
}

// pusher is the other host.
func (h *host) pusher() *pusher {
	testenv.Tool(h.t, "ssh", "sshd", "scp")
	p := &pusher{host: h, server: testenv.SSH(h.t), project: filepath.Join(h.dir, "pushing")}
	require.NoError(h.t, os.MkdirAll(filepath.Join(p.project, "domain"), 0o755))
	p.disk(pushedSize)
	p.up(testenv.Shape{}) // makes the pool, and brings vmctl there
	p.down()
	return p
}

// disk writes the next version of the image, or one that has nothing in common with it, in
// place of the one before. It holds none of it in memory: what a process takes is measured
// from before it begins.
func (p *pusher) disk(fresh int64) string {
	_ = os.Remove(filepath.Join(p.project, p.machine()+".raw"))
	p.seed++
	file := filepath.Join(p.project, p.machine()+".raw")
	out, err := os.Create(file)
	require.NoError(p.t, err)
	ours, old := rand.NewChaCha8([32]byte{p.seed}), rand.NewChaCha8([32]byte{})
	for place := range int64(pushedPlaces) {
		for _, part := range []struct {
			from io.Reader
			size int64
		}{{ours, fresh}, {old, pushedSize - fresh}} {
			blocks := part.size / 4096
			_, err = io.CopyN(out, part.from, (blocks*(place+1)/pushedPlaces-blocks*place/pushedPlaces)*4096)
			require.NoError(p.t, err)
		}
	}
	_, err = out.WriteAt([]byte{0x55, 0xaa}, 510) // a disk has a partition table
	require.NoError(p.t, err)
	require.NoError(p.t, out.Sync()) // what is still to be written would slow the next to write down
	require.NoError(p.t, out.Close())
	definition := "image: ./" + p.machine() + ".raw\nmemory: 32MiB\ncpus: 1\nnetwork: none\naccel: tcg\n"
	require.NoError(p.t, os.WriteFile(filepath.Join(p.project, "domain", p.machine()+".yaml"), []byte(definition), 0o644))
	return file
}

// machine is the name of the one whose image was written last.
func (p *pusher) machine() string { return fmt.Sprintf("pushed%d", p.seed) }

// up brings the machine up on the image by a wire, and counts what goes over it.
func (p *pusher) up(shape testenv.Shape) (run, float64) {
	wire, uri := p.server.Through(p.t, shape)
	return p.upBy(wire, uri)
}

func (p *pusher) upBy(wire *testenv.Link, uri string) (run, float64) {
	before := wire.Up.Load()
	r := p.time(p.vmctl, "--progress", "json", "-C", p.project, "-c", uri, "up", "--no-wait", p.machine())
	return r, float64(wire.Up.Load()-before) / (1 << 20)
}

// pushed is the part of an up that a vol-upload is, from its start until the image was whole
// on the host: what follows makes a machine of it.
func (p *pusher) pushed(r run) run {
	marked := regexp.MustCompile(`"time":"([^"]*)","id":"[^"]*create volume base-[^"]*[.]ok","status":"done"`).FindStringSubmatch(r.said)
	require.Len(p.t, marked, 2, r.said)
	at, err := time.Parse(time.RFC3339, marked[1])
	require.NoError(p.t, err)
	r.wall = at.Sub(r.began)
	return r
}

func (p *pusher) down() {
	p.must(p.vmctl, "-C", p.project, "-c", "qemu:///system", "down", "--force", "--all")
	p.must(p.vmctl, "-C", p.project, "-c", "qemu:///system", "image", "prune")
}

// volUpload is what virsh takes for it.
func (p *pusher) volUpload(shape testenv.Shape, file string) (run, float64) {
	wire, uri := p.server.Through(p.t, shape)
	r := p.time("virsh", "-c", uri, fmt.Sprintf("vol-create-as vmctl reference.raw %d --allocation 0 --format raw; vol-upload --pool vmctl reference.raw %s --sparse", pushedSize, file))
	p.must("virsh", "vol-delete --pool vmctl reference.raw")
	return r, float64(wire.Up.Load()) / (1 << 20)
}

func (p *pusher) scp(shape testenv.Shape, file string) (run, float64) {
	wire, uri := p.server.Through(p.t, shape)
	u, err := url.Parse(uri)
	require.NoError(p.t, err)
	to := filepath.Join(p.dir, "copied.raw")
	r := p.time("scp", "-q", "-P", u.Port(), file, "root@127.0.0.1:"+to)
	require.NoError(p.t, os.Remove(to))
	return r, float64(wire.Up.Load()) / (1 << 20)
}

// first compares an image that has nothing in common with what is there.
func (p *pusher) first() ([]row, []amount) {
	file := p.disk(pushedSize / 2)
	ours, sent := p.up(slow())
	p.down()
	virsh, virshSent := p.volUpload(slow(), file)
	scp, _ := p.scp(slow(), file)
	return []row{
		compare("`up`, first push, 100 Mbit/s, 20 ms", "`virsh vol-upload --sparse`", "≤ 1.1", []run{ours}, []run{virsh}),
		compare("`up`, first push, 100 Mbit/s, 20 ms", "`scp`", "≤ 1.1", []run{ours}, []run{scp}),
	}, []amount{{What: "first push, on the wire", Vmctl: sent, Reference: "`virsh vol-upload --sparse`", Other: virshSent, Target: "≤ 1.1"}}
}

// whole compares an image of which the host has nothing with a plain copy over the same ssh,
// on a line that is as fast as the machine: what both do costs the processor alone.
func (p *pusher) whole(rounds int) row {
	var ours, theirs []run
	for range rounds {
		file := p.disk(pushedSize)
		r, _ := p.up(testenv.Shape{})
		ours = append(ours, p.pushed(r))
		p.down()
		theirs = append(theirs, p.cat(file))
	}
	return compare("first push, no limit to the line", "`cat` into `ssh` with the same cipher", "≤ 1.15", ours, theirs)
}

// cat is what a shell takes to copy a file there.
func (p *pusher) cat(file string) run {
	_, uri := p.server.Through(p.t, testenv.Shape{})
	u, err := url.Parse(uri)
	require.NoError(p.t, err)
	to := filepath.Join(p.dir, "copied.raw")
	r := p.time("sh", "-c", fmt.Sprintf("cat %s | ssh -p %s root@127.0.0.1 'cat >%s'", file, u.Port(), to))
	require.NoError(p.t, os.Remove(to))
	return r
}

// rebuilt compares the next version of an image that is there.
func (p *pusher) rebuilt(rounds int) (rows []row, amounts []amount) {
	p.disk(pushedNew)
	p.up(testenv.Shape{}) // the version that the others are rebuilt from; it stays
	for _, line := range []struct {
		name, target string
		shape        testenv.Shape
	}{{"100 Mbit/s", "≤ 1/15", slow()}, {"1 Gbit/s", "≤ 1/3", fast()}} {
		var ups, ours, theirs []run
		var sent, theirsSent float64
		for range rounds {
			file := p.disk(pushedNew)
			r, n := p.up(line.shape)
			ups, ours, sent = append(ups, r), append(ours, p.pushed(r)), n
			p.must(p.vmctl, "-C", p.project, "-c", "qemu:///system", "down", "--force", p.machine())
			p.must(p.vmctl, "-C", p.project, "-c", "qemu:///system", "image", "prune")
			r, theirsSent = p.volUpload(line.shape, file)
			theirs = append(theirs, r)
		}
		rows = append(rows,
			compare("push of a rebuilt image, "+line.name+", 20 ms", "`virsh vol-upload --sparse`", line.target, ours, theirs),
			compare("`up` with it, until the machine runs, "+line.name, "`virsh vol-upload --sparse`", "", ups, theirs))
		if len(amounts) == 0 {
			amounts = append(amounts, amount{What: "push of a rebuilt image, on the wire", Vmctl: sent, Reference: "`virsh vol-upload --sparse`", Other: theirsSent, Target: "≤ 1/40"})
		}
	}
	p.down()
	return rows, amounts
}

// memory compares what an upload of 10 GiB by content takes.
func (p *pusher) memory() amount {
	_, uri := p.server.Through(p.t, testenv.Shape{})
	return p.upload("by content, over ssh", uri)
}

// resumed compares the rest of an upload that was cut at 90 % with all of it, through
// libvirt alone.
func (p *pusher) resumed() row {
	cache := filepath.Join("/run/root", ".cache/vmctl/host")
	require.NoError(p.t, os.RemoveAll(cache))
	require.NoError(p.t, os.WriteFile(cache, nil, 0o600)) // vmctl cannot be brought there
	defer func() { _ = os.Remove(cache) }()
	p.disk(pushedSize)
	whole, _ := p.up(slow())
	p.down()
	p.disk(pushedSize)
	wire, uri := p.server.Through(p.t, slow())
	wire.After(pushedSize/10*9, wire.Close)
	_, err := timed(p.command(p.vmctl, "-C", p.project, "-c", uri, "up", "--no-wait", p.machine()))
	require.ErrorContains(p.t, err, "have arrived")
	rest, sent := p.upBy(wire, uri)
	assert.Less(p.t, sent, pushedSize/5/float64(1<<20))
	p.down()
	return compare("`up` after a cut at 90 %, libvirt alone, 100 Mbit/s, 20 ms", "`up` without one", "≤ 0.2", []run{rest}, []run{whole})
}

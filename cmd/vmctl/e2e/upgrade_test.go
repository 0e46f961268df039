//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/testenv"
)

// older are the domains that older versions of vmctl defined, as libvirt kept them, one for
// each form that the metadata had. They never change: vmctl must take over such machines
// for as long as there are any.
var older = []string{"first", "lives", "volumes", "settings", "reports"}

// golden is the domain XML of an older version, for this host.
func (pr *project) golden(t *testing.T, name, image, id string) string {
	t.Helper()
	xml, err := os.ReadFile(filepath.Join("testdata/upgrade", name+".xml"))
	require.NoError(t, err)
	return strings.NewReplacer("@IMAGE@", image, "@ID@", id, "@POOL@", pr.p.pool, "@PROJECT@", pr.dir).Replace(string(xml))
}

func (p *person) define(t *testing.T, xml string) {
	t.Helper()
	file := filepath.Join(testenv.Dir(t, ""), "domain.xml")
	require.NoError(t, os.WriteFile(file, []byte(xml), 0o644))
	p.virsh(t, "pool-refresh", "vmctl") // disks were made beside libvirt
	p.virsh(t, "define", file)
}

// TestUpgrade takes over machines of older versions, and leaves those of newer ones alone.
func TestUpgrade(t *testing.T) {
	p := root(t)
	testenv.Tool(t, "qemu-io")
	pr := p.project(t)
	image := pr.image(t, "tiny")
	pr.ok(t, "up", "--no-wait", "tiny") // makes the pool
	id := regexp.MustCompile(`<vmctl:image>(.*)</vmctl:image>`).FindStringSubmatch(p.virsh(t, "dumpxml", "tiny"))[1]
	pr.ok(t, "down", "--force", "tiny")
	before := p.look(t)
	disk, data := p.volume("old"), filepath.Join(p.pool, engine.DataVolume("old", "data"))

	for _, name := range older {
		t.Run("from "+name, func(t *testing.T) {
			xml := pr.golden(t, name, image, id)
			lines := []string{"disk: 256MiB", "firmware: efi", `ports: ["127.0.0.1:2299:22"]`}
			if strings.Contains(xml, "vmctl:volume") {
				lines = append(lines, "volumes: {data: 64MiB}")
				qemuImg(t, "create", "-q", "-f", "qcow2", data, "64M")
				qemuIO(t, "write "+patterned, data)
			}
			if strings.Contains(xml, `key="tpm"`) {
				lines = append(lines, "tpm: true", "watchdog: reset")
			}
			pr.machine(t, "old", lines...)
			qemuImg(t, "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", disk, "256M")
			qemuIO(t, "write -P 0xd4 200M 1M", disk)
			p.define(t, xml)
			p.virsh(t, "start", "old")
			running := qemus(t)

			assert.NotContains(t, pr.vmctl(t, "plan", "old").out, "DESTROYS DATA")
			pr.ok(t, "up", "--no-wait", "old")
			assert.Equal(t, running, qemus(t), "its guest runs on")
			pr.ok(t, "stop", "--force", "old")
			pr.ok(t, "up", "--no-wait", "old")
			assert.Contains(t, pr.ok(t, "up", "--no-wait", "old").err, "old is up to date")
			pr.ok(t, "stop", "--force", "old")
			qemuIO(t, "read -P 0xd4 200M 1M", disk)
			if strings.Contains(xml, "vmctl:volume") {
				qemuIO(t, "read "+patterned, data)
			}
			pr.ok(t, "down", "--volumes", "--yes", "old")
			p.nothingLeft(t, before)
		})
	}
	t.Run("from the future", func(t *testing.T) {
		pr.machine(t, "old", "disk: 256MiB", "firmware: efi")
		qemuImg(t, "create", "-q", "-f", "qcow2", data, "64M")
		qemuImg(t, "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", disk, "256M")
		p.define(t, strings.Replace(pr.golden(t, "reports", image, id), `version="1" rendering="2" by="dev"`, `version="2" rendering="1" by="9.9.9"`, 1))
		look := func() []string {
			return []string{p.virsh(t, "dumpxml", "old"), fingerprint(t, disk), fingerprint(t, data)}
		}
		was := look()
		for _, verb := range []string{
			"up old", "up --replace --adopt old", "up --restart old", "plan old", "down old", "down --force --volumes --yes old",
			"start old", "stop old", "restart old",
			"volume create old/more 64MiB", "volume resize old/data 128MiB",
		} {
			pr.refused(t, 5, strings.Fields(verb), "machine old was made by a newer vmctl (9.9.9)", "hint: use that version, or a newer one")
		}
		for _, verb := range []string{"list", "info old", "volume list", "image list", "image prune"} {
			r := pr.ok(t, strings.Fields(verb)...)
			assert.True(t, verb == "image prune" || strings.Contains(r.out, "old"), "%s\n%s", verb, r.out)
		}
		assert.Equal(t, was, look(), "not a byte of it has changed")
		p.virsh(t, "undefine", "--nvram", "old")
		require.NoError(t, os.Remove(disk))
		require.NoError(t, os.Remove(data))
		pr.ok(t, "down", "old") // what up had built is kept for as long as there is such a machine
		p.nothingLeft(t, before)
	})
}

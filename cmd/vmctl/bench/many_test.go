//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"
)

// many compares 20 machines of one image with a loop of virsh that has everything ready:
// one virsh a machine, as a script would have it.
func (h *host) many(rounds int) []row {
	const machines = 20
	var names, started, removed []string
	for i := range machines {
		name := fmt.Sprintf("many-%02d", i)
		names = append(names, name)
		definition := "image: images/tiny\nmemory: 64MiB\ncpus: 1\ndisk: 1GiB\nnetwork: none\n"
		require.NoError(h.t, os.WriteFile(filepath.Join(h.project, "domain", name+".yaml"), []byte(definition), 0o644))
	}
	// The references are machines just like these.
	h.must(append([]string{h.vmctl, "-C", h.project, "up", "--no-wait"}, names...)...)
	for i, name := range names {
		reference := fmt.Sprintf("reference-%02d", i)
		domain, volume := h.like(name, reference)
		started = append(started, fmt.Sprintf("virsh 'vol-create vmctl %s; define %s; start %s'", volume, domain, reference))
		removed = append(removed, fmt.Sprintf("virsh 'destroy %s; undefine %[1]s; vol-delete --pool vmctl %[1]s.qcow2'", reference))
	}
	h.must(append([]string{h.vmctl, "-C", h.project, "down", "--force"}, names...)...)
	var up, down, upLoop, downLoop []run
	for range rounds {
		up = append(up, h.time(append([]string{h.vmctl, "-C", h.project, "up", "--no-wait"}, names...)...))
		down = append(down, h.time(append([]string{h.vmctl, "-C", h.project, "down", "--force"}, names...)...))
		upLoop = append(upLoop, h.time("sh", "-ec", strings.Join(started, "\n")))
		downLoop = append(downLoop, h.time("sh", "-ec", strings.Join(removed, "\n")))
	}
	for _, name := range names {
		require.NoError(h.t, os.Remove(filepath.Join(h.project, "domain", name+".yaml")))
	}
	return []row{
		compare(fmt.Sprintf("`up` of %d machines", machines), "a loop of `virsh` with vol-create, define, start", "≤ 0.40", up, upLoop),
		compare(fmt.Sprintf("`down --force` of %d machines", machines), "a loop of `virsh` with destroy, undefine, vol-delete", "≤ 0.10", down, downLoop),
	}
}

package enginetest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Dump is all that is on the host, in words: two hosts on which it is the same cannot be told
// apart by their users, except by time.
func (h *Host) Dump() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "pool %s %s autostart %t\n", h.pool.Name, h.pool.State, h.pool.Autostart)
	for _, name := range sortedKeys(h.domains) {
		d := h.domains[name]
		fmt.Fprintf(&b, "domain %s %s %s autostart %t saved %t\n\tdefined %s\n", name, d.uuid, d.state, d.autostart, d.managedSave, d.config)
		if d.live != nil {
			fmt.Fprintf(&b, "\truns %s with %s, %d CPUs\n", d.live, d.memory, d.cpus)
		}
	}
	for _, name := range sortedKeys(h.volumes) {
		v := h.volumes[name]
		content := ""
		if len(v.content) > 0 {
			content = fmt.Sprintf(" holds %x", sha256.Sum256(v.content))
		}
		fmt.Fprintf(&b, "volume %s %s %d on %q encrypted %t%s\n", name, v.Format, v.Capacity, v.Backing, v.Encrypted, content)
	}
	for _, uuid := range sortedKeys(h.secrets) {
		fmt.Fprintf(&b, "secret %s %s value %t\n", uuid, h.secrets[uuid].Volume, len(h.secrets[uuid].value) > 0)
	}
	for _, name := range slices.Sorted(maps.Keys(h.networks)) {
		fmt.Fprintf(&b, "network %s active %t %v\n", name, h.networks[name], h.reserved[name])
	}
	return b.String()
}

// String is the definition with its record.
func (d *definition) String() string {
	record := "no record"
	if d.record != nil {
		record = fmt.Sprintf("%+v", *d.record)
	}
	return fmt.Sprintf("%s %d CPUs disks %v attached %v network %q ports %v log %q graphics %q (%s)",
		d.memory, d.cpus, d.disks, d.attached, d.network, d.ports, d.log, d.graphics, record)
}

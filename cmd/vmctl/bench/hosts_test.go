//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
	"vmctl/pkg/testenv"
)

const (
	// far is the round trip to a host that is not next door.
	far = 20 * time.Millisecond
	// many is how many domains a host has that has many.
	many = 1000
)

// crowded measures what a host with many domains costs.
func (h *host) crowded(rounds int) ([]row, []amount) {
	var rows []row
	xml := h.tinyXML()
	link := testenv.RPC(h.t, testenv.Shape{Delay: far / 2})
	lists := func(what, local, remote string) {
		rows = append(rows,
			h.lists(what+", here", local, testenv.System, rounds),
			h.lists(what+", 20 ms away", remote, link.URI(), min(rounds, 3)))
	}
	h.defineMany(xml, false)
	const what = "`list -a` of 1,000 foreign domains"
	lists(what, "≤ 0.125", "≤ 0.033")
	here := rows[0]
	memory := amount{What: "peak memory of " + what, Vmctl: here.PeakMiB, Reference: here.Reference, Other: here.OtherPeakMiB, Target: "≤ 1"}
	h.undefineMany()
	h.defineMany(xml, true)
	lists("`list -a` of 1,000 machines of vmctl's", "", "")
	h.undefineMany()
	return rows, []amount{memory}
}

func (h *host) lists(what, target, uri string, rounds int) row {
	var ours, theirs []run
	for range rounds {
		ours = append(ours, h.time(h.vmctl, "-C", h.project, "-c", uri, "list", "-a"))
		theirs = append(theirs, h.time("virsh", "-c", uri, "list", "--all"))
	}
	return compare(what, "`virsh list --all`", target, ours, theirs)
}

// tinyXML is the XML of a machine as vmctl defines it.
func (h *host) tinyXML() string {
	h.must(h.vmctl, "-C", h.project, "up", "--no-wait", "tiny")
	xml := h.must("virsh", "dumpxml", "--inactive", "tiny")
	h.must(h.vmctl, "-C", h.project, "down", "--force", "tiny")
	return xml
}

func (h *host) manyNames() []string {
	names := make([]string, many)
	for i := range names {
		names[i] = fmt.Sprintf("many-%04d", i)
	}
	return names
}

// defineMany defines domains like a machine of vmctl's, with or without its metadata.
func (h *host) defineMany(xml string, ours bool) {
	var script strings.Builder
	for _, name := range h.manyNames() {
		id, text := engine.UUID(name), xml
		if !ours {
			id, text = uuid.NewString(), regexp.MustCompile(`(?s)<metadata>.*</metadata>`).ReplaceAllString(text, "")
		}
		text = regexp.MustCompile(`<uuid>.*</uuid>`).ReplaceAllString(text, "<uuid>"+id+"</uuid>")
		text = strings.Replace(text, "<name>tiny</name>", "<name>"+name+"</name>", 1)
		text = regexp.MustCompile(`<mac address='[^']*'/>`).ReplaceAllString(text, "")
		file := filepath.Join(h.dir, name+".xml")
		require.NoError(h.t, os.WriteFile(file, []byte(text), 0o644))
		fmt.Fprintf(&script, "define %s\n", file)
	}
	h.virshScript(script.String())
}

func (h *host) undefineMany() {
	var script strings.Builder
	for _, name := range h.manyNames() {
		fmt.Fprintf(&script, "undefine %s\n", name)
	}
	h.virshScript(script.String())
}

func (h *host) virshScript(script string) {
	cmd := h.command("virsh")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	require.NoError(h.t, err, "%s", out)
}

// farUp compares bringing up a second machine on an image that the host has, over ssh,
// with three calls of virsh for a machine just like it.
func (h *host) farUp(rounds int) row {
	server := testenv.SSH(h.t)
	link := testenv.TCP(h.t, fmt.Sprintf("127.0.0.1:%d", server.Port), testenv.Shape{Delay: far / 2})
	server.Port, _ = strconv.Atoi(link.Port())
	server.Trust(h.t)
	uri := server.URI()
	definition, err := os.ReadFile(filepath.Join(h.project, "domain/tiny.yaml"))
	require.NoError(h.t, err)
	other := strings.ReplaceAll(string(definition), ":2222:", ":2223:")
	require.NoError(h.t, os.WriteFile(filepath.Join(h.project, "domain/second.yaml"), []byte(other), 0o644))
	up := []string{h.vmctl, "-C", h.project, "-c", uri, "up", "--no-wait"}
	h.must(append(up, "tiny")...) // the image is there now, and stays
	h.must("virsh", "destroy", "tiny")
	var ours, theirs []run
	for range rounds {
		link.Reset()
		ours = append(ours, h.time(append(up, "second")...))
		require.Equal(h.t, 1, link.Connections(), "one ssh handshake")
		h.must(h.vmctl, "-C", h.project, "-c", uri, "down", "--force", "second")
		theirs = append(theirs, h.time("sh", "-c", fmt.Sprintf("virsh -c %[1]s vol-create vmctl %[2]s && virsh -c %[1]s define %[3]s && virsh -c %[1]s start reference", uri, h.volume, h.domain)))
		h.must("virsh", "destroy reference; undefine reference; vol-delete --pool vmctl reference.qcow2")
	}
	h.must(h.vmctl, "-C", h.project, "-c", uri, "down", "--force", "tiny")
	require.NoError(h.t, os.Remove(filepath.Join(h.project, "domain/second.yaml")))
	return compare("`up` on an image that is there, over ssh, 20 ms away", "three `virsh`: vol-create, define, start", "≤ 0.5", ours, theirs)
}

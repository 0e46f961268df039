package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/libvirt/domainxml"
	"vmctl/pkg/spec"
)

// Every golden definition passes libvirt's own schema.
func TestGoldenDefinitionsAreValid(t *testing.T) {
	goldens, err := filepath.Glob("domainxml/testdata/*.xml")
	require.NoError(t, err)
	require.NotEmpty(t, goldens)
	for _, golden := range goldens {
		t.Run(filepath.Base(golden), func(t *testing.T) {
			content, err := os.ReadFile(golden)
			require.NoError(t, err)
			err = valid(t, string(content))
			if strings.Contains(string(content), "passt") && err != nil && strings.Contains(err.Error(), "element 'backend': 'passt'") {
				t.Skip("this libvirt was built without passt")
			}
			require.NoError(t, err)
		})
	}
}

// valid lets libvirt's parser and schema look at a definition, on a host of its own
// in memory. It knows one kind of guest only, which says nothing about the schema.
func valid(t testing.TB, xml string) error {
	t.Helper()
	node := filepath.Join(t.TempDir(), "node.xml")
	require.NoError(t, os.WriteFile(node, []byte("<node/>"), 0o600))
	_, closer, err := Open(t.Context(), "test://"+node)
	require.NoError(t, err)
	c := closer.(*conn)
	defer func() { require.NoError(t, c.Close()) }()
	d, err := c.l.DomainDefineXMLFlags(xml, golibvirt.DOMAIN_DEFINE_VALIDATE)
	if err != nil {
		return err
	}
	return d.Free()
}

func FuzzDefinition(f *testing.F) {
	f.Add("example", "/root.qcow2", "/base.raw", "default", "/project", "image")
	f.Add("-rf", "a,b", "\x00", "<&>'\"", "]]>", "\u202e\ufffe")
	f.Fuzz(func(t *testing.T, name, root, base, network, project, source string) {
		record := engine.Record{Version: 1, Project: project, Source: source, Network: network}
		metadata, err := definitionMetadata(record)
		require.NoError(t, err)
		text, err := domainxml.Render(domainxml.Config{
			UUID: engine.UUID(name), Arch: "x86_64", Root: root, BasePath: base, BaseFormat: "raw", Metadata: metadata,
			Machine: spec.Machine{Name: name, Accel: spec.AccelTCG, Network: network, Memory: spec.GiB, CPUs: 1},
		})
		if err != nil {
			return
		}
		parsed, err := parseDomain(text)
		require.NoError(t, err)
		require.Len(t, parsed.Metadata.Record, 1, "nothing breaks out of its element")
		require.Len(t, parsed.Disks, 1)
	})
}

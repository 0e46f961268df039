package domainxml

import (
	"encoding/xml"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/spec"
)

// FuzzMerge: whatever a fragment is, even one that no definition may have, what makes the
// domain vmctl's stays as it was, and what comes out is XML.
func FuzzMerge(f *testing.F) {
	f.Add("devices", "<sound model='ich9'/>")
	f.Add("devices", "</devices><name>evil</name><devices>")
	f.Add("", "<!-- -->")
	f.Add("devices/disk", "<readonly/>")
	f.Add("devices/disk[2]/source", "<x/>")
	f.Add("", "<name>evil</name>")
	f.Add("", "</domain><domain type='kvm'>")
	f.Add("metadata", "<![CDATA[")
	f.Add("devices", "<disk type='file'><source file='/etc/shadow'/></disk>")
	const domain = `<domain type="kvm">
  <name>example</name>
  <uuid>d02b2cdb-0000-5000-8000-000000000000</uuid>
  <metadata><vmctl:machine xmlns:vmctl="urn:vmctl:machine" version="1"></vmctl:machine></metadata>
  <devices>
    <disk type="file"><source file="/root.qcow2"></source></disk>
  </devices>
</domain>`
	own, disks := identity(domain, -1)
	f.Fuzz(func(t *testing.T, at, add string) {
		merged, err := merge(domain, []spec.Fragment{{At: at, Add: add}})
		if err != nil {
			return
		}
		now, _ := identity(merged, disks)
		assert.Equal(t, own, now)
		require.NoError(t, xml.Unmarshal([]byte(merged), new(inner)))
	})
}

package domainxml

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// told is a definition as a host has it, with what a relocation may meet.
const told = `<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web</name>
  <metadata>
    <vmctl:machine xmlns:vmctl="urn:vmctl:machine" version="1">
      <vmctl:base>/nix/store/a-disk/nixos.qcow2</vmctl:base>
      <vmctl:volume name="data" path="/pool/web.data.qcow2"/>
      <vmctl:moving to="qemu+ssh://b/system" deciding="true"><vmctl:x/></vmctl:moving>
    </vmctl:machine>
  </metadata>
  <os firmware='efi'>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/pool/web.efi.vars</nvram>
  </os>
  <devices>
    <disk type='file' device='disk'>
      <source file='/pool/web.root.qcow2'>
        <seclabel model='dac' relabel='no'/>
      </source>
      <backingStore type='file'>
        <source file="/nix/store/a-disk/nixos.qcow2">
          <seclabel model='dac' relabel='no'/>
        </source>
        <backingStore/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/pool/web.data.qcow2'/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/else/where'><seclabel model='dac' relabel='no'/></source>
    </disk>
    <serial type='pty'><log file='/pool/web.console.log' append='off'/></serial>
    <unknown a='&lt;&apos;' file='/pool/web.data.qcow2x'>text &amp; more</unknown>
  </devices>
  <seclabel type='dynamic'/>
</domain>
`

func relocated(t *testing.T, boots bool) string {
	t.Helper()
	out, err := Relocate(told, Relocation{Boots: boots, Drop: []string{"vmctl:moving"}, Paths: map[string]string{
		"/nix/store/a-disk/nixos.qcow2": "/other/base<&'>.qcow2", "/pool/web.root.qcow2": "/other/web.root.qcow2",
		"/pool/web.data.qcow2": "/other/web.data.qcow2", "/pool/web.efi.vars": "/other/web.efi.vars", "/pool/web.console.log": "/other/web.console.log",
	}})
	require.NoError(t, err)
	return out
}

func TestRelocate(t *testing.T) {
	out := relocated(t, true)
	for _, has := range []string{
		`<vmctl:base>/other/base&lt;&amp;&#39;&gt;.qcow2</vmctl:base>`,
		`<vmctl:volume name='data' path='/other/web.data.qcow2'/>`,
		`<type arch='x86_64' machine='q35'>hvm</type>`,
		`<nvram>/other/web.efi.vars</nvram>`,
		`<source file='/other/base&lt;&amp;&#39;&gt;.qcow2'>`,
		`<source file='/else/where'><seclabel model='dac' relabel='no'/></source>`,
		`<log file='/other/web.console.log' append='off'/>`,
		`<unknown a='&lt;&apos;' file='/pool/web.data.qcow2x'>text &amp; more</unknown>`,
		`<seclabel type='dynamic'/>`,
	} {
		assert.Contains(t, out, has)
	}
	for _, not := range []string{"moving", "vmctl:x", "/nix/store", "<loader", "template"} {
		assert.NotContains(t, out, not)
	}
	assert.Equal(t, 1, strings.Count(out, "relabel='no'"), "files that are others now belong to others")
}

func TestRelocateWhatRuns(t *testing.T) {
	out := relocated(t, false)
	assert.Contains(t, out, "machine='pc-q35-7.2'", "a guest that runs keeps its board")
	assert.Contains(t, out, "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>")
	assert.Contains(t, out, "<log file='/other/web.console.log' append='on'/>", "what was printed before stays")
}

func FuzzRelocate(f *testing.F) {
	f.Add(told, "/pool/web.root.qcow2")
	f.Add("</a>", "")
	f.Add("<a><b/></c></a></a>", "b")
	f.Fuzz(func(t *testing.T, text, path string) {
		same, err := Relocate(text, Relocation{})
		if err != nil {
			return
		}
		// Without anything to change only a log that is begun anew differs.
		again, err := Relocate(same, Relocation{})
		require.NoError(t, err)
		assert.Equal(t, same, again)
		_, _ = Relocate(text, Relocation{Paths: map[string]string{path: "<"}, Boots: true, Drop: []string{path}})
	})
}

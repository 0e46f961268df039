package builder

import (
	"os"
	"regexp"
)

// maxDrv bounds what is read of a derivation.
const maxDrv = 4 << 20

// platform is where a derivation's text names its system: behind the list of its sources
// and before its builder (src/libstore/derivations.cc of nix).
var platform = regexp.MustCompile(`\],"(x86_64|aarch64|riscv64|powerpc64le|s390x|loongarch64)-linux","`)

// archOf is the architecture that a derivation names, in libvirt's words; empty when it is
// gone, or names another than those that only a machine of their own kind runs.
func archOf(drv string) string {
	info, err := os.Stat(drv)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxDrv {
		return ""
	}
	text, err := os.ReadFile(drv)
	if err != nil {
		return ""
	}
	found := platform.FindSubmatch(text)
	switch {
	case found == nil:
		return ""
	case string(found[1]) == "powerpc64le":
		return "ppc64le"
	}
	return string(found[1])
}

package builder

import (
	"path/filepath"
	"strings"
)

// describe is what a build is doing, in a few words: its step where we know it, and the
// last line; else nix's phase.
func (l *buildLog) describe(line string) string {
	what := l.step
	switch {
	case what != "" && line != "" && step(line) == "":
		what += ": " + strings.TrimSpace(line)
	case what != "":
	case line != "":
		what = strings.TrimSpace(line)
	default:
		what = strings.TrimSuffix(l.phase, "Phase")
	}
	if what == "" {
		return drvName(l.drv)
	}
	return drvName(l.drv) + ": " + what
}

// step recognises the steps of a NixOS disk image's build by the lines with which
// nixpkgs' make-disk-image and nixos-install begin them.
func step(line string) string {
	line = strings.ToLower(line)
	for _, s := range [...]struct{ begins, means string }{
		{"running nixos-install", "installing the system"},
		{"copying channel", "copying the channel"},
		{"creating filesystem", "making the file system"},
		{"mke2fs ", "making the file system"},
		{"copying staging root to image", "copying files into the image"},
		{"copying store paths to image", "copying files into the image"},
		{"starting vm", "starting a machine to install the boot loader"},
		{"linux version ", "starting a machine to install the boot loader"},
		{"installing the grub 2 boot loader", "installing the boot loader"},
		{"updating grub 2 menu", "installing the boot loader"},
		{"initializing systemd-boot", "installing the boot loader"},
		{"copying kernels and initrds", "installing the boot loader"},
		{"+ qemu-img convert", "converting the image"},
		{"qemu-img convert", "converting the image"},
		{"converting image", "converting the image"},
	} {
		i := strings.Index(line, s.begins)
		// Before it may stand a kernel's time stamp or a shell's "+ ", no sentence.
		if i >= 0 && !strings.ContainsAny(line[:i], "abcdefghijklmnopqrstuvwxyz") {
			return s.means
		}
	}
	return ""
}

// drvName is the readable part of a store path: /nix/store/<hash>-name.drv → name.
func drvName(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), ".drv")
	if hash, name, ok := strings.Cut(base, "-"); ok && len(hash) == 32 {
		return name
	}
	return base
}

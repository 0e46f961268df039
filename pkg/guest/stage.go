package guest

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// stage is how far a guest came, as its console tells.
type stage int

// The stages, in their order.
const (
	atNothing stage = iota
	atFirmware
	atLoader
	atKernel
	atPanic
	atEmergency
	atLogin
)

// signs are what a console prints at a stage. They are searched for in all it printed.
var signs = []struct {
	stage   stage
	pattern string
}{
	{atFirmware, `SeaBIOS|BdsDxe|UEFI Interactive Shell|Booting from |No bootable device|PXE-E|iPXE`},
	{atLoader, "(?i)GRUB|(SYS|EXT|ISO)LINUX|systemd-boot|Loading (Linux|initial ramdisk)|Booting `"},
	{atKernel, `Linux version |Decompressing Linux|(?m)^\[ *[0-9]+\.[0-9]{6}\] `},
	{atLogin, ""},
	{atEmergency, `(?i)You are in (emergency|rescue) mode|\(initramfs\)|Give root password for maintenance|Press Enter for maintenance`},
	{atPanic, `Kernel panic - not syncing`},
}

// unbootable and refused are what firmware says when it finds nothing that it may boot.
var (
	unbootable = regexp.MustCompile(`No bootable device|not a bootable disk|No bootable option or device was found|BdsDxe: No bootable`)
	refused    = regexp.MustCompile(`(?m)^.*(Access Denied|Security Violation).*$`)
	panicLine  = regexp.MustCompile(`Kernel panic - not syncing[^\n]*`)
)

// stageOf is the furthest that a console's text shows; a panic or an emergency is where a
// guest stays.
func stageOf(text string) stage {
	at := atNothing
	if strings.TrimSpace(text) != "" {
		at = atFirmware
	}
	for _, s := range signs {
		if s.stage == atLogin && at == atEmergency {
			continue
		}
		if s.stage == atLogin && asked(text) || s.pattern != "" && regexp.MustCompile(s.pattern).MatchString(text) {
			at = s.stage
		}
	}
	return at
}

// login is a line at which a console asked for a login, whatever was typed there; "Last
// login: Tue …" is none.
var login = regexp.MustCompile(`(?i)\blogin: *(\S*)$`)

// typed is the most that is taken for the name that somebody typed at a login.
const typed = 40

// asked says whether a console asked for a login on any line.
func asked(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if !strings.Contains(line, "ogin:") || len(line) >= 200 {
			continue
		}
		if found := login.FindStringSubmatch(line); found != nil && utf8.RuneCountInString(found[1]) <= typed {
			return true
		}
	}
	return false
}

// sentence says where the guest stands, for people.
func sentence(text string) string {
	switch stageOf(text) {
	case atNothing:
		return "its console printed nothing: the firmware found nothing to boot, or the guest does not use the serial console"
	case atFirmware:
		if unbootable.MatchString(text) {
			return "the firmware found nothing to boot on its disk"
		}
		return "it has not come beyond the firmware"
	case atLoader:
		return "the boot loader has not started a kernel"
	case atKernel:
		return "its kernel runs, and the system in it is not up"
	case atPanic:
		return "its kernel stopped: " + panicLine.FindString(text)
	case atEmergency:
		return "its system stopped in emergency mode"
	default:
		return "it asks for a login"
	}
}

// secureBootRefusal says that the firmware refused what it found, and what came after.
func secureBootRefusal(text string) bool {
	at := refused.FindStringIndex(text)
	return at != nil && stageOf(text[at[1]:]) <= atFirmware
}

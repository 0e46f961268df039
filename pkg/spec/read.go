package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

const (
	networkLength  = 64
	networkPattern = `^[A-Za-z0-9_][A-Za-z0-9_.-]*$`
)

func readImage(p *parser, v value) {
	if s, ok := p.text1(v, "text", "name a flake or a file, such as images/"+p.m.Name); ok {
		var image Image
		if keep(p, v, &image, s, ParseImage) {
			p.m.Image.Kind, p.m.Image.Ref, p.m.Image.Attr = image.Kind, image.Ref, image.Attr
		}
	}
}

func readMemory(p *parser, v value) {
	readSize(p, v, &p.m.Memory, minMemory, maxMemory, memoryUnit)
}

func readDisk(p *parser, v value) {
	readSize(p, v, &p.m.Disk, minDisk, maxDisk, diskUnit)
}

func readSize(p *parser, v value, dst *Size, least, most, unit Size) {
	s, ok := scalarText(v.node)
	if _, isBool := v.node.(*ast.BoolNode); !ok || isBool {
		p.mismatch(v, "a size", "write a number and a unit, such as 2GiB")
		return
	}
	size, err := ParseSize(s)
	switch {
	case err != nil:
		p.fail(v.at, v.path, err)
	case size < least:
		p.add(v.at, v.path, fmt.Sprintf("%s is too small: the least is %s", quote(s), least), "")
	case size > most:
		p.add(v.at, v.path, fmt.Sprintf("%s is too large: the most is %s", quote(s), most), "")
	case size%unit != 0:
		whole := size - size%unit
		p.add(v.at, v.path, fmt.Sprintf("%s is not a multiple of %s", quote(s), unit), "the nearest below is "+whole.Exact())
	default:
		*dst = size
	}
}

func readCPUs(p *parser, v value) {
	s, ok := scalarText(v.node)
	n, err := strconv.ParseUint(s, 10, 64)
	_, isInteger := v.node.(*ast.IntegerNode)
	switch {
	case !ok:
		p.mismatch(v, "a number", "write cpus: 2")
	case digits(s) && !strings.HasPrefix(s, "0") && (err != nil || n > maxCPUs):
		p.add(v.at, v.path, fmt.Sprintf("%s is too many: the most is %d", quote(s), maxCPUs), "")
	case s == "0" || strings.HasPrefix(s, "-") && digits(s[1:]):
		p.add(v.at, v.path, fmt.Sprintf("%s is too few: the least is 1", quote(s)), "")
	case err == nil && !isInteger:
		p.mismatch(v, "a number", fmt.Sprintf("take the quotes away: cpus: %d", n))
	case err != nil || strings.HasPrefix(s, "0"):
		p.add(v.at, v.path, fmt.Sprintf("%s is not a whole number", quote(s)), "write cpus: 2")
	default:
		p.m.CPUs = int(n)
	}
}

func readAccel(p *parser, v value) {
	readWord(p, v, &p.m.Accel, AccelAuto, AccelKVM, AccelTCG)
}

func readFirmware(p *parser, v value) {
	// Other tools' names for the same.
	if s, _ := scalarText(v.node); strings.EqualFold(s, "uefi") || strings.EqualFold(s, "ovmf") {
		p.add(v.at, v.path, quote(s)+" is not bios or efi", "write firmware: efi")
		return
	}
	readWord(p, v, &p.m.Firmware, FirmwareBIOS, FirmwareEFI)
}

// readWord takes one of a few words.
func readWord[T ~string](p *parser, v value, dst *T, words ...T) {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	want := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	s, ok := scalarText(v.node)
	if !ok {
		p.mismatch(v, want, "")
		return
	}
	for _, w := range words {
		if s == string(w) {
			*dst = w
			return
		}
	}
	hint := ""
	if near := Nearest(s, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	p.add(v.at, v.path, fmt.Sprintf("%s is not %s", quote(s), want), hint)
}

func readSecureBoot(p *parser, v value) { readBool(p, v, &p.m.SecureBoot) }

func readBuildOn(p *parser, v value) { readWord(p, v, &p.m.BuildOn, BuildHere, BuildHost) }

func readAutostart(p *parser, v value) { readBool(p, v, &p.m.Autostart) }

func readBool(p *parser, v value, dst *bool) {
	if b, ok := v.node.(*ast.BoolNode); ok {
		*dst = b.Value
		return
	}
	s, _ := scalarText(v.node)
	hint := ""
	switch strings.ToLower(s) {
	case "yes", "on", "y", "1", "enabled", "true":
		hint = fmt.Sprintf("write %s: true", v.key())
	case "no", "off", "n", "0", "disabled", "false":
		hint = fmt.Sprintf("write %s: false", v.key())
	}
	p.mismatch(v, "true or false", hint)
}

func readNetwork(p *parser, v value) {
	if b, ok := v.node.(*ast.BoolNode); ok && !b.Value {
		p.mismatch(v, "none, user or the name of a network", "for no network write network: none")
		return
	}
	s, ok := p.text1(v, "none, user or the name of a network", "")
	if !ok {
		return
	}
	if len(s) > networkLength || !regexp.MustCompile(networkPattern).MatchString(s) {
		p.add(v.at, v.path, fmt.Sprintf("%s cannot be the name of a network", quote(s)), "write none, user, or a name that virsh net-list shows")
		return
	}
	p.m.Network = s
}

func readPorts(p *parser, v value) {
	hint := "write each forward on a line of its own: - 2222:22"
	if s, ok := scalarText(v.node); ok {
		if _, err := ParsePort(s); err == nil {
			hint = fmt.Sprintf("write ports: [%q]", s)
		}
	}
	var taken []Port
	p.entries(v, maxPorts, "forwards", hint, func(entry value) {
		s, ok := scalarText(entry.node)
		if !ok {
			p.mismatch(entry, "text", "write HOST:GUEST, such as 2222:22")
			return
		}
		var port Port
		if !keep(p, entry, &port, s, ParsePort) {
			return
		}
		if j := indexClash(taken, port); j >= 0 {
			p.add(entry.at, entry.path, fmt.Sprintf("port %d of the host is already taken by %s", port.Host, taken[j]), "choose another port of the host")
			return
		}
		taken = append(taken, port)
	})
	p.m.Ports = taken
}

func indexClash(taken []Port, port Port) int {
	for i, other := range taken {
		if port.clashes(other) {
			return i
		}
	}
	return -1
}

func readHost(p *parser, v value) {
	s, ok := p.text1(v, "a libvirt URI", "write it as qemu:///system or qemu+ssh://me@server.example.org/system")
	if !ok {
		return
	}
	keep(p, v, &p.m.Host, s, func(s string) (string, error) { return s, CheckHost(s) })
}

// text1 is the value as text; numbers and truths are not text.
func (p *parser) text1(v value, want, hint string) (string, bool) {
	switch v.node.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return scalarText(v.node)
	}
	p.mismatch(v, want, hint)
	return "", false
}

// keep stores what parse makes of s, or notes why it makes nothing.
func keep[T any](p *parser, v value, dst *T, s string, parse func(string) (T, error)) bool {
	parsed, err := parse(s)
	if err != nil {
		p.fail(v.at, v.path, err)
		return false
	}
	*dst = parsed
	return true
}

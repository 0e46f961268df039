package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"vmctl/pkg/fault"
)

// describedVersion is the version of vmctl.spec that is read; images/module/spec.nix
// writes it.
const describedVersion = 1

// described is vmctl.spec: what a NixOS configuration says of its machine. Memory and
// disks are in MiB. What is null or empty says nothing.
type described struct {
	Version                     int
	MemorySize, Cores, DiskSize *int
	Firmware                    Firmware
	SecureBoot, Autostart       bool
	Network                     *string
	Ports                       []struct {
		Proto       string
		Host, Guest struct {
			Address string
			Port    int
		}
	}
	Volumes map[string]struct {
		Size               *int
		MountPoint, Device *string
		FsType             string
		Encrypt            bool
	}
	Shares map[string]struct {
		Source, Target string
		ReadOnly       bool
	}
	Credentials map[string]struct {
		Source, Env, Sops, Age *string
		Command                []string
		Persist                bool
	}
	Identity   bool
	Interfaces []struct {
		Network, Bridge, Macvtap, MAC, Address, Model *string
		User                                          bool
	}
}

// Description is a vmctl.spec and where it is from.
type Description struct {
	// From is the flake, as people call it.
	From string
	// Foreign says that it is not the person's own: then it may not reach for what is the
	// person's, such as directories and devices.
	Foreign bool
	// Spec is the JSON that nix gave.
	Spec []byte
}

// Describe is the machine that a NixOS configuration describes, where the definition
// in data does not say otherwise; nil data is no definition. Key by key the definition
// counts, then the configuration, then the default.
func Describe(name, file string, data []byte, d Description) (*Machine, error) {
	keys, err := d.keys()
	if err != nil {
		return nil, err
	}
	for _, key := range topKeys(data) {
		delete(keys, key)
		// Either says what the cards are connected to.
		if key == "network" || key == "interfaces" {
			delete(keys, "network")
			delete(keys, "interfaces")
		}
	}
	if err := d.reaches(keys); err != nil {
		return nil, err
	}
	base := Defaults(name)
	if len(keys) > 0 {
		// JSON is YAML, so the values are held to what a definition's are.
		text, err := json.Marshal(keys)
		if err != nil {
			return nil, err
		}
		if base, err = Parse(name, "", text); err != nil {
			return nil, d.wrong(err)
		}
	}
	if data == nil {
		return base, nil
	}
	return ParseOver(base, file, data)
}

// keys are the keys of a definition that say the same.
func (d Description) keys() (map[string]any, error) {
	var version struct{ Version *int }
	cannot := func(why string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, "what %s says of its machine cannot be read: "+why, append([]any{d.From}, args...)...)
	}
	if err := json.Unmarshal(d.Spec, &version); err != nil || version.Version == nil {
		return nil, cannot("its vmctl.spec has no version").WithHint("leave vmctl.spec to vmctl's own NixOS module")
	}
	if *version.Version != describedVersion {
		return nil, cannot("its vmctl.spec is of version %d, and this vmctl reads version %d", *version.Version, describedVersion).
			WithHint("take vmctl and its nixosModules.vmctl from the same release")
	}
	var s described
	if err := json.Unmarshal(d.Spec, &s); err != nil {
		return nil, cannot("its vmctl.spec is not what vmctl's NixOS module writes: %w", err)
	}
	keys := map[string]any{}
	set(keys, "memory", mebibytes(s.MemorySize))
	set(keys, "disk", mebibytes(s.DiskSize))
	set(keys, "cpus", s.Cores)
	set(keys, "network", s.Network)
	if s.Firmware != "" {
		keys["firmware"] = s.Firmware
	}
	if s.SecureBoot {
		keys["secure-boot"] = true
	}
	if s.Autostart {
		keys["autostart"] = true
	}
	s.lists(keys)
	return keys, nil
}

// lists adds what there may be several of.
func (s *described) lists(keys map[string]any) {
	var ports []string
	for _, p := range s.Ports {
		text := fmt.Sprintf("%d:%d", p.Host.Port, p.Guest.Port)
		if a, err := netip.ParseAddr(p.Host.Address); err == nil && a.Is6() {
			text = "[" + a.String() + "]:" + text
		} else if p.Host.Address != "" {
			text = p.Host.Address + ":" + text
		}
		if p.Proto == "udp" {
			text += "/udp"
		}
		ports = append(ports, text)
	}
	if ports != nil {
		keys["ports"] = ports
	}
	volumes, shares, secrets := map[string]any{}, map[string]any{}, map[string]any{}
	for name, v := range s.Volumes {
		volume := map[string]any{}
		set(volume, "size", mebibytes(v.Size))
		set(volume, "mount", v.MountPoint)
		set(volume, "path", v.Device)
		if v.MountPoint != nil && v.FsType != "" {
			volume["format"] = v.FsType
		}
		if v.Encrypt {
			volume["encrypt"] = true
		}
		volumes[name] = volume
	}
	for name, v := range s.Shares {
		share := map[string]any{"source": v.Source, "target": v.Target}
		if v.ReadOnly {
			share["read-only"] = true
		}
		shares[name] = share
	}
	for name, v := range s.Credentials {
		secret := map[string]any{}
		set(secret, "file", v.Source)
		set(secret, "env", v.Env)
		set(secret, "sops", v.Sops)
		set(secret, "age", v.Age)
		if v.Command != nil {
			secret["command"] = v.Command
		}
		if v.Persist {
			secret["persist"] = true
		}
		secrets[name] = secret
	}
	var cards []any
	for _, i := range s.Interfaces {
		card := map[string]any{}
		set(card, "network", i.Network)
		set(card, "bridge", i.Bridge)
		set(card, "macvtap", i.Macvtap)
		set(card, "mac", i.MAC)
		set(card, "address", i.Address)
		set(card, "model", i.Model)
		if i.User {
			card["user"] = true
		}
		cards = append(cards, card)
	}
	for key, named := range map[string]map[string]any{"volumes": volumes, "shares": shares, "secrets": secrets} {
		if len(named) > 0 {
			keys[key] = named
		}
	}
	if s.Identity {
		keys["identity"] = true
	}
	if cards != nil {
		keys["interfaces"] = cards
	}
}

func set[T any](keys map[string]any, key string, value *T) {
	if value != nil {
		keys[key] = *value
	}
}

func mebibytes(n *int) *string {
	if n == nil {
		return nil
	}
	text := fmt.Sprintf("%dMiB", *n)
	return &text
}

// reaches refuses what a flake from elsewhere may not take by itself: it could be
// anybody's, and running a guest must not hand it the person's files or networks.
func (d Description) reaches(keys map[string]any) error {
	if !d.Foreign {
		return nil
	}
	for _, key := range []string{"shares", "secrets"} {
		if keys[key] != nil {
			return d.foreign(key, "it is from elsewhere, and asks for "+map[string]string{"shares": "directories", "secrets": "secrets"}[key]+" of yours")
		}
	}
	ports, _ := keys["ports"].([]string)
	for _, text := range ports {
		if p, err := ParsePort(text); err == nil && !p.Address.IsLoopback() {
			return d.foreign("ports", "it is from elsewhere, and would let others than this machine in")
		}
	}
	volumes, _ := keys["volumes"].(map[string]any)
	for _, v := range volumes {
		if volume, _ := v.(map[string]any); volume["path"] != nil {
			return d.foreign("volumes", "it is from elsewhere, and asks for a block device of the host")
		}
	}
	cards, _ := keys["interfaces"].([]any)
	for _, c := range cards {
		if card, _ := c.(map[string]any); card["bridge"] != nil || card["macvtap"] != nil {
			return d.foreign("interfaces", "it is from elsewhere, and asks for a network of the host's own")
		}
	}
	return nil
}

func (d Description) foreign(key, why string) error {
	return fault.New(fault.Refused, "what %s says of its machine is not taken: %s", d.From, why).
		WithHint("if you want that, write %s: in a definition of your own, domain/NAME.yaml", key)
}

// wrong turns problems with places in a text that nobody wrote into one sentence.
func (d Description) wrong(err error) error {
	var report *Error
	if !errors.As(err, &report) || len(report.Problems) == 0 {
		return err
	}
	first := report.Problems[0]
	what := first.Msg
	if first.Path != "" {
		what = first.Path + ": " + what
	}
	e := fault.New(fault.Invalid, "what %s says of its machine cannot be: %s", d.From, what)
	var more []string
	for _, p := range report.Problems[1:] {
		more = append(more, strings.TrimPrefix(p.Path+": "+p.Msg, ": "))
	}
	e = e.WithDetails(strings.Join(more, "\n"))
	if first.Hint != "" {
		return e.WithHint("correct it in the configuration's vmctl options: %s", first.Hint)
	}
	return e.WithHint("correct it in the configuration's vmctl options")
}

// Sets says that a definition without errors has a key.
func Sets(data []byte, key string) bool { return slices.Contains(topKeys(data), key) }

// topKeys are the keys of a definition without errors.
func topKeys(data []byte) []string {
	if data == nil {
		return nil
	}
	p := &parser{m: &Machine{}, keys: map[string]place{}, wrong: map[string]bool{}, listed: map[string]bool{}}
	text, ok := p.text(data)
	if !ok {
		return nil
	}
	file, err := parseYAML(text)
	if err != nil {
		return nil
	}
	var keys []string
	for _, pair := range p.body(file) {
		if key, ok := scalarText(ast.Node(pair.Key)); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

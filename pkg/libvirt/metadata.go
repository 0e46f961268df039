package libvirt

import (
	"encoding/xml"
	"math"
	"net/netip"
	"strconv"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

// The metadata element: <vmctl:machine xmlns:vmctl="urn:vmctl:machine" …>. Changing
// the namespace would make every machine out there foreign.
const (
	metadataURI    = "urn:vmctl:machine"
	metadataPrefix = "vmctl"
)

// record is engine.Record as it lies in the XML: text that people can read, and
// reading never fails, so that a later version's element still tells its version.
type record struct {
	Version    string       `xml:"version,attr"`
	Rendering  string       `xml:"rendering,attr"`
	Vmctl      string       `xml:"by,attr"`
	Project    string       `xml:"project,omitempty"`
	Source     string       `xml:"source,omitempty"`
	Image      string       `xml:"image,omitempty"`
	Base       string       `xml:"base,omitempty"`
	Root       string       `xml:"root,omitempty"`
	Log        string       `xml:"log,omitempty"`
	Memory     string       `xml:"memory,omitempty"`
	CPUs       string       `xml:"cpus,omitempty"`
	Disk       string       `xml:"disk,omitempty"`
	Accel      string       `xml:"accel,omitempty"`
	Firmware   string       `xml:"firmware,omitempty"`
	SecureBoot string       `xml:"secure-boot,omitempty"`
	Network    string       `xml:"network,omitempty"`
	Ports      []recPort    `xml:"port"`
	Secrets    []recName    `xml:"secret"`
	Ready      string       `xml:"ready,omitempty"`
	Life       string       `xml:"life,omitempty"`
	Media      []recMedium  `xml:"medium"`
	Volumes    []recVolume  `xml:"volume"`
	Interfaces []recCard    `xml:"interface"`
	Shares     []recShare   `xml:"share"`
	Settings   []recSetting `xml:"setting"`
	Applied    []recApplied `xml:"applied"`
	Moving     *recMoving   `xml:"moving"`
}

type recApplied struct {
	System string `xml:"system,attr"`
	Image  string `xml:"image,attr,omitempty"`
}

type recMoving struct {
	To        string `xml:"to,attr"`
	ID        string `xml:"id,attr,omitempty"`
	Deciding  bool   `xml:"deciding,attr"`
	Running   bool   `xml:"running,attr"`
	Autostart bool   `xml:"autostart,attr"`
}

type recMedium struct {
	Role   string `xml:"role,attr"`
	Serial string `xml:"serial,attr"`
	Digest string `xml:"digest,attr"`
}

type recVolume struct {
	Name   string `xml:"name,attr"`
	Mount  string `xml:"mount,attr,omitempty"`
	Format string `xml:"format,attr,omitempty"`
	Path   string `xml:"path,attr,omitempty"`
}

type recName struct {
	Name string `xml:"name,attr"`
}

type recPort struct {
	Protocol string `xml:"protocol,attr"`
	Address  string `xml:"address,attr"`
	Host     uint16 `xml:"host,attr"`
	Guest    uint16 `xml:"guest,attr"`
	Auto     bool   `xml:"auto,attr,omitempty"`
}

type recCard struct {
	Link    string `xml:"link,attr"`
	Name    string `xml:"name,attr,omitempty"`
	MAC     string `xml:"mac,attr,omitempty"`
	Address string `xml:"address,attr,omitempty"`
	Model   string `xml:"model,attr,omitempty"`
}

type recShare struct {
	Tag      string `xml:"tag,attr"`
	Source   string `xml:"source,attr"`
	Target   string `xml:"target,attr"`
	Driver   string `xml:"driver,attr,omitempty"`
	ReadOnly bool   `xml:"read-only,attr,omitempty"`
}

type recSetting struct {
	Key   string `xml:"key,attr"`
	Value string `xml:",chardata"`
}

func toCard(i spec.Interface) recCard {
	card := recCard{Link: string(i.Link), Name: i.Name, MAC: i.MAC, Model: i.Model}
	if i.Address.IsValid() {
		card.Address = i.Address.String()
	}
	return card
}

func fromCard(c recCard) spec.Interface {
	// An address that cannot be read is none.
	address, _ := netip.ParseAddr(c.Address)
	return spec.Interface{Link: spec.Link(c.Link), Name: c.Name, MAC: c.MAC, Address: address, Model: c.Model}
}

// toRecord writes a record down.
func toRecord(r engine.Record) record {
	out := record{
		Version: strconv.Itoa(r.Version), Rendering: strconv.Itoa(r.Rendering), Vmctl: r.Vmctl,
		Project: r.Project, Source: r.Source, Image: r.Image, Base: r.Base, Root: r.Root, Log: r.Log,
		Memory: exactSize(r.Memory), CPUs: strconv.Itoa(r.CPUs), Disk: exactSize(r.Disk),
		Accel: string(r.Accel), Firmware: string(r.Firmware), SecureBoot: strconv.FormatBool(r.SecureBoot),
		Network: r.Network,
	}
	for _, p := range r.Ports {
		out.Ports = append(out.Ports, recPort{p.Protocol, p.Address.String(), p.Host, p.Guest, p.Auto})
	}
	for _, name := range r.Secrets {
		out.Secrets = append(out.Secrets, recName{name})
	}
	if r.Ready {
		out.Ready = strconv.FormatBool(true)
	}
	if r.Life > 0 {
		out.Life = strconv.Itoa(r.Life)
	}
	for _, m := range r.Media {
		out.Media = append(out.Media, recMedium{string(m.Role), m.Serial, m.Digest})
	}
	for _, v := range r.Volumes {
		out.Volumes = append(out.Volumes, recVolume{v.Name, v.Mount, string(v.Format), v.Path})
	}
	for _, i := range r.Interfaces {
		out.Interfaces = append(out.Interfaces, toCard(i))
	}
	for _, s := range r.Shares {
		out.Shares = append(out.Shares, recShare{s.Tag, s.Source, s.Target, string(s.Driver), s.ReadOnly})
	}
	for _, s := range r.Settings {
		out.Settings = append(out.Settings, recSetting(s))
	}
	for _, a := range r.Applied {
		out.Applied = append(out.Applied, recApplied(a))
	}
	if m := r.Moving; m != nil {
		out.Moving = &recMoving{m.To, m.ID, m.Deciding, m.Running, m.Autostart}
	}
	return out
}

// fromRecord reads a record. What cannot be read stays empty: the machine then looks
// changed and is defined anew. An unreadable version counts as a newer one.
func fromRecord(in record) *engine.Record {
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	size := func(s string) spec.Size { n, _ := spec.ParseSize(s); return n }
	out := &engine.Record{
		Version: math.MaxInt, Rendering: number(in.Rendering), Vmctl: printable(in.Vmctl),
		Project: in.Project, Source: in.Source, Image: in.Image, Base: in.Base, Root: in.Root, Log: in.Log,
		Memory: size(in.Memory), CPUs: number(in.CPUs), Disk: size(in.Disk),
		Accel: spec.Accel(in.Accel), Firmware: spec.Firmware(in.Firmware), SecureBoot: in.SecureBoot == "true",
		Network: in.Network, Life: number(in.Life), Ready: in.Ready == "true",
	}
	for _, m := range in.Media {
		out.Media = append(out.Media, engine.MediumRecord{Role: engine.Role(m.Role), Serial: m.Serial, Digest: m.Digest})
	}
	if version, err := strconv.Atoi(in.Version); err == nil && version > 0 {
		out.Version = version
	}
	for _, p := range in.Ports {
		address, err := netip.ParseAddr(p.Address)
		if err != nil {
			continue
		}
		out.Ports = append(out.Ports, spec.Port{Address: address, Host: p.Host, Guest: p.Guest, Protocol: p.Protocol, Auto: p.Auto})
	}
	for _, s := range in.Secrets {
		out.Secrets = append(out.Secrets, printable(s.Name))
	}
	for _, v := range in.Volumes {
		out.Volumes = append(out.Volumes, engine.RecordVolume{Name: v.Name, Mount: v.Mount, Format: spec.FileSystem(v.Format), Path: v.Path})
	}
	for _, c := range in.Interfaces {
		out.Interfaces = append(out.Interfaces, fromCard(c))
	}
	for _, s := range in.Shares {
		share := spec.Share{Tag: s.Tag, Source: s.Source, Target: s.Target, ReadOnly: s.ReadOnly}
		out.Shares = append(out.Shares, engine.Share{Share: share, Driver: spec.ShareDriver(s.Driver)})
	}
	for _, s := range in.Settings {
		out.Settings = append(out.Settings, engine.Setting(s))
	}
	for _, a := range in.Applied {
		out.Applied = append(out.Applied, engine.Applied{System: printable(a.System), Image: printable(a.Image)})
	}
	if m := in.Moving; m != nil {
		out.Moving = &engine.Moving{To: printable(m.To), ID: m.ID, Deciding: m.Deciding, Running: m.Running, Autostart: m.Autostart}
	}
	return out
}

// exactSize is the size for people where that is exact, else in bytes.
func exactSize(s spec.Size) string {
	if text := s.String(); text != "" {
		if back, err := spec.ParseSize(text); err == nil && back == s {
			return text
		}
	}
	return strconv.FormatUint(uint64(s), 10) + "B"
}

// definitionMetadata is the element as it stands in a definition. libvirt wants
// every element in the namespace's prefix.
func definitionMetadata(r engine.Record) (string, error) {
	return marshalRecord(r, metadataPrefix+":")
}

// liveMetadata is the element as virDomainSetMetadata takes it: libvirt adds the prefix.
func liveMetadata(r engine.Record) (string, error) { return marshalRecord(r, "") }

// marshalRecord writes the element; encoding/xml cannot write prefixes by itself, so
// names are given theirs on the way.
func marshalRecord(r engine.Record, prefix string) (string, error) {
	plain, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"machine"`
		record
	}{record: toRecord(r)})
	if err != nil {
		return "", err
	}
	if prefix == "" {
		return string(plain), nil
	}
	return withPrefix(string(plain), metadataPrefix, metadataURI)
}

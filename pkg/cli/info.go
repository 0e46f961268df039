package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func infoCommand() *command {
	return &command{
		name: "info", group: look, takes: oneMachine, run: runInfo,
		summary: "Show all about one machine",
		about: []string{
			"Shows what the machine is made of and how to reach it: as the host has it, or as it is declared when it is not there.",
		},
		examples: []example{{"vmctl info example", ""}, {"vmctl info -o json example", ""}},
		json: `{
  "name": "example",
  "host": "qemu:///session",
  "state": "running",
  "declared": true,
  "uuid": "0e7a4f0c-6a53-5d4e-8b5e-6f1f3c2f6d90",
  "project": "/home/me/machines",
  "image": "images/example",
  "imageID": "nix-8d4fjrwy8yn6vqkq6ikdzzhqjm8w0hjp-15250d8b5a9fecf9",
  "base": "/nix/store/8d4f…-nixos-disk-image/nixos.qcow2",
  "system": "/nix/store/3kq0…-nixos-system-example-25.11",
  "memory": 1610612736,
  "cpus": 2,
  "live": { "memory": 1073741824, "cpus": 2 },
  "disk": { "path": "/…/example.0e7a….root.qcow2", "size": 10737418240, "used": 196624 },
  "volumes": [
    {
      "name": "data", "size": 53687091200, "used": 1288490188, "mount": "/var/lib/data",
      "fstab": "/dev/disk/by-id/virtio-data /var/lib/data ext4 nofail,x-systemd.makefs,x-systemd.growfs 0 2",
      "device": "/dev/disk/by-id/virtio-data", "path": "/…/example.0e7a….data-data.qcow2", "attached": true
    }
  ],
  "accel": "auto",
  "firmware": "bios",
  "secureBoot": false,
  "network": "user",
  "autostart": false,
  "interfaces": [
    { "link": "network", "name": "default", "mac": "52:54:00:12:34:56", "address": "192.168.122.50", "model": "virtio" }
  ],
  "shares": [
    {
      "tag": "src",
      "source": "/home/me/machines",
      "target": "/mnt/src",
      "readOnly": false,
      "driver": "virtiofs",
      "mount": "mount -t virtiofs -o rw src /mnt/src"
    }
  ],
  "settings": {},
  "console": "vmctl console example",
  "ssh": "ssh -p 2222 root@127.0.0.1",
  "ports": [
    { "address": "127.0.0.1", "host": 2222, "guest": 22, "protocol": "tcp", "auto": false }
  ],
  "addresses": [],
  "moving": ""
}`,
	}
}

// infoResult is what info tells. Sizes are in bytes.
type infoResult struct {
	Name     string `json:"name"`
	Host     string `json:"host"`
	State    string `json:"state"`
	Declared bool   `json:"declared"`
	UUID     string `json:"uuid,omitempty"`
	Project  string `json:"project,omitempty"`
	Image    string `json:"image"`
	ImageID  string `json:"imageID,omitempty"`
	Base     string `json:"base,omitempty"`
	// System is the store path of the system that the guest was brought to without a new image.
	System     string        `json:"system,omitempty"`
	Memory     spec.Size     `json:"memory"`
	CPUs       int           `json:"cpus"`
	Live       *liveResult   `json:"live,omitempty"`
	Disk       diskResult    `json:"disk"`
	Volumes    []infoVolume  `json:"volumes"`
	Accel      spec.Accel    `json:"accel"`
	Firmware   spec.Firmware `json:"firmware"`
	SecureBoot bool          `json:"secureBoot"`
	Network    string        `json:"network"`
	Autostart  bool          `json:"autostart"`
	// Moving is the host that the machine is on its way to.
	Moving string `json:"moving"`
	deviceResult
	reach
}

// liveResult is what the running guest has now.
type liveResult struct {
	Memory spec.Size `json:"memory"`
	CPUs   int       `json:"cpus"`
}

// diskResult is the root disk: where it is on the host, how large, and what it takes there.
type diskResult struct {
	Path string    `json:"path,omitempty"`
	Size spec.Size `json:"size,omitempty"`
	Used spec.Size `json:"used,omitempty"`
}

func runInfo(ctx context.Context, c *call, _ *urfave.Context) error {
	t, e, d, err := c.observe(ctx, c.line.args[0])
	if err != nil && (!fault.Is(err, fault.NotFound) || t == nil || t.machine == nil) {
		return err
	}
	var r *infoResult
	if d != nil {
		r = c.infoOf(ctx, e.Host, d, t.machine)
	} else {
		r = c.infoDeclared(e.Host, t)
	}
	r.Declared = t.machine != nil
	c.progress.Close()
	if c.json() {
		return ui.JSON(c.streams, r)
	}
	return c.print(r.text())
}

// infoOf is about a machine as the host has it.
func (c *call) infoOf(ctx context.Context, host *engine.Host, d *engine.Domain, m *spec.Machine) *infoResult {
	rec := d.Record
	r := &infoResult{
		Name: d.Name, Host: host.URI, State: string(d.State), UUID: d.UUID, Project: rec.Project,
		Image: rec.Source, ImageID: rec.Image, Base: rec.Base, Memory: d.Memory, CPUs: d.CPUs,
		Accel: rec.Accel, Firmware: rec.Firmware, SecureBoot: rec.SecureBoot, Network: rec.Network, Autostart: d.Autostart,
		Disk: diskResult{Size: rec.Disk},
	}
	if v, err := host.Volumes.Volume(ctx, engine.RootVolume(d.Name)); err == nil {
		r.Disk = diskResult{Path: v.Path, Size: v.Capacity, Used: v.Allocation}
	}
	if n := len(rec.Applied); n > 0 {
		r.System = rec.Applied[n-1].System
	}
	if rec.Moving != nil {
		r.Moving = rec.Moving.To
	}
	r.Volumes = c.infoVolumes(ctx, host, d)
	network := spec.NetworkNone
	if d.Live != nil {
		r.Live = &liveResult{Memory: d.Live.Memory, CPUs: d.Live.CPUs}
		network = rec.Network
	}
	r.deviceResult = devicesOf(d.Name, rec.Interfaces, rec.Shares, rec.Settings)
	r.reach = c.reach(ctx, host, d.Name, network, rec.Ports, m)
	return r
}

// infoDeclared is about a machine that is only declared.
func (c *call) infoDeclared(host *engine.Host, t *target) *infoResult {
	m := t.machine
	return &infoResult{
		Name: m.Name, Host: host.URI, State: notCreated, Project: t.project.Dir,
		Image: m.Image.String(), Memory: m.Memory, CPUs: m.CPUs, Disk: diskResult{Size: m.Disk},
		Accel: m.Accel, Firmware: m.Firmware, SecureBoot: m.SecureBoot,
		Network: m.ResolveNetwork(host.Session), Autostart: m.Autostart,
		Volumes: infoDeclaredVolumes(m), deviceResult: declaredDevices(m), reach: c.reachOf(m.Name, m.Ports),
	}
}

// text is the result for people.
func (r *infoResult) text() string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		value := ansi.Line(fmt.Sprintf(format, args...))
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", ansi.Line(key)+":", value)
		}
	}
	line("name", "%s", r.Name)
	line("state", "%s", r.State)
	line("host", "%s", r.Host)
	if r.Moving != "" {
		line("moving", "to %s; vmctl migrate %s %s goes on with it", r.Moving, r.Name, ansi.ShellWord(r.Moving))
	}
	line("project", "%s", r.Project)
	line("image", "%s", r.Image)
	line("base", "%s", r.Base)
	memory, cpus := r.Memory.String(), fmt.Sprint(r.CPUs)
	if r.Live != nil && r.Live.Memory != r.Memory {
		memory += fmt.Sprintf(" (now %s)", r.Live.Memory)
	}
	if r.Live != nil && r.Live.CPUs != r.CPUs {
		cpus += fmt.Sprintf(" (now %d)", r.Live.CPUs)
	}
	line("system", "%s", r.System)
	line("memory", "%s", memory)
	line("cpus", "%s", cpus)
	line("disk", "%s", r.Disk.text())
	for _, v := range r.Volumes {
		line("volume", "%s", v.text())
		line("fstab", "%s", v.Fstab)
	}
	line("accel", "%s", r.Accel)
	firmware := string(r.Firmware)
	if r.SecureBoot {
		firmware += " with Secure Boot"
	}
	line("firmware", "%s", firmware)
	line("network", "%s", r.Network)
	r.show(line)
	autostart := "no"
	if r.Autostart {
		autostart = "yes"
	}
	line("autostart", "%s", autostart)
	line("uuid", "%s", r.UUID)
	for _, way := range r.lines() {
		key, value, _ := strings.Cut(way, ":")
		line(key, "%s", strings.TrimSpace(value))
	}
	return b.String()
}

func (d diskResult) text() string {
	if d.Size == 0 {
		return "as large as the image"
	}
	text := d.Size.String()
	if d.Used > 0 {
		text += fmt.Sprintf(", %s used on the host", d.Used)
	}
	return text
}

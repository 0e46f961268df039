package libvirt

import (
	"context"
	"encoding/xml"
	"time"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/libvirt/domainxml"
)

// diskXML is what is read from a disk's element.
type diskXML struct {
	Driver struct {
		Type    string `xml:"type,attr"`
		Cache   string `xml:"cache,attr"`
		IO      string `xml:"io,attr"`
		Discard string `xml:"discard,attr"`
	} `xml:"driver"`
	Source struct {
		File       string    `xml:"file,attr"`
		Dev        string    `xml:"dev,attr"`
		Pool       string    `xml:"pool,attr"`
		Volume     string    `xml:"volume,attr"`
		Encryption secretXML `xml:"encryption"`
	} `xml:"source"`
	// Encryption stands here when it was defined the older way.
	Encryption secretXML `xml:"encryption"`
	Target     struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Serial   string    `xml:"serial"`
	ReadOnly *struct{} `xml:"readonly"`
}

type secretXML struct {
	Secret struct {
		UUID string `xml:"uuid,attr"`
	} `xml:"secret"`
}

func (d diskXML) path() string {
	if d.Source.Dev != "" {
		return d.Source.Dev
	}
	return d.Source.File
}

func (d diskXML) disk() engine.Disk {
	secret := d.Source.Encryption.Secret.UUID
	if secret == "" {
		secret = d.Encryption.Secret.UUID
	}
	return engine.Disk{
		Serial: d.Serial, Path: d.path(), Format: d.Driver.Type, Block: d.Source.Dev != "", ReadOnly: d.ReadOnly != nil,
		Cache: d.Driver.Cache, IO: d.Driver.IO, Discard: d.Driver.Discard, Secret: secret,
	}
}

// attached are the disks that have a serial.
func (d *domainXML) attached() []engine.Disk {
	var out []engine.Disk
	for _, disk := range d.Disks {
		if disk.Serial != "" {
			out = append(out, disk.disk())
		}
	}
	return out
}

func (d *domainXML) device(serial string) string {
	for _, disk := range d.Disks {
		if disk.Serial == serial {
			return disk.Target.Dev
		}
	}
	return ""
}

func (d *domainXML) devices() []string {
	var names []string
	for _, disk := range d.Disks {
		names = append(names, disk.Target.Dev)
	}
	return names
}

func diskConfigs(disks []engine.Disk) []domainxml.Disk {
	var out []domainxml.Disk
	for _, d := range disks {
		out = append(out, domainxml.Disk(d))
	}
	return out
}

// side is one of the two definitions that a running domain has.
type side struct {
	flag golibvirt.DomainDeviceModifyFlags
	text string
	xml  *domainXML
}

// sides reads what is live, if the domain runs, and what is persistent, if it is.
func sides(d *golibvirt.Domain) ([]side, error) {
	active, err := d.IsActive()
	if err != nil {
		return nil, err
	}
	persistent, err := d.IsPersistent()
	if err != nil {
		return nil, err
	}
	var all []side
	for _, s := range []struct {
		there bool
		flag  golibvirt.DomainDeviceModifyFlags
		xml   golibvirt.DomainXMLFlags
	}{
		{active, golibvirt.DOMAIN_DEVICE_MODIFY_LIVE, 0},
		{persistent, golibvirt.DOMAIN_DEVICE_MODIFY_CONFIG, golibvirt.DOMAIN_XML_INACTIVE},
	} {
		if !s.there {
			continue
		}
		text, err := d.GetXMLDesc(s.xml)
		if err != nil {
			return nil, err
		}
		parsed, err := parseDomain(text)
		if err != nil {
			return nil, err
		}
		all = append(all, side{s.flag, text, parsed})
	}
	return all, nil
}

// AttachDisk gives a disk to the running guest and to the definition.
func (c *conn) AttachDisk(ctx context.Context, name string, disk engine.Disk) error {
	return c.attachDisk(ctx, name, disk, false)
}

// LendDisk gives a disk to the running guest alone.
func (c *conn) LendDisk(ctx context.Context, name string, disk engine.Disk) error {
	return c.attachDisk(ctx, name, disk, true)
}

func (c *conn) attachDisk(ctx context.Context, name string, disk engine.Disk, lend bool) error {
	return c.onDomain(ctx, "attach disk "+quoteName(disk.Serial)+" to", name, func(d *golibvirt.Domain) error {
		all, err := sides(d)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.xml.device(disk.Serial) != "" || lend && s.flag != golibvirt.DOMAIN_DEVICE_MODIFY_LIVE {
				continue
			}
			device, err := domainxml.FreeDevice(s.xml.devices())
			if err != nil {
				return err
			}
			text, err := domainxml.RenderDisk(domainxml.Disk(disk), device)
			if err != nil {
				return err
			}
			if err := d.AttachDeviceFlags(text, s.flag); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	// letGo is how long a guest may take to let go of a disk. One that does is quick;
	// one that has not booted, or uses the disk, never does.
	letGo = 15 * time.Second
	// again is how often it is looked for: the event of its going may have been before
	// anybody listened.
	again = 200 * time.Millisecond
)

// DetachDisk takes a disk away from the running guest and from the definition.
func (c *conn) DetachDisk(ctx context.Context, name, serial string) error {
	return c.onDomain(ctx, "detach disk "+quoteName(serial)+" from", name, func(d *golibvirt.Domain) error {
		all, err := sides(d)
		if err != nil {
			return err
		}
		had := false
		for _, s := range all {
			device := s.xml.device(serial)
			if device == "" {
				continue
			}
			had = true
			element, err := diskElement(s.text, device)
			if err != nil {
				return err
			}
			if err := d.DetachDeviceFlags(element, s.flag); err != nil {
				return err
			}
			if s.flag == golibvirt.DOMAIN_DEVICE_MODIFY_LIVE {
				if err := released(ctx, d, serial); err != nil {
					return err
				}
			}
		}
		if !had {
			return fault.New(fault.NotFound, "domain %s has no disk %s", quoteName(name), quoteName(serial))
		}
		return nil
	})
}

// released waits until the guest has let go of a disk.
func released(ctx context.Context, d *golibvirt.Domain, serial string) error {
	deadline := time.NewTimer(letGo)
	defer deadline.Stop()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		now, err := readXML(d, 0)
		if err != nil {
			return err
		}
		if now.device(serial) == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fault.New(fault.Timeout, "the guest does not let go of disk %s", quoteName(serial)).
				WithHint("see that the guest has booted and that nothing in it uses the disk, then try again; or restart the machine")
		case <-tick.C:
		}
	}
}

// diskElement is the element of the disk with a device name, as the host wrote it: only
// so is it sure to match.
func diskElement(text, device string) (string, error) {
	var d struct {
		Disks []struct {
			Inner  string `xml:",innerxml"`
			Type   string `xml:"type,attr"`
			Device string `xml:"device,attr"`
			Target struct {
				Dev string `xml:"dev,attr"`
			} `xml:"target"`
		} `xml:"devices>disk"`
	}
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		return "", fault.New(fault.Other, "the host's domain XML cannot be read: %w", err)
	}
	for _, disk := range d.Disks {
		if disk.Target.Dev == device {
			return "<disk type='" + disk.Type + "' device='" + disk.Device + "'>" + disk.Inner + "</disk>", nil
		}
	}
	return "", fault.New(fault.NotFound, "there is no disk %s", device)
}

package libvirt

import (
	"context"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/libvirt/domainxml"
)

// DefineDomain renders the definition and hands it to the host, which checks it
// against its schema.
func (c *conn) DefineDomain(ctx context.Context, def engine.Definition) error {
	metadata, err := definitionMetadata(def.Record)
	if err != nil {
		return err
	}
	config := domainxml.Config{
		UUID: def.UUID, Machine: def.Machine, Arch: def.Arch, Root: def.Root,
		BasePath: def.Base.Path, BaseFormat: def.Base.Format, Log: def.Log, Vars: def.Vars, Metadata: metadata,
		Disks: diskConfigs(def.Disks), Shares: shareConfigs(def.Shares), Mounts: def.Mounts,
		User: userBackend(def.Passt), PCI: def.PCI, Video: def.Video,
	}
	text, err := domainxml.Render(config)
	if err != nil {
		return err
	}
	return change(ctx, c, "define domain "+quoteName(def.Machine.Name), func(l *golibvirt.Connect) error {
		d, err := l.DomainDefineXMLFlags(text, golibvirt.DOMAIN_DEFINE_VALIDATE)
		if err != nil && len(def.Machine.XML) > 0 {
			return c.blame(config, err)
		}
		if err != nil {
			return err
		}
		defer func() { _ = d.Free() }()
		return c.domains.keep(def.Machine.Name, d)
	})
}

func shareConfigs(all []engine.Share) []domainxml.Share {
	out := make([]domainxml.Share, len(all))
	for i, s := range all {
		out[i] = domainxml.Share{Share: s.Share, Driver: s.Driver}
	}
	return out
}

func userBackend(passt bool) string {
	if passt {
		return domainxml.UserPasst
	}
	return domainxml.UserSlirp
}

// onDomain changes one domain.
func (c *conn) onDomain(ctx context.Context, verb, name string, f func(*golibvirt.Domain) error) error {
	return change(ctx, c, verb+" domain "+quoteName(name), func(l *golibvirt.Connect) error {
		return c.withDomain(l, name, f)
	})
}

// StartDomain boots.
func (c *conn) StartDomain(ctx context.Context, name string, paused bool) error {
	return c.onDomain(ctx, "start", name, func(d *golibvirt.Domain) error {
		switch {
		case paused && c.place.test:
			// The test driver has no such flag, and no first instruction either.
			if err := d.Create(); err != nil {
				return err
			}
			return d.Suspend()
		case paused:
			return d.CreateWithFlags(golibvirt.DOMAIN_START_PAUSED)
		}
		// Without flags it would be another call, for which libvirt looks the domain up again.
		return d.CreateWithFlags(0)
	})
}

// StartDomainWith boots from a copy of the persistent definition that names the files:
// libvirt goes back to the definition itself when the guest stops. What was saved of an
// earlier guest (managed save) it would leave lying, so there must be none.
func (c *conn) StartDomainWith(ctx context.Context, name string, paused bool, files []engine.FirmwareFile) error {
	return change(ctx, c, "start domain "+quoteName(name), func(l *golibvirt.Connect) error {
		return c.withDomain(l, name, func(d *golibvirt.Domain) error {
			definition, err := d.GetXMLDesc(golibvirt.DOMAIN_XML_INACTIVE | golibvirt.DOMAIN_XML_SECURE)
			if err != nil {
				return err
			}
			entries := make([]domainxml.FirmwareFile, len(files))
			for i, f := range files {
				entries[i] = domainxml.FirmwareFile(f)
			}
			text, err := domainxml.WithFirmwareFiles(definition, entries)
			if err != nil {
				return err
			}
			flags := golibvirt.DOMAIN_NONE
			if paused && !c.place.test {
				flags = golibvirt.DOMAIN_START_PAUSED
			}
			started, err := l.DomainCreateXML(text, flags)
			if err != nil {
				return err
			}
			defer func() { _ = started.Free() }()
			if paused && c.place.test {
				return started.Suspend()
			}
			return nil
		})
	})
}

// ResumeDomain lets held CPUs run.
func (c *conn) ResumeDomain(ctx context.Context, name string) error {
	return c.onDomain(ctx, "resume", name, func(d *golibvirt.Domain) error {
		err := d.Resume()
		if err == nil {
			return nil
		}
		// What was held because somebody's start of it was still going on runs by itself.
		if state, _, stateErr := d.GetState(); stateErr == nil && state == golibvirt.DOMAIN_RUNNING {
			return nil
		}
		return err
	})
}

// ShutdownDomain asks the guest to power off.
func (c *conn) ShutdownDomain(ctx context.Context, name string, mode engine.ShutdownMode) error {
	if c.place.test {
		// The test driver knows one way only.
		return c.onDomain(ctx, "shut down", name, (*golibvirt.Domain).Shutdown)
	}
	flag := golibvirt.DOMAIN_SHUTDOWN_ACPI_POWER_BTN
	if mode == engine.ShutdownAgent {
		flag = golibvirt.DOMAIN_SHUTDOWN_GUEST_AGENT
	}
	return c.onDomain(ctx, "shut down", name, func(d *golibvirt.Domain) error { return d.ShutdownFlags(flag) })
}

// DestroyDomain pulls the plug.
func (c *conn) DestroyDomain(ctx context.Context, name string) error {
	return c.onDomain(ctx, "stop", name, (*golibvirt.Domain).Destroy)
}

// undefineFlags are sets of flags, the fullest first: a driver refuses a call with a
// flag it does not know, and then has nothing that the flag would remove.
var undefineFlags = []golibvirt.DomainUndefineFlagsValues{
	undefineOld | golibvirt.DOMAIN_UNDEFINE_NVRAM | golibvirt.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | golibvirt.DOMAIN_UNDEFINE_TPM,
	undefineOld | golibvirt.DOMAIN_UNDEFINE_NVRAM | golibvirt.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA, // libvirt < 8.9
	undefineOld | golibvirt.DOMAIN_UNDEFINE_NVRAM,                                                  // libvirt < 5.6
	undefineOld, // the test driver
}

const undefineOld = golibvirt.DOMAIN_UNDEFINE_MANAGED_SAVE | golibvirt.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA

// UndefineDomain removes the definition and all that libvirt keeps for it.
func (c *conn) UndefineDomain(ctx context.Context, name string) error {
	return c.onDomain(ctx, "undefine", name, func(d *golibvirt.Domain) (err error) {
		for _, flags := range undefineFlags {
			if err = d.UndefineFlags(flags); !unknownFlags(err) {
				return err
			}
		}
		return err
	})
}

func unknownFlags(err error) bool {
	return err != nil && strings.Contains(text(err), "unsupported flags")
}

// SetAutostart says whether the domain starts with the host.
func (c *conn) SetAutostart(ctx context.Context, name string, on bool) error {
	return c.onDomain(ctx, "set autostart of", name, func(d *golibvirt.Domain) error { return d.SetAutostart(on) })
}

package engine

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// snapshot is all that a plan is made from: what was on the host at one moment.
type snapshot struct {
	domain *Domain
	pool   Pool
	// root is the machine's root disk.
	root *Volume
	// base is the uploaded image, when the image cannot be used in place; unfinished are
	// this client's uploads of it that were cut short, and resumable is the one of them
	// that can go on.
	base       *Volume
	unfinished []*baseCopy
	resumable  *baseCopy
	// uploads are the names of all volumes that have to do with the image.
	uploads []string
	// media are the wanted media with their content; mediaVolumes are the names of the
	// volumes and markers that there are of these, and of others that may be left.
	media        []medium
	mediaVolumes []string
	// network has the networks that the machine asks for and the host has; networks are
	// all of the host's when one is missing.
	network  map[string]Network
	networks []Network
	// dhcp is read of the networks on which the machine has or had an address of its own.
	dhcp map[string]DHCP
	// devices are the host's; read only when a definition has to be made that names some.
	devices []Device
	// capabilities are read only when a definition has to be made.
	capabilities *Capabilities
	// readOnlyVirtiofs says that virtiofs can keep a guest from writing; it is asked when a
	// share needs it.
	readOnlyVirtiofs bool
	volumes          volumeSnapshot
	delivering       delivering
	// kept is the image to plan with instead of the wanted one.
	kept *Image
	// ports are the forwards with the automatic ones chosen; nil where there are none.
	ports []spec.Port
}

// observe reads the host. It asks only for what the plan can need, and at once for what
// does not depend on each other: a machine that is as declared costs a few round trips.
func (e *Engine) observe(ctx context.Context, w Wanted, o Options) (*snapshot, error) {
	var s snapshot
	parts, part := errgroup.WithContext(ctx)
	parts.Go(func() (err error) {
		if s.domain, err = found(e.Host.Domains.Domain(part, w.Machine.Name)); err == nil && s.domain == nil {
			err = e.observeCapabilities(part, &s) // it will have to be defined
		}
		return err
	})
	parts.Go(func() error { return e.observeStorage(part, w, o, &s) })
	parts.Go(func() error { return e.observeNetwork(part, w, &s) })
	parts.Go(func() error { return e.observeSources(part, w, &s) })
	if err := parts.Wait(); err != nil {
		return nil, err
	}
	if err := e.findRoot(ctx, w.Machine.Name, &s); err != nil {
		return nil, err
	}
	s.delivering.lent = lent(s.domain)
	if err := e.observeFirmware(ctx, w, &s); err != nil {
		return nil, err
	}
	if s.domain == nil && (s.root != nil || len(s.volumes.own) > 0) {
		from, coming, err := e.comesFrom(ctx, w.Machine.Name)
		if err != nil {
			return nil, err
		}
		if coming {
			return nil, e.incoming(w.Machine.Name, from)
		}
	}
	if s.kept = e.keptImage(w, &s, o); s.kept != nil {
		w.Image = *s.kept
	}
	if err := e.observeMedia(ctx, w, &s); err != nil {
		return nil, err
	}
	if err := e.observeUsers(ctx, w, &s); err != nil {
		return nil, err
	}
	if err := e.observeDHCP(ctx, w, &s); err != nil {
		return nil, err
	}
	var err error
	if s.ports, err = e.choosePorts(ctx, w, s.domain, o.avoid); err != nil {
		return nil, err
	}
	w.Machine.Ports = s.ports
	if o.Replace || e.mayDefine(w, &s) {
		if err := e.observeCapabilities(ctx, &s); err != nil {
			return nil, err
		}
		if err := e.observeReadOnly(ctx, w, &s); err != nil {
			return nil, err
		}
		if namesDevices(&w.Machine) {
			s.devices, err = e.Host.Inspector.Devices(ctx)
		}
		return &s, err
	}
	return &s, nil
}

func (e *Engine) observeCapabilities(ctx context.Context, s *snapshot) error {
	if s.capabilities != nil {
		return nil
	}
	capabilities, err := e.Host.Inspector.Capabilities(ctx)
	s.capabilities = &capabilities
	return err
}

// observeReadOnly finds out whether shares that the guest may not write to can go by virtiofs.
func (e *Engine) observeReadOnly(ctx context.Context, w Wanted, s *snapshot) error {
	if !s.capabilities.Virtiofs || !slices.ContainsFunc(w.Machine.Shares, func(s spec.Share) bool { return s.ReadOnly }) {
		return nil
	}
	versions, err := e.Host.Inspector.Versions(ctx)
	s.readOnlyVirtiofs = keepsReadOnly(versions.Libvirt)
	return err
}

// keepsReadOnly says that a libvirt makes a virtiofs share read-only: since 11.0. Older
// ones refuse to, or pay <readonly/> no heed (https://gitlab.com/libvirt/libvirt/-/issues/23).
// It takes virtiofsd 1.13 or newer, without which the guest does not start.
func keepsReadOnly(libvirt string) bool {
	var major int
	_, err := fmt.Sscanf(libvirt, "%d.", &major)
	return err == nil && major >= 11
}

func (e *Engine) observeStorage(ctx context.Context, w Wanted, o Options, s *snapshot) error {
	var err error
	if s.pool, err = e.Host.Pools.Pool(ctx); err != nil || s.pool.State != PoolActive {
		return err
	}
	if s.root, err = e.known(ctx, s.pool, RootVolume(w.Machine.Name)); err != nil {
		return err
	}
	if err := e.observeDelivery(ctx, w.Machine.Name, s); err != nil {
		return err
	}
	if err := e.observeVolumes(ctx, w, s); err != nil || e.inPlace(w.Image) {
		return err
	}
	if s.root != nil && !o.Replace {
		if id, ok := imageAt(s.pool, s.root.Backing); ok && id == w.Image.ID {
			return nil // it lies on the image: whichever upload that is, it stays
		}
	}
	return e.observeBase(ctx, w, s.pool.named(basePrefix+w.Image.ID+"."), s)
}

// findRoot finds the root disk of a machine that has lost it where it was put back beside
// libvirt, from a backup for one: the host then has to look at the directory again.
func (e *Engine) findRoot(ctx context.Context, machine string, s *snapshot) error {
	if s.domain == nil || s.root != nil || s.pool.State != PoolActive {
		return nil
	}
	all, err := e.Host.Volumes.ListVolumes(ctx, RootVolume(machine))
	if err == nil && len(all) > 0 {
		s.root = &all[0]
	}
	return err
}

// observeBase reads the uploads of an image, of which the host knows some by name. One that
// is whole is all that is needed; else the host looks at the directory again, which takes the longer the
// more there is in it: an image that goes there by content gets there beside libvirt.
func (e *Engine) observeBase(ctx context.Context, w Wanted, known []string, s *snapshot) error {
	s.base, s.unfinished, s.resumable, s.uploads = nil, nil, nil, known
	for _, b := range basesNamed(known) {
		upload := b.usable(w.Image.Format, e.Token.Client)
		if upload == nil {
			continue
		}
		var err error
		if s.base, err = found(e.Host.Volumes.Volume(ctx, upload.volume.Name)); err != nil || s.base != nil {
			return err
		}
	}
	s.uploads = nil
	uploads, err := e.Host.Volumes.ListVolumes(ctx, basePrefix+w.Image.ID+".")
	for _, v := range uploads {
		s.uploads = append(s.uploads, v.Name)
	}
	for _, b := range readBases(uploads) {
		s.unfinished, s.resumable = b.unfinished(e.Token.Client), b.resumable(w.Image.Format, e.Token.Client)
		if found := b.usable(w.Image.Format, e.Token.Client); found != nil {
			s.base = found.volume
		}
	}
	return err
}

func (e *Engine) observeNetwork(ctx context.Context, w Wanted, s *snapshot) error {
	s.network = map[string]Network{}
	for _, name := range networks(w.Machine.Cards(e.Host.Session)) {
		network, err := e.Host.Networks.Network(ctx, name)
		switch {
		case err == nil:
			s.network[name] = network
		case fault.Is(err, fault.NotFound):
			s.networks, err = e.Host.Networks.ListNetworks(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mayDefine says that the plan may have to define the domain.
func (e *Engine) mayDefine(w Wanted, s *snapshot) bool {
	return s.domain == nil || s.domain.Transient || s.domain.Record == nil || s.root == nil ||
		s.domain.Record.Image != w.Image.ID || s.domain.Record.Base != s.root.Backing ||
		len(e.changes(w, s.domain)) > 0 || len(mediaChanges(s.domain, s.media)) > 0 || len(volumeChanges(w, s)) > 0
}

// found makes "not there" a nil without an error.
func found[T any](object *T, err error) (*T, error) {
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return object, err
}

// inPlace says that a root disk may lie directly on the image's file.
func (e *Engine) inPlace(img Image) bool { return img.InPlace && (e.Host.Local || img.OnHost) }

package engine

import (
	"context"
	"strings"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/fault"
)

// moveSnapshot is what was on both hosts at one moment.
type moveSnapshot struct {
	from, to moveSide
	portable Portable
	// fits says that the guest finds its CPU on the other host.
	fits bool
	// bare is the host of which QEMU is not seen to have certificates for TLS, empty when it
	// is seen on both. It is looked for where that decides.
	bare string
	// image is what the root disk lies on. It is read from the client's file when it has a
	// path, else from baseVolume in the first host's pool.
	image      *Image
	baseVolume *Volume
	// placed is the image as it lies on the other host; unfinished are this client's
	// uploads of it that were cut short, and resumable is the one of them that can go on.
	placed     *Volume
	unfinished []*baseCopy
	resumable  *baseCopy
	// network, networks, dhcp and devices are the other host's, as in a snapshot; domains
	// are all that are defined there.
	network  map[string]Network
	networks []Network
	dhcp     map[string]DHCP
	devices  []Device
	domains  []DomainSummary
	// releasing gives back the addresses that the machine has on the first host.
	releasing []Op
}

// moveSide is what one host has of the machine.
type moveSide struct {
	domain *Domain
	pool   Pool
	// volumes are all of the machine's files, arriving says that the marker is among them.
	volumes  []Volume
	arriving bool
	secrets  []Secret
	// capabilities are what the host can do, hypervisor what runs its guests.
	capabilities Capabilities
	hypervisor   string
	// busy says that libvirt is still at a live move that was cut short.
	busy bool
}

func (s moveSide) running() bool { return s.domain != nil && s.domain.State.Active() }

// moving is the note that the machine is on its way.
func (s moveSide) moving() *Moving {
	if s.domain == nil || s.domain.Record == nil {
		return nil
	}
	return s.domain.Record.Moving
}

// hasArrived says that a domain is the machine itself: what libvirt shows while a guest is
// still coming is transient.
func hasArrived(d *Domain) bool {
	return d != nil && !d.Transient && d.Record != nil && d.Record.Moving == nil && d.UUID == UUID(d.Name)
}

// readSide reads what a host has of a machine.
func readSide(ctx context.Context, e *Engine, name string) (s moveSide, err error) {
	if s.domain, err = found(e.Host.Domains.Domain(ctx, name)); err != nil {
		return s, err
	}
	if s.pool, err = e.Host.Pools.Pool(ctx); err != nil {
		return s, err
	}
	if s.pool.State == PoolActive {
		if s.volumes, err = e.Host.Volumes.ListVolumes(ctx, volumePrefix(name)); err != nil {
			return s, err
		}
		for _, v := range s.volumes {
			s.arriving = s.arriving || v.Name == ArrivingVolume(name)
		}
	}
	secrets, err := e.Host.Secrets.ListSecrets(ctx, volumePrefix(name)+dataPart)
	for _, secret := range secrets {
		if _, volume, ok := parseDataVolume(secret.Volume); ok && secret.UUID == secretID(name, volume) {
			s.secrets = append(s.secrets, secret)
		}
	}
	return s, err
}

// observe reads both hosts, at once.
func (m *Move) observe(ctx context.Context, o MoveOptions) (*moveSnapshot, error) {
	var s moveSnapshot
	both, part := errgroup.WithContext(ctx)
	both.Go(func() (err error) { s.from, err = m.readSide(part, m.From); return err })
	both.Go(func() (err error) { s.to, err = m.readSide(part, m.To); return err })
	if err := both.Wait(); err != nil {
		return nil, err
	}
	if d := s.from.domain; d != nil {
		var err error
		if s.releasing, err = m.From.releasing(ctx, d); err != nil {
			return nil, err
		}
	}
	if err := m.sane(&s); err != nil {
		return nil, err
	}
	if hasArrived(s.to.domain) {
		return &s, nil
	}
	for _, read := range []func(context.Context, *moveSnapshot, MoveOptions) error{
		m.observeGuest, m.observeImage, m.observeNetworks, m.observeCertificates,
	} {
		if err := read(ctx, &s, o); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

// readSide reads what a host has of the machine, and what it can do.
func (m *Move) readSide(ctx context.Context, e *Engine) (moveSide, error) {
	s, err := readSide(ctx, e, m.Name)
	if err != nil {
		return s, err
	}
	if s.capabilities, err = e.Host.Inspector.Capabilities(ctx); err != nil {
		return s, err
	}
	versions, err := e.Host.Inspector.Versions(ctx)
	s.hypervisor = versions.Hypervisor
	if err == nil && s.moving() != nil && s.running() {
		s.busy, err = e.Host.Moves.MovingLive(ctx, m.Name)
	}
	return s, err
}

// observeGuest reads what the guest needs.
func (m *Move) observeGuest(ctx context.Context, s *moveSnapshot, _ MoveOptions) (err error) {
	if s.portable, err = m.From.Host.Moves.Portable(ctx, m.Name); err != nil {
		return err
	}
	s.fits = true
	if s.portable.KVM && s.portable.HostCPU {
		cpu, err := m.From.Host.Moves.CPU(ctx)
		if err != nil {
			return err
		}
		if s.fits, err = m.To.Host.Moves.RunsCPU(ctx, cpu); err != nil {
			return err
		}
	}
	return nil
}

// observeCertificates finds out whether a live move can be encrypted.
func (m *Move) observeCertificates(ctx context.Context, s *moveSnapshot, o MoveOptions) error {
	if o.Encryption != EncryptionAuto || o.Way == WayCold || m.whyCold(s) != "" {
		return nil
	}
	seen := [2]bool{}
	if o.Certified != nil {
		var both errgroup.Group
		for i, e := range []*Engine{m.From, m.To} {
			both.Go(func() error { seen[i] = o.Certified(ctx, e); return nil })
		}
		_ = both.Wait()
	}
	switch {
	case !seen[0]:
		s.bare = m.FromName
	case !seen[1]:
		s.bare = m.ToName
	}
	return ctx.Err()
}

// observeImage finds the image: on the other host, and where it can be had for it.
func (m *Move) observeImage(ctx context.Context, s *moveSnapshot, o MoveOptions) (err error) {
	record := s.from.domain.Record
	if o.Image != nil {
		if s.image = o.Image(ctx, record.Image, record.Base); s.image != nil && s.image.ID != record.Image {
			s.image = nil
		}
	}
	if id, ok := imageAt(s.from.pool, record.Base); ok && s.image == nil {
		name := record.Base[strings.LastIndexByte(record.Base, '/')+1:]
		if s.baseVolume, err = found(m.From.Host.Volumes.Volume(ctx, name)); err != nil {
			return err
		}
		if v := s.baseVolume; v != nil {
			n, _ := parseBase(name)
			s.image = &Image{
				ID: id, Source: record.Source, Format: n.format, Size: v.Capacity, FileSize: v.Length,
				Origin: m.From.originOf(ctx, CommitVolume(name)),
			}
		}
	}
	if s.image == nil || s.to.pool.State != PoolActive {
		return nil
	}
	uploads, err := m.To.Host.Volumes.ListVolumes(ctx, basePrefix+record.Image+".")
	for _, b := range readBases(uploads) {
		s.unfinished, s.resumable = b.unfinished(m.To.Token.Client), b.resumable(s.image.Format, m.To.Token.Client)
		if usable := b.usable(s.image.Format, m.To.Token.Client); usable != nil {
			s.placed = usable.volume
		}
	}
	return err
}

// observeNetworks reads what of the other host the machine is connected to.
func (m *Move) observeNetworks(ctx context.Context, s *moveSnapshot, _ MoveOptions) (err error) {
	record, host := s.from.domain.Record, m.To.Host
	s.network, s.dhcp = map[string]Network{}, map[string]DHCP{}
	for _, name := range networks(record.cards()) {
		n, err := seen(host.Networks.Network(ctx, name))
		if err != nil {
			return err
		}
		if n != nil {
			s.network[name] = *n
			continue
		}
		if s.networks, err = host.Networks.ListNetworks(ctx); err != nil {
			return err
		}
	}
	for _, r := range recorded(s.from.domain) {
		if s.dhcp[r.network], err = host.Networks.DHCP(ctx, r.network); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	if len(record.Ports) > 0 {
		if s.domains, err = host.Domains.ListDomains(ctx, WithRecords); err != nil {
			return err
		}
	}
	if bridged(record) {
		s.devices, err = host.Inspector.Devices(ctx)
	}
	return err
}

// seen is found for what is not a pointer.
func seen[T any](object T, err error) (*T, error) { return found(&object, err) }

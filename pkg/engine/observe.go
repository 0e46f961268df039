package engine

import (
	"context"

	"vmctl/pkg/fault"
)

// snapshot is all that a plan is made from: what was on the host at one moment.
type snapshot struct {
	domain *Domain
	pool   Pool
	// root is the machine's root disk; base and committed are the uploaded image, when
	// the image cannot be used in place.
	root, base *Volume
	committed  bool
	// network is nil when the machine asks for none or the host has none of that name.
	network  *Network
	networks []Network
	// capabilities are read only when a definition has to be made.
	capabilities *Capabilities
}

// observe reads the host. It asks only for what the plan can need: a machine that is
// as declared costs a handful of calls.
func (e *Engine) observe(ctx context.Context, w Wanted, o Options) (*snapshot, error) {
	var (
		s    snapshot
		err  error
		name = w.Machine.Name
	)
	if s.domain, err = found(e.Host.Domains.Domain(ctx, name)); err != nil {
		return nil, err
	}
	if s.pool, err = e.Host.Pools.Pool(ctx); err != nil {
		return nil, err
	}
	if s.pool.State == PoolActive {
		if err := e.observeVolumes(ctx, w, &s); err != nil {
			return nil, err
		}
	}
	if network := w.Machine.ResolveNetwork(e.Host.Session); onNetwork(network) {
		found, err := e.Host.Networks.Network(ctx, network)
		switch {
		case err == nil:
			s.network = &found
		case !fault.Is(err, fault.NotFound):
			return nil, err
		default:
			if s.networks, err = e.Host.Networks.ListNetworks(ctx); err != nil {
				return nil, err
			}
		}
	}
	if o.Replace || e.mayDefine(w, &s) {
		capabilities, err := e.Host.Inspector.Capabilities(ctx)
		if err != nil {
			return nil, err
		}
		s.capabilities = &capabilities
	}
	return &s, nil
}

func (e *Engine) observeVolumes(ctx context.Context, w Wanted, s *snapshot) (err error) {
	if s.root, err = found(e.Host.Volumes.Volume(ctx, RootVolume(w.Machine.Name))); err != nil {
		return err
	}
	if e.inPlace(w.Image) {
		return nil
	}
	if s.base, err = found(e.Host.Volumes.Volume(ctx, BaseVolume(w.Image))); err != nil || s.base == nil {
		return err
	}
	commit, err := found(e.Host.Volumes.Volume(ctx, CommitVolume(w.Image)))
	s.committed = commit != nil
	return err
}

// mayDefine says that the plan may have to define the domain.
func (e *Engine) mayDefine(w Wanted, s *snapshot) bool {
	return s.domain == nil || s.domain.Record == nil || s.root == nil ||
		s.domain.Record.Image != w.Image.ID || s.domain.Record.Base != s.root.Backing ||
		len(e.changes(w, s.domain)) > 0
}

// found makes "not there" a nil without an error.
func found[T any](object *T, err error) (*T, error) {
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return object, err
}

// inPlace says that a root disk may lie directly on the image's file.
func (e *Engine) inPlace(img Image) bool { return img.InPlace && e.Host.Local }

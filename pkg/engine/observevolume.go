package engine

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"vmctl/pkg/spec"
)

// known reads a volume that the host knows; nil when it knows none of that name, or its
// file has gone.
func (e *Engine) known(ctx context.Context, pool Pool, name string) (*Volume, error) {
	if !pool.has(name) {
		return nil, nil
	}
	return found(e.Host.Volumes.Volume(ctx, name))
}

// allKnown reads those of a name's beginning that the host knows.
func (e *Engine) allKnown(ctx context.Context, pool Pool, prefix string) ([]Volume, error) {
	return e.readVolumes(ctx, pool.named(prefix))
}

// readVolumes reads volumes that were there just now, at once.
func (e *Engine) readVolumes(ctx context.Context, names []string) ([]Volume, error) {
	there := make([]*Volume, len(names))
	parts, part := errgroup.WithContext(ctx)
	parts.SetLimit(readers)
	for i, name := range names {
		parts.Go(func() (err error) {
			there[i], err = found(e.Host.Volumes.Volume(part, name))
			return err
		})
	}
	err := parts.Wait()
	var volumes []Volume
	for _, v := range there {
		if v != nil {
			volumes = append(volumes, *v)
		}
	}
	return volumes, err
}

// observeVolumes reads the data volumes in vmctl's pool, which is active.
func (e *Engine) observeVolumes(ctx context.Context, w Wanted, s *snapshot) error {
	if !slices.ContainsFunc(w.Machine.Volumes, spec.Volume.Own) {
		return nil
	}
	machine := w.Machine.Name
	missing := slices.ContainsFunc(w.Machine.Volumes, func(v spec.Volume) bool { return v.Own() && !s.pool.has(DataVolume(machine, v.Name)) })
	var files []Volume
	var err error
	if missing {
		// Listing looks at the directory again, which a volume that somebody copied there needs.
		files, err = e.Host.Volumes.ListVolumes(ctx, volumePrefix(machine)+dataPart)
	} else {
		files, err = e.allKnown(ctx, s.pool, volumePrefix(machine)+dataPart)
	}
	if err != nil {
		return err
	}
	own, unfinished := map[string]*Volume{}, map[string]bool{}
	for i, f := range files {
		if marked, ok := strings.CutSuffix(f.Name, importSuffix); ok {
			if _, volume, ok := parseDataVolume(marked); ok {
				unfinished[volume] = true
			}
		} else if _, volume, ok := parseDataVolume(f.Name); ok {
			own[volume] = &files[i]
		}
	}
	s.volumes.own, s.volumes.unfinished = own, unfinished
	if !slices.ContainsFunc(w.Machine.Volumes, func(v spec.Volume) bool { return v.Encrypt }) {
		return nil
	}
	secrets, err := e.Host.Secrets.ListSecrets(ctx, volumePrefix(machine)+dataPart)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, secret := range secrets {
		if _, volume, ok := parseDataVolume(secret.Volume); ok && secret.UUID == secretID(machine, volume) {
			there[volume] = true
		}
	}
	s.volumes.secrets = there
	return nil
}

// observeSources reads the volumes of other pools that the machine is to have.
func (e *Engine) observeSources(ctx context.Context, w Wanted, s *snapshot) error {
	sources := map[string]*Volume{}
	for _, v := range w.Machine.Volumes {
		pool, name, ok := strings.Cut(v.Source, "/")
		if !ok {
			continue
		}
		there, err := found(e.Host.Volumes.VolumeIn(ctx, pool, name))
		if err != nil {
			return err
		}
		sources[v.Name] = there
	}
	s.volumes.sources = sources
	return nil
}

// observeUsers reads who has which disk, when the machine is to get one that it has not.
func (e *Engine) observeUsers(ctx context.Context, w Wanted, s *snapshot) (err error) {
	for i, disk := range wantedDisks(w, s) {
		if w.Machine.Volumes[i].Own() && s.volumes.own[disk.Serial] == nil {
			continue // nobody has what is not there yet
		}
		if s.domain != nil {
			has := diskOf(s.domain.Attached, disk.Serial)
			if has != nil && has.Path == disk.Path && s.domain.Live == nil {
				continue // its start is refused when somebody else has it
			}
			if s.domain.Live != nil {
				has = diskOf(s.domain.Live.Attached, disk.Serial)
				if has != nil && has.Path == disk.Path {
					continue
				}
			}
		}
		s.volumes.users, err = e.Host.Domains.DiskUsers(ctx)
		return err
	}
	return nil
}

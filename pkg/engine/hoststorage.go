package engine

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/spec"
)

// PoolState is where a storage pool stands.
type PoolState string

// The states of a pool.
const (
	PoolAbsent   PoolState = "absent"
	PoolInactive PoolState = "inactive"
	PoolActive   PoolState = "active"
)

// Pool is vmctl's storage pool on the host.
type Pool struct {
	Name string
	// Target is the directory on the host.
	Target string
	State  PoolState
	// Autostart says of a pool that is not active that it will be when the host reboots.
	Autostart bool
	// Available is the free space in bytes; 0 when the pool is not active.
	Available spec.Size
	// Volumes are the names of all that is in an active pool, as far as the host knows
	// without looking at the directory again: what vmctl made or removed, on whatever client,
	// it knows.
	Volumes []string
}

// has says that the host knows a volume.
func (p Pool) has(volume string) bool { return slices.Contains(p.Volumes, volume) }

// named are the volumes whose names begin with a prefix.
func (p Pool) named(prefix string) []string {
	var names []string
	for _, name := range p.Volumes {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// Pools reads and makes vmctl's storage pool: a directory pool named "vmctl".
type Pools interface {
	// Pool never returns NotFound: an absent pool has State PoolAbsent and the
	// Target it would get.
	Pool(ctx context.Context) (Pool, error)
	DefinePool(ctx context.Context) error
	// BuildPool makes the directory.
	BuildPool(ctx context.Context) error
	StartPool(ctx context.Context) error
	AutostartPool(ctx context.Context) error
	// RefreshPool looks at the directory of an active pool again.
	RefreshPool(ctx context.Context) error
}

// Volume is a file in the pool.
type Volume struct {
	Name, Path, Format string
	// Capacity is the virtual size, Allocation what it takes on the host's disk, and Length
	// how long the file is.
	Capacity, Allocation, Length spec.Size
	// Backing is the path of the image it lies on, or empty; BackingFormat is that one's, as
	// the volume's own header has it, which no guest can write to.
	Backing, BackingFormat string
	// Modified is when the file was last written to, by the host's clock; zero when the
	// host does not say.
	Modified time.Time
	// Block says that it is a block device, as in a pool of logical volumes.
	Block bool
	// Encrypted says that it is a LUKS container.
	Encrypted bool
}

// Volumes reads and changes volumes of the pool.
type Volumes interface {
	LogFiles
	Volume(ctx context.Context, name string) (*Volume, error)
	// KnownVolumes gives the names that begin with the prefix, sorted, and asks nobody to look
	// at the directory: what vmctl made or removed, on whatever client, the host knows.
	KnownVolumes(ctx context.Context, prefix string) ([]string, error)
	// CreateOverlay makes a qcow2 volume that lies on a base.
	CreateOverlay(ctx context.Context, name string, size spec.Size, base Base) error
	// CreateVolume makes an empty volume of a format.
	CreateVolume(ctx context.Context, name, format string, size spec.Size) error
	// CreateEncrypted makes an empty volume of a format in a LUKS container, whose key is
	// the value of a secret.
	CreateEncrypted(ctx context.Context, name, format string, size spec.Size, secret string) error
	// VolumeIn reads a volume of any pool of the host. It is refused while the pool is not active.
	VolumeIn(ctx context.Context, pool, name string) (*Volume, error)
	// Upload fills a volume from the start, zeros included: what was there is gone.
	// progress is called with bytes sent.
	Upload(ctx context.Context, name string, src io.Reader, size int64, progress func(sent int64)) error
	// UploadRange is Upload for length bytes from an offset on, of a volume that has held
	// nothing there since it was made, or the same bytes: long runs of zeros are not sent,
	// and take no room on the host. When it is done, the host has written all of it.
	UploadRange(ctx context.Context, name string, src io.Reader, offset, length int64, progress func(sent int64)) error
	ResizeVolume(ctx context.Context, name string, size spec.Size) error
	DeleteVolume(ctx context.Context, name string) error
	// ReadVolume streams the raw bytes of a volume's file, which nobody writes to meanwhile,
	// from an offset to its end.
	ReadVolume(ctx context.Context, name string, offset int64) (io.ReadCloser, error)
	// ReadRange reads a few bytes of a volume's file; fewer than asked for where it ends.
	ReadRange(ctx context.Context, name string, offset int64, length int) ([]byte, error)
}

package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// ArrivingVolume is the name of the file that says that what a host has of a machine, without
// its domain, are copies on their way: in it stands the URI of the host that they come from.
func ArrivingVolume(machine string) string { return volumePrefix(machine) + "arriving" }

func createMarker(machine string, mark []byte) Op {
	return createVolume(ArrivingVolume(machine), "raw", spec.Size(len(mark)), "until the machine is there")
}

func fillMarker(machine string, mark []byte) Op {
	name := ArrivingVolume(machine)
	return op(ActionUploadVolume, name, "where it comes from", func(ctx context.Context, e *Engine) error {
		return e.Host.Volumes.Upload(ctx, name, bytes.NewReader(mark), int64(len(mark)), nil)
	}, nil)
}

// moved are the files that have to come to the other host: all of the machine's, but no
// markers and nothing of a delivery.
func (s *moveSnapshot) moved() []Volume {
	return slices.DeleteFunc(slices.Clone(s.from.volumes), func(v Volume) bool {
		machine := s.from.domain.Name
		return isDelivery(machine, v.Name) || v.Name == ArrivingVolume(machine)
	})
}

// volumeOps bring the machine's files to the other host. For a guest that is moved while it
// runs the disks that it writes to are only made: libvirt fills them.
func (m *Move) volumeOps(s *moveSnapshot, way Way) []MoveOp {
	var ops []MoveOp
	add := func(o Op) { ops = append(ops, m.there(preparing, o)) }
	for _, secret := range s.from.secrets {
		_, volume, _ := parseDataVolume(secret.Volume)
		secret.Description = fmt.Sprintf("key of volume %s of vmctl machine %s", volume, m.Name)
		add(op(ActionDefineSecret, secret.UUID, "key of volume "+volume,
			func(ctx context.Context, e *Engine) error { return e.Host.Secrets.DefineSecret(ctx, secret) }, nil))
		add(op(ActionCopySecret, secret.UUID, "from "+m.FromName,
			func(ctx context.Context, e *Engine) error { return m.copySecret(ctx, secret.UUID) }, nil))
	}
	for _, v := range s.moved() {
		_, volume, data := parseDataVolume(v.Name)
		mirrored := way == WayLive && slices.Contains(s.from.domain.Disks, v.Path)
		upload := filling(m.To)
		switch {
		case v.Name == RootVolume(m.Name):
			if !mirrored {
				add(m.copyOp(v, m.basePath(s), upload))
			}
		case data && v.Encrypted:
			add(op(ActionCreateVolume, v.Name, v.Capacity.String()+" encrypted", func(ctx context.Context, e *Engine) error {
				return e.Host.Volumes.CreateEncrypted(ctx, v.Name, dataFormat, v.Capacity, secretID(m.Name, volume))
			}, nil))
			if !mirrored {
				// A new LUKS container has written more than the beginning of its file.
				add(m.copyOp(v, "", m.To.Host.Volumes.Upload))
			}
		case data:
			add(createVolume(v.Name, dataFormat, v.Capacity, v.Capacity.String()))
			if !mirrored {
				add(m.copyOp(v, "", upload))
			}
		default:
			add(createVolume(v.Name, "raw", v.Length, v.Length.String()))
			if strings.HasPrefix(v.Name, LogVolume(m.Name)) {
				add(op(ActionCopyVolume, v.Name, "", func(ctx context.Context, _ *Engine) error { return m.copyLog(ctx, v) }, nil))
			} else if v.Length > 0 {
				add(m.copyOp(v, "", upload))
			}
		}
	}
	return ops
}

// makeRoot makes the root disk on the image as it lies on the other host, empty.
func (m *Move) makeRoot(s *moveSnapshot) Op {
	name := RootVolume(m.Name)
	size := s.file(name).Capacity
	base := Base{Path: m.basePath(s), Format: s.baseFormat()}
	return createOverlay(name, size, base, fmt.Sprintf("%s on %s", size, shortID(s.from.domain.Record.Image)))
}

// baseFormat is the format of the image.
func (s *moveSnapshot) baseFormat() string {
	if s.placed != nil {
		n, _ := parseBase(s.placed.Name)
		return n.format
	}
	return s.image.Format
}

// copyOp copies one file. What it takes on the disk is more or less what has to be sent.
func (m *Move) copyOp(v Volume, base string, upload uploader) Op {
	return Op{
		Action: ActionCopyVolume, Resource: v.Name, When: Now, Cause: v.Allocation.String(), total: int64(v.Length),
		run: func(ctx context.Context, _ *Engine, sent report) error {
			return m.copyFile(ctx, v.Name, v.Name, base, upload, sent)
		},
	}
}

type uploader = func(ctx context.Context, name string, src io.Reader, size int64, progress func(sent int64)) error

// filling is how a volume is filled that was made a moment ago.
func filling(e *Engine) uploader {
	return func(ctx context.Context, name string, src io.Reader, size int64, progress func(sent int64)) error {
		return e.Host.Volumes.UploadRange(ctx, name, src, 0, size, progress)
	}
}

// copyFile copies a file of the first host's pool to a volume of the other's. With a base,
// the copy is a qcow2 that lies on it.
func (m *Move) copyFile(ctx context.Context, from, to, base string, upload uploader, sent report) error {
	v, err := m.From.Host.Volumes.Volume(ctx, from)
	if err != nil {
		return err
	}
	src, err := m.From.Host.Volumes.ReadVolume(ctx, from, 0)
	if err != nil {
		return err
	}
	// Close unblocks a Read that waits for the host.
	stop := context.AfterFunc(ctx, func() { _ = src.Close() })
	defer stop()
	defer func() { _ = src.Close() }()
	var file io.Reader = src
	if base != "" {
		if file, err = rebased(src, base); err != nil {
			return err
		}
	}
	return upload(ctx, to, file, int64(v.Length), sent)
}

// maxLog bounds what is copied of one log: virtlogd begins a new file after 2 MiB.
const maxLog = 16 << 20

// copyLog copies what is in a log now: it may grow meanwhile, or begin anew.
func (m *Move) copyLog(ctx context.Context, v Volume) error {
	src, err := m.From.Host.Volumes.ReadLog(ctx, v.Name, 0)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = src.Close() })
	defer stop()
	defer func() { _ = src.Close() }()
	text, err := io.ReadAll(io.LimitReader(src, min(int64(v.Length), maxLog)))
	if err != nil || len(text) == 0 {
		return err
	}
	return m.To.Host.Volumes.Upload(ctx, v.Name, bytes.NewReader(text), int64(len(text)), nil)
}

// copySecret hands the key of an encrypted volume on.
func (m *Move) copySecret(ctx context.Context, uuid string) error {
	key, err := m.From.Host.Secrets.SecretValue(ctx, uuid)
	defer clear(key)
	if err != nil {
		return err
	}
	if len(key) == 0 {
		return fault.New(fault.Refused, "the key %s has no value on %s", uuid, m.FromName).
			WithHint("restore it: virsh secret-set-value")
	}
	return m.To.Host.Secrets.SetSecret(ctx, uuid, key)
}

package enginetest

import (
	"bytes"
	"context"
	"strings"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

const baseName = "base-contract.raw"

// makePool makes the pool as the engine does.
func makePool(ctx context.Context, h *engine.Host) (engine.Pool, error) {
	for _, step := range []func(context.Context) error{
		h.Pools.DefinePool, h.Pools.BuildPool, h.Pools.AutostartPool, h.Pools.StartPool,
	} {
		if err := step(ctx); err != nil {
			return engine.Pool{}, err
		}
	}
	return h.Pools.Pool(ctx)
}

// Prepare makes the pool, the contract's image and a root disk on it, and gives the
// definition of the machine that uses them. It runs under software emulation, without
// a network. Without content the image is an empty file.
func Prepare(ctx context.Context, h *engine.Host, content bool) (engine.Definition, error) {
	pool, err := makePool(ctx, h)
	if err != nil {
		return engine.Definition{}, err
	}
	if err := h.Volumes.CreateVolume(ctx, baseName, "raw", diskSize); err != nil {
		return engine.Definition{}, err
	}
	if content {
		disk := BootDisk()
		if err := h.Volumes.Upload(ctx, baseName, bytes.NewReader(disk), int64(len(disk)), nil); err != nil {
			return engine.Definition{}, err
		}
	}
	d := declared(Machine, pool.Target)
	d.Base = engine.Base{Path: pool.Target + "/" + baseName, Format: "raw", Size: diskSize}
	return d, h.Volumes.CreateOverlay(ctx, engine.RootVolume(Machine), 4*spec.MiB, d.Base)
}

// declared is the contract's machine on a pool's directory.
func declared(name, target string) engine.Definition {
	m := spec.Machine{
		Name: name, Memory: 64 * spec.MiB, CPUs: 1, Disk: 4 * spec.MiB,
		Accel: spec.AccelTCG, Firmware: spec.FirmwareBIOS, Network: spec.NetworkNone,
	}
	return engine.Definition{
		UUID: engine.UUID(name), Machine: m, Arch: "x86_64",
		Root: target + "/" + engine.RootVolume(name), Log: target + "/" + engine.LogVolume(name),
		Vars: target + "/" + engine.VarsVolume(name, false),
		Record: engine.Record{
			Version: engine.RecordVersion, Rendering: engine.Rendering, Vmctl: "test",
			Project: "/home/user/<project> & \"more\"", Image: "sha256-0123", Source: "images/contract",
			Base: target + "/" + baseName, Root: engine.RootVolume(name), Log: engine.LogVolume(name),
			Memory: m.Memory, CPUs: m.CPUs, Disk: m.Disk, Accel: m.Accel, Firmware: m.Firmware, Network: m.Network,
			Life: 2, Media: []engine.MediumRecord{{Role: engine.RoleSeed, Serial: engine.SerialSeed, Digest: strings.Repeat("0a", 32)}},
		},
	}
}

package engine_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
	"vmctl/pkg/spec"
)

// TestModel carries out random commands on a host in memory and on the model, and compares.
// A failing sequence is shrunk and printed with its seed. MODEL_CHECKS says how many are tried.
func TestModel(t *testing.T) {
	t.Parallel()
	checks := os.Getenv("MODEL_CHECKS")
	if checks == "" {
		checks = "1000"
	}
	require.NoError(t, flag.Set("rapid.checks", checks))
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	file := inFile(t)
	rapid.Check(t, func(r *rapid.T) {
		h := enginetest.NewHost(enginetest.Options{})
		h.PlantPool(engine.Pool{Name: "vmctl", Target: "/var/lib/libvirt/images/vmctl", State: engine.PoolActive, Autostart: true})
		h.PlantVolume(engine.Volume{Name: "theirs.qcow2", Format: "qcow2", Capacity: spec.GiB}, []byte("theirs"))
		h.PlantDomain(engine.Domain{
			Name: "theirs", UUID: "11111111-2222-3333-4444-555555555555", State: engine.StateRunning, Memory: spec.GiB, CPUs: 1,
			Disks: []string{"/var/lib/libvirt/images/vmctl/theirs.qcow2"},
		})
		enginetest.Model(r, &inMemory{h, file})
	})
}

// inMemory is the host in memory as the model's subject.
type inMemory struct {
	h    *enginetest.Host
	file engine.Wanted
}

func (s *inMemory) Host() *engine.Host     { return s.h.Connect() }
func (s *inMemory) Engine() *engine.Engine { return on(s.h) }

func (s *inMemory) Wanted(name string, uploaded bool) engine.Wanted {
	w := inStore()
	if uploaded {
		w.Image = s.file.Image
	}
	w.Machine.Name, w.Machine.Autostart = name, false
	return w
}

func (s *inMemory) Stop() engine.DownOptions { return engine.DownOptions{Timeout: time.Minute} }

// Disturbed lets one of the disturbances happen at one of the calls.
func (s *inMemory) Disturbed(r *rapid.T, do func(context.Context, *engine.Engine) error) {
	d := rapid.SampledFrom(disturbances).Draw(r, "how")
	n := rapid.Int64Range(1, 40).Draw(r, "at call")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var calls atomic.Int64
	s.h.Each(func(string) enginetest.Fate {
		if calls.Add(1) != n {
			return enginetest.Fate{}
		}
		return d.at(s.h, cancel)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = do(ctx, on(s.h))
	}()
	<-done
	s.h.Each(nil)
	s.h.Mend()
}

func (s *inMemory) MayKeepDisks() bool { return false }

func (s *inMemory) Boots(r *rapid.T, machine string) {
	disk, err := s.h.Volume(context.Background(), engine.RootVolume(machine))
	require.NoError(r, err)
	disk.Allocation = spec.MiB
	s.h.PlantVolume(*disk, []byte("precious"))
}

func (s *inMemory) Write(r *rapid.T, volume string) {
	require.NoError(r, s.h.Upload(context.Background(), volume, strings.NewReader("precious"), 8, nil))
}

func (s *inMemory) Written(r *rapid.T, volume string) bool {
	content, err := s.h.ReadVolume(context.Background(), volume, 0)
	require.NoError(r, err)
	defer func() { _ = content.Close() }()
	head := make([]byte, 8)
	_, _ = content.Read(head)
	return string(head) == "precious"
}

func (s *inMemory) Crash(_ *rapid.T, machine string) { s.h.Crash(machine) }

func (s *inMemory) Undefine(r *rapid.T, domain string) {
	require.NoError(r, s.h.UndefineDomain(context.Background(), domain))
}

func (s *inMemory) Delete(r *rapid.T, volume string) {
	require.NoError(r, s.h.DeleteVolume(context.Background(), volume))
}

func (s *inMemory) Take(_ *rapid.T, name string) {
	s.h.PlantDomain(engine.Domain{Name: name, UUID: fmt.Sprintf("22222222-2222-3333-4444-%012d", len(name)), State: engine.StateShutOff, Memory: spec.GiB, CPUs: 1})
}

func (s *inMemory) StopPool(*rapid.T) { s.h.StopPool() }

func (s *inMemory) Volumes(*rapid.T) []string { return s.h.VolumeNames() }

func (s *inMemory) Theirs(*rapid.T) string {
	all := foreign(s.h.Dump())
	return strings.Join(slices.DeleteFunc(all, func(line string) bool { return strings.HasPrefix(line, "network") }), "\n")
}

package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Medium is a small read-only disk whose content the client makes: what a guest is told
// about itself before it has a network.
type Medium struct {
	// Role says what it is for, in a word that also begins its volume's name.
	Role Role
	// Serial has at most 20 bytes: /dev/disk/by-id/virtio-SERIAL in the guest.
	Serial string
	// Content is a whole file system. A medium that names the machine's life has Make instead.
	Content []byte
	// Make gives the content for one life of the machine, which is that of its root disk:
	// life is the same until the disk is made anew. It is a pure function.
	Make func(life string) ([]byte, error)
}

// Role says what a medium is for.
type Role string

// RoleSeed is the one role so far. Volumes of media are known by their role: down removes
// them. Secrets are no medium: see Delivery.
const RoleSeed Role = "seed"

// SerialSeed is what the guest finds the seed by.
const SerialSeed = "vmctl-seed"

// MediumRecord is what the metadata says of a medium.
type MediumRecord struct {
	Role   Role
	Serial string
	// Digest is the SHA-256 of the content, in hex.
	Digest string
}

// mediumVolume is the name of a medium's volume. It says what is in it: a
// changed one lies beside the old one, which a running guest may still have, and an old
// definition never meets a new content.
func mediumVolume(machine string, r MediumRecord) string {
	return volumePrefix(machine) + string(r.Role) + "." + r.Digest[:min(len(r.Digest), digestLetters)] + ".img"
}

const digestLetters = 16

// marker marks that a medium was uploaded whole: libvirt cannot rename.
func marker(volume string) string { return volume + ".ok" }

var mediumName = regexp.MustCompile(`^` + string(RoleSeed) + `(\.[0-9a-f]+)?\.img(\.ok)?$`)

// isMedium says whether a volume of the machine is one of its media, or the marker of one.
func isMedium(machine, volume string) bool {
	rest, ours := strings.CutPrefix(volume, volumePrefix(machine))
	return ours && mediumName.MatchString(rest)
}

// medium is a wanted medium with its content.
type medium struct {
	MediumRecord
	content []byte
	// volume is its name.
	volume string
}

// disk is the medium as the guest gets it.
func (m medium) disk(target string) Disk {
	return Disk{Serial: m.Serial, Path: target + "/" + m.volume, Format: "raw", ReadOnly: true}
}

// makeMedia makes the wanted media for one life of the machine.
func makeMedia(w Wanted, life string) ([]medium, error) {
	var all []medium
	for _, m := range w.Media {
		content := m.Content
		if m.Make != nil {
			made, err := m.Make(life)
			if err != nil {
				return nil, err
			}
			content = made
		}
		out := medium{MediumRecord: MediumRecord{Role: m.Role, Serial: m.Serial}, content: content}
		sum := sha256.Sum256(content)
		out.Digest = hex.EncodeToString(sum[:])
		out.volume = mediumVolume(w.Machine.Name, out.MediumRecord)
		all = append(all, out)
	}
	return all, nil
}

// recordsOf are the records of media.
func recordsOf(media []medium) []MediumRecord {
	var all []MediumRecord
	for _, m := range media {
		all = append(all, m.MediumRecord)
	}
	return all
}

// observeMedia makes the wanted media and finds their volumes and markers, and what is left of others.
func (e *Engine) observeMedia(ctx context.Context, w Wanted, s *snapshot) (err error) {
	had := s.domain != nil && s.domain.Record != nil && len(s.domain.Record.Media) > 0
	if len(w.Media) == 0 && !had {
		return nil
	}
	if s.media, err = makeMedia(w, lifeOf(w.Machine.Name, s.domain, false)); err != nil || s.pool.State != PoolActive {
		return err
	}
	names := slices.DeleteFunc(s.pool.named(volumePrefix(w.Machine.Name)), func(name string) bool { return !isMedium(w.Machine.Name, name) })
	volumes, err := e.readVolumes(ctx, names)
	for _, v := range volumes {
		s.mediaVolumes = append(s.mediaVolumes, v.Name)
	}
	return err
}

// lifeOf names one life of a machine, that of its root disk. Disks are counted while the
// domain is there; without it nothing has been told to any of them.
func lifeOf(machine string, d *Domain, remade bool) string {
	return uuid.NewSHA1(namespace, fmt.Appendf(nil, "%s/%d", UUID(machine), lifeNumber(d, remade))).String()
}

func lifeNumber(d *Domain, remade bool) int {
	if d == nil || d.Record == nil {
		return 1
	}
	n := max(d.Record.Life, 1)
	if remade {
		n++
	}
	return n
}

// uploadMedium sends a medium's content to its volume.
func (e *Engine) uploadMedium(ctx context.Context, m medium, sent report) error {
	return e.Host.Volumes.Upload(ctx, m.volume, bytes.NewReader(m.content), int64(len(m.content)), sent)
}

// mediaChanges lists how the definition's media differ from the wanted ones.
func mediaChanges(d *Domain, media []medium) []change {
	if d == nil || d.Record == nil {
		return nil
	}
	var attached []MediumRecord
	for _, r := range d.Record.Media {
		volume := "/" + mediumVolume(d.Name, r)
		if slices.ContainsFunc(d.Attached, func(disk Disk) bool {
			return disk.Serial == r.Serial && strings.HasSuffix(disk.Path, volume)
		}) {
			attached = append(attached, r)
		}
	}
	return differences(attached, recordsOf(media))
}

// differences lists how media differ, by their roles.
func differences(from, to []MediumRecord) []change {
	short := func(all []MediumRecord, role Role) string {
		for _, r := range all {
			if r.Role == role {
				return r.Digest[:min(len(r.Digest), 8)]
			}
		}
		return "none"
	}
	var all []change
	for _, role := range []Role{RoleSeed} {
		if was, want := short(from, role), short(to, role); was != want {
			all = append(all, change{key: string(role), from: was, to: want})
		}
	}
	return all
}

package engine

import (
	"strings"

	"vmctl/pkg/spec"
)

// volumeSnapshot is what a plan needs to know of data volumes.
type volumeSnapshot struct {
	// own are the volumes in vmctl's pool, and sources those of other pools, by the names
	// that the definition gives them.
	own, sources map[string]*Volume
	// unfinished are those whose import was cut short.
	unfinished map[string]bool
	// secrets are the keys that are there, by the volumes' names.
	secrets map[string]bool
	// users are the domains that have a disk; read only when one has to be attached.
	users []DiskUser
}

// wantedDisks are the disks that the machine's volumes become, in their order.
func wantedDisks(w Wanted, s *snapshot) []Disk {
	var disks []Disk
	for _, v := range w.Machine.Volumes {
		d := Disk{
			Serial: v.Name, Path: v.Path, Format: string(spec.DiskRaw), Block: v.Path != "", ReadOnly: v.ReadOnly,
			Cache: v.Cache, IO: v.IO, Discard: v.Discard,
		}
		switch {
		case v.Own():
			d.Path, d.Format = strings.TrimSuffix(s.pool.Target, "/")+"/"+DataVolume(w.Machine.Name, v.Name), dataFormat
			if v.Encrypt {
				d.Secret = secretID(w.Machine.Name, v.Name)
			}
		case v.Source != "":
			d.Format = string(v.Disk)
			if there := s.volumes.sources[v.Name]; there != nil {
				d.Path, d.Block = there.Path, there.Block
			}
		}
		disks = append(disks, d)
	}
	return disks
}

// ours are the disks that vmctl attached for a volume of the definition: everything else
// is somebody else's, or one of vmctl's own that are no volumes.
func ours(d *Domain, disks []Disk) []Disk {
	known := map[string]bool{}
	note := func(r *Record) {
		if r != nil {
			for _, v := range r.Volumes {
				known[v.Name+" "+v.Path] = true
			}
		}
	}
	note(d.Record)
	if d.Live != nil {
		note(d.Live.Record)
	}
	var out []Disk
	for _, disk := range disks {
		if known[disk.Serial+" "+disk.Path] || ownVolume(d.Name, disk.Path) {
			out = append(out, disk)
		}
	}
	return out
}

// volumeChanges lists how the disks of the persistent definition differ from what is
// wanted. A running guest can be given a disk and can let go of one; how a disk is driven
// does not change while it is attached.
func volumeChanges(w Wanted, s *snapshot) []change {
	d := s.domain
	var all []change
	wanted := wantedDisks(w, s)
	for i, v := range w.Machine.Volumes {
		key := "volume " + v.Name
		switch has := diskOf(d.Attached, v.Name); {
		case has == nil:
			all = append(all, change{key, "none", describe(v), true})
		case has.Path != wanted[i].Path:
			all = append(all, change{key, has.Path, wanted[i].Path, true})
		case *has != wanted[i]:
			all = append(all, change{key, driven(*has), driven(wanted[i]), false})
		}
	}
	for _, has := range ours(d, d.Attached) {
		if diskOf(wanted, has.Serial) == nil {
			all = append(all, change{"volume " + has.Serial, "attached", "none", true})
		}
	}
	return append(all, mountChanges(d.Record.Volumes, recordVolumes(w.Machine.Volumes, wanted))...)
}

// mountChanges lists what guests are told anew at their next boot.
func mountChanges(was, want []RecordVolume) []change {
	var all []change
	for _, v := range want {
		for _, old := range was {
			if old.Name == v.Name && (old.Mount != v.Mount || old.Format != v.Format) {
				all = append(all, change{key: "mount of volume " + v.Name, from: mounted(old), to: mounted(v)})
			}
		}
	}
	return all
}

func mounted(v RecordVolume) string {
	if v.Mount == "" {
		return "none"
	}
	return v.Mount + " (" + string(v.Format) + ")"
}

// driven says how a disk is driven, for people.
func driven(d Disk) string {
	words := []string{"cache " + d.Cache, "io " + d.IO, "discard " + d.Discard}
	if d.ReadOnly {
		words = append(words, "read-only")
	}
	if d.Secret != "" {
		words = append(words, "encrypted")
	}
	return strings.Join(append(words, d.Format), ", ")
}

// pendingVolumes lists what the running guest has otherwise than its definition says.
func pendingVolumes(d *Domain) []change {
	var all []change
	for _, live := range ours(d, d.Live.Attached) {
		if has := diskOf(d.Attached, live.Serial); has != nil && has.Path == live.Path && *has != live {
			all = append(all, change{key: "volume " + live.Serial, from: driven(live), to: driven(*has)})
		}
	}
	return append(all, mountChanges(d.Live.Record.Volumes, d.Record.Volumes)...)
}

package engine

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
)

// sane refuses what is no move, or not this one. It leaves three cases: the machine is on
// the first host alone, noted as moving to the second or not; or it has arrived there.
func (m *Move) sane(s *moveSnapshot) error {
	from, to := s.from.domain, s.to.domain
	switch {
	case s.from.capabilities.ID != "" && s.from.capabilities.ID == s.to.capabilities.ID && m.From.Host.Session == m.To.Host.Session:
		return fault.New(fault.Usage, "%s and %s are the same host", m.FromName, m.ToName).WithHint("name another host")
	case from == nil && to == nil:
		return fault.New(fault.NotFound, "machine %s is not up on %s", m.Name, m.FromName).
			WithHint("vmctl list --all-hosts shows where it is; vmctl -H HOST migrate %s … moves it from there", m.Name)
	}
	for _, side := range []struct {
		e *Engine
		d *Domain
	}{{m.From, from}, {m.To, to}} {
		if side.d != nil {
			if err := side.e.owned(side.d, false); err != nil {
				return err
			}
		}
	}
	note := s.from.moving()
	switch {
	case s.from.busy:
		return m.stillMoving()
	case to != nil && to.Transient && to.State.Active():
		return fault.New(fault.Refused, "%s is just arriving on %s, or libvirt there is still getting rid of it", m.Name, m.ToName).
			WithHint("try again in a moment")
	case to != nil && to.Record.Moving != nil:
		return fault.New(fault.Refused, "what %s has of %s was being moved to %s, and that was cut short", m.ToName, m.Name, to.Record.Moving.To).
			WithHint("finish or give up that move first: vmctl -c %s migrate %s %s", ansi.ShellWord(m.To.Host.URI), m.Name, ansi.ShellWord(to.Record.Moving.To))
	case note != nil && note.ID != "" && note.ID != m.hostID(s.to.capabilities):
		return fault.New(fault.Refused, "%s is on its way to %s, and that was cut short", m.Name, note.To).
			WithHint("go on with that first, vmctl migrate %[1]s %[2]s; or give it up: vmctl migrate --give-up %[1]s %[2]s", m.Name, ansi.ShellWord(note.To))
	case from != nil && to != nil && note == nil:
		return fault.New(fault.Refused, "both %s and %s have a machine %s", m.FromName, m.ToName, m.Name).
			WithHint("vmctl info shows what each is; take one of them down first")
	case from != nil && from.Transient:
		return fault.New(fault.Refused, "the definition of %s was removed from %s while it runs", m.Name, m.FromName).
			WithHint("vmctl up %s puts it back", m.Name)
	case from != nil && s.from.pool.State != PoolActive:
		return fault.New(fault.Refused, "storage pool %s of %s is not active, and the disks of %s are in it", s.from.pool.Name, m.FromName, m.Name).
			WithHint("virsh -c %s pool-start %s", ansi.ShellWord(m.From.Host.URI), s.from.pool.Name)
	}
	return nil
}

// stillMoving refuses to look at a guest that libvirt is about to hold, or to let run on.
func (m *Move) stillMoving() error {
	return fault.New(fault.Refused, "libvirt on %s is still at a move of %s", m.FromName, m.Name).WithHint("try again in a moment")
}

// hostID tells the other host from what others call by the same URI: by its own ID, else
// only this client is believed to mean the same.
func (m *Move) hostID(c Capabilities) string { return cmp.Or(c.ID, m.To.Token.Client) }

// check refuses before anything is changed what cannot come through.
func (m *Move) check(s *moveSnapshot, way Way) error {
	for _, check := range []func(*moveSnapshot, Way) error{
		m.checkState, m.checkDisks, m.checkDevices, m.checkHost, m.checkNetworks, m.checkPorts, m.checkRoom,
	} {
		if err := check(s, way); err != nil {
			return err
		}
	}
	return nil
}

// checkState refuses what only the first host has of the guest.
func (m *Move) checkState(s *moveSnapshot, way Way) error {
	d := s.from.domain
	switch {
	case d.ManagedSave:
		return fault.New(fault.Refused, "%s has saved memory on %s, which cannot be moved", m.Name, m.FromName).
			WithHint("start it first, and it goes on from there; or forget it: virsh -c %s managedsave-remove %s", ansi.ShellWord(m.From.Host.URI), m.Name)
	case s.portable.Snapshots > 0:
		return fault.New(fault.Refused, "%s has %d snapshots on %s, which cannot be moved", m.Name, s.portable.Snapshots, m.FromName).
			WithHint("virsh -c %s snapshot-list %s shows them, snapshot-delete removes one", ansi.ShellWord(m.From.Host.URI), m.Name)
	case lent(d):
		return fault.New(fault.Refused, "%s is just being handed its secrets", m.Name).WithHint("try again when it is ready")
	case setting(d.Record, "tpm") && way == WayCold:
		return fault.New(fault.Refused, "%s cannot be moved while it is off: it has a TPM, and what is in it moves with a running guest alone", m.Name).
			WithHint("move it live, between two system connections; or write tpm: false, which loses what is in it")
	}
	return nil
}

// checkDisks refuses disks that are not files of the machine's own, or not whole.
func (m *Move) checkDisks(s *moveSnapshot, _ Way) error {
	d, root := s.from.domain, s.file(RootVolume(m.Name))
	if err := (&planner{e: m.From, s: &snapshot{domain: d}}).onRoot(); err != nil {
		return err
	}
	switch {
	case root == nil:
		return fault.New(fault.Refused, "the root disk of %s is not on %s any more", m.Name, m.FromName).
			WithHint("vmctl up --replace %s makes a new one", m.Name)
	case root.Backing != d.Record.Base:
		return fault.New(fault.Refused, "the root disk of %s does not lie on its image any more, as after virsh blockpull", m.Name).
			WithHint("vmctl up --replace %s makes a new one, losing what is in it", m.Name)
	case s.image == nil && s.placed == nil:
		return fault.New(fault.NotFound, "the image of %s, %s, cannot be had for %s", m.Name, shortID(d.Record.Image), m.ToName).
			WithHint("run this where the image was built")
	}
	for _, disk := range d.Disks {
		if path.Dir(disk) != path.Clean(s.from.pool.Target) || s.file(path.Base(disk)) == nil {
			return fault.New(fault.Refused, "%s cannot be moved: its disk %s is %s's own", m.Name, disk, m.FromName).
				WithHint("take it out of the definition and run vmctl up %s first", m.Name)
		}
	}
	for _, v := range s.from.volumes {
		file, cut := strings.CutSuffix(v.Name, importSuffix)
		if _, volume, ok := parseDataVolume(file); ok && cut {
			return unfinished(m.Name, volume)
		} else if ok && v.Backing != "" {
			return fault.New(fault.Refused, "volume %s of %s lies on another file, %s", volume, m.Name, v.Backing).
				WithHint("vmctl does not make such volumes: flatten it, or move it away")
		}
	}
	if s.to.arriving || s.to.domain != nil {
		return nil // what is there goes first
	}
	if len(s.to.volumes) > 0 {
		v := s.to.volumes[0]
		hint := fmt.Sprintf("vmctl -c %s down %s removes it, if nobody needs it", ansi.ShellWord(m.To.Host.URI), m.Name)
		if _, volume, ok := parseDataVolume(strings.TrimSuffix(v.Name, importSuffix)); ok {
			hint = fmt.Sprintf("vmctl -c %s volume rm %s/%s deletes it, with what is in it", ansi.ShellWord(m.To.Host.URI), m.Name, volume)
		}
		return fault.New(fault.Refused, "%s has a file of a machine %s already: %s", m.ToName, m.Name, v.Name).WithHint("%s", hint)
	}
	return nil
}

// checkDevices refuses what is a piece of the first host.
func (m *Move) checkDevices(s *moveSnapshot, _ Way) error {
	record := s.from.domain.Record
	if len(record.Shares) > 0 {
		return fault.New(fault.Refused, "%s cannot be moved: it shares the directory %s of %s", m.Name, record.Shares[0].Source, m.FromName).
			WithHint("take shares out of the definition and run vmctl up --restart %s first", m.Name)
	}
	for _, key := range []string{"devices.pci", "devices.usb"} {
		if setting(record, key) {
			return fault.New(fault.Refused, "%s cannot be moved: it has devices of %s (%s)", m.Name, m.FromName, key).
				WithHint("take devices out of the definition and run vmctl up --restart %s first", m.Name)
		}
	}
	return nil
}

// setting says that a key was declared that is recorded in words.
func setting(r *Record, key string) bool { return valueOf(r.Settings, key) != none }

// file is one of the machine's files on the first host.
func (s *moveSnapshot) file(name string) *Volume {
	for i := range s.from.volumes {
		if s.from.volumes[i].Name == name {
			return &s.from.volumes[i]
		}
	}
	return nil
}

package engine

import (
	"path"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"vmctl/pkg/spec"
)

// dataPart comes between a machine's prefix and a data volume's own name.
const dataPart = "data-"

// DataVolume is the name of the file of a machine's data volume. It is always qcow2:
// what a guest writes into a raw file could look like another format to whoever looks at
// the file next, and a qcow2 has the same size wherever it is copied to.
func DataVolume(machine, volume string) string {
	return volumePrefix(machine) + dataPart + volume + dataSuffix
}

const (
	dataSuffix = ".qcow2"
	dataFormat = "qcow2"
	// importSuffix makes the name of the empty file that says that a volume is not whole
	// yet: libvirt cannot rename, and an upload cut short looks like any other volume.
	importSuffix = ".importing"
)

// importMarker is the name of the file that stands beside an unfinished data volume.
func importMarker(machine, volume string) string { return DataVolume(machine, volume) + importSuffix }

var dataName = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)\.([0-9a-f]{8})\.data-([a-z0-9][a-z0-9-]*)\.qcow2$`)

// parseDataVolume tells whose data volume a file in the pool is. The mark has to be the
// machine's: nothing else is ours.
func parseDataVolume(file string) (machine, volume string, ok bool) {
	m := dataName.FindStringSubmatch(file)
	if m == nil || DataVolume(m[1], m[3]) != file {
		return "", "", false
	}
	return m[1], m[3], true
}

// secretID is the UUID of the libvirt secret with the key of an encrypted volume: a
// function of whose volume it is, as the machine's own is of its name.
func secretID(machine, volume string) string {
	return uuid.NewSHA1(namespace, []byte("secret "+machine+"/"+volume)).String()
}

// RecordVolume is what the metadata says of one volume of the machine.
type RecordVolume struct {
	Name string
	// Mount and Format are what the guest is told; both are empty without a mount.
	Mount  string
	Format spec.FileSystem
	// Path is the disk on the host.
	Path string
}

// recordVolumes is what the metadata says of the wanted volumes.
func recordVolumes(volumes []spec.Volume, disks []Disk) []RecordVolume {
	var out []RecordVolume
	for i, v := range volumes {
		r := RecordVolume{Name: v.Name, Mount: v.Mount}
		if v.Mount != "" {
			r.Format = v.Format
		}
		if i < len(disks) {
			r.Path = disks[i].Path
		}
		out = append(out, r)
	}
	return out
}

// describe says what a volume is, for people.
func describe(v spec.Volume) string {
	var words []string
	switch {
	case v.Path != "":
		words = append(words, v.Path)
	case v.Source != "":
		words = append(words, v.Source)
	default:
		words = append(words, v.Size.String())
	}
	if v.Encrypt {
		words = append(words, "encrypted")
	}
	if v.Mount != "" {
		words = append(words, "at "+v.Mount)
	}
	return strings.Join(words, " ")
}

// ownVolume says whether a file is a data volume of a machine, by its name.
func ownVolume(machine, file string) bool {
	m, _, ok := parseDataVolume(path.Base(file))
	return ok && m == machine
}

// diskOf finds a disk by its serial.
func diskOf(disks []Disk, serial string) *Disk {
	for i := range disks {
		if disks[i].Serial == serial {
			return &disks[i]
		}
	}
	return nil
}

package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func volumeCommand() *command {
	one := func(usage string, least, most int, what string) *arguments {
		return &arguments{
			usage: usage, one: what, least: least, most: most, hint: "vmctl volume list shows the volumes",
			complete: volumeWords,
		}
	}
	return &command{
		name: "volume", group: other,
		summary: "Look after data volumes",
		about: []string{
			"A data volume is a disk that a machine has beside its root disk, and that outlives it: volumes in the definition says which. " +
				"It is named MACHINE/VOLUME here. In the guest the volume data is /dev/disk/by-id/virtio-data.",
			"up makes volumes, grows them and attaches them, also while the machine runs. The verbs here are for everything else.",
		},
		verbs: []*command{
			volumeListCommand(),
			{
				name: "create", run: runVolumeCreate, takes: ownWords, args: one("MACHINE/VOLUME [SIZE]", 1, 2, "a volume"),
				options:  []option{{name: "encrypt", help: "keep it encrypted on the host, with a key that libvirt holds"}},
				summary:  "Make a volume before its machine needs it",
				about:    []string{"Size and encryption are those of the definition when they are not given. up makes volumes by itself: this is for filling one first."},
				examples: []example{{"vmctl volume create example/data 50GiB", ""}},
			},
			{
				name: "resize", run: runVolumeResize, takes: ownWords, args: one("MACHINE/VOLUME SIZE", 2, 2, "a volume and a size"),
				summary: "Make a volume larger",
				about: []string{
					"Grows the volume, also below a running guest, which sees it at once. A volume never shrinks. One that a definition declares is grown by " +
						"changing its size there and running up, so that the definition stays true.",
				},
				examples: []example{{"vmctl volume resize example/data 100GiB", ""}},
			},
			{
				name: "rm", run: runVolumeRemove, takes: ownWords, args: one("MACHINE/VOLUME...", 1, -1, "a volume"),
				options: []option{yesOption()},
				summary: "Delete volumes with all that is in them",
				about: []string{"Asks before it deletes. A volume that a machine has is refused: take it out of the definition first, or the machine down. " +
					"The key of an encrypted volume goes with it."},
				examples: []example{{"vmctl volume rm example/data", ""}},
			},
			volumeExportCommand(one("MACHINE/VOLUME FILE", 2, 2, "a volume and a file")),
			volumeImportCommand(one("MACHINE/VOLUME FILE", 2, 2, "a volume and a file")),
		},
	}
}

// yesOption answers the question that comes before data is lost.
func yesOption() option {
	return option{name: "yes", short: "y", help: "do not ask before deleting volumes"}
}

// volumeWords are the volumes that the project declares, for completion.
func volumeWords(c *call, given []string) []string {
	p, err := c.projectOrNone()
	if err != nil || p == nil || len(given) > 0 {
		return nil
	}
	all, _ := p.LoadAll()
	var words []string
	for _, m := range all {
		for _, v := range m.Volumes {
			if v.Own() {
				words = append(words, m.Name+"/"+v.Name)
			}
		}
	}
	return words
}

// named is a volume that a command was given, with what the project says of it.
type namedVolume struct {
	machine, volume string
	e               *engine.Engine
	// declared is nil when the definition does not have it.
	declared *spec.Volume
}

func (v *namedVolume) String() string { return v.machine + "/" + v.volume }

// volume finds the host of a volume given as MACHINE/VOLUME.
func (c *call) volume(ctx context.Context, word string) (*namedVolume, error) {
	machine, name, err := engine.SplitVolume(word)
	if err != nil {
		return nil, err
	}
	t, e, err := c.open(ctx, machine)
	if err != nil {
		return nil, err
	}
	v := &namedVolume{machine: machine, volume: name, e: e}
	if t.machine != nil {
		for i := range t.machine.Volumes {
			if d := &t.machine.Volumes[i]; d.Name == name && d.Own() {
				v.declared = d
			}
		}
	}
	return v, nil
}

func runVolumeCreate(ctx context.Context, c *call, in *urfave.Context) error {
	v, err := c.volume(ctx, c.line.args[0])
	if err != nil {
		return err
	}
	encrypt := in.Bool("encrypt")
	var size spec.Size
	switch {
	case len(c.line.args) > 1:
		if size, err = spec.ParseVolumeSize(c.line.args[1]); err != nil {
			return err
		}
	case v.declared != nil:
		size = v.declared.Size
	default:
		return usagef("%s is in no definition: how large it is to be has to be said", v).WithHint("vmctl volume create %s 50GiB", v)
	}
	if v.declared != nil {
		if size > v.declared.Size {
			return v.declaredSize(size)
		}
		encrypt = encrypt || v.declared.Encrypt
	}
	if encrypt {
		c.secrets.guard() // its key is made here
	}
	if err := v.e.CreateDataVolume(ctx, v.machine, v.volume, size, encrypt); err != nil {
		return err
	}
	c.sayDone("%s is made: %s", v, size)
	return nil
}

// declaredSize refuses to make a volume larger than its definition says: the next up
// would find it too large.
func (v *namedVolume) declaredSize(size spec.Size) error {
	return fault.New(fault.Refused, "the definition of %s says that volume %s has %s", v.machine, v.volume, v.declared.Size).
		WithHint("write size: %s there, then: vmctl up %s", size.Exact(), v.machine)
}

func runVolumeResize(ctx context.Context, c *call, _ *urfave.Context) error {
	size, err := spec.ParseVolumeSize(c.line.args[1])
	if err != nil {
		return err
	}
	v, err := c.volume(ctx, c.line.args[0])
	if err != nil {
		return err
	}
	if v.declared != nil && size > v.declared.Size {
		return v.declaredSize(size)
	}
	grown, err := v.e.ResizeDataVolume(ctx, v.machine, v.volume, size)
	switch {
	case err != nil:
		return err
	case grown && c.tendVolume(ctx, v.e.Host, v.machine, spec.Volume{Name: v.volume}, false) == nil:
		c.sayDone("%s is %s now, and so is a file system that the guest has mounted on it", v, size)
	case grown:
		c.sayDone("%s is %s now; its file system grows when the guest mounts it, or by resize2fs, xfs_growfs or btrfs there", v, size)
	default:
		c.sayDone("%s is %s already", v, size)
	}
	return nil
}

func runVolumeRemove(ctx context.Context, c *call, in *urfave.Context) error {
	var wanted []*namedVolume
	var lost []engine.DataVolumeInfo
	for _, word := range unique(c.line.args) {
		v, err := c.volume(ctx, word)
		if err != nil {
			return err
		}
		there, err := v.e.DataVolume(ctx, v.machine, v.volume)
		if err != nil {
			return err
		}
		if err := there.Unused("deleted"); err != nil {
			return err
		}
		wanted, lost = append(wanted, v), append(lost, *there)
	}
	if !in.Bool("yes") {
		if err := c.confirmLoss(ctx, lost); err != nil {
			return err
		}
	}
	for _, v := range wanted {
		if err := v.e.RemoveDataVolume(ctx, v.machine, v.volume); err != nil {
			return err
		}
		c.sayDone("%s is deleted", v)
	}
	return nil
}

// mayDelete asks before down deletes the volumes of machines.
func (c *call) mayDelete(ctx context.Context, names []string) error {
	var lost []engine.DataVolumeInfo
	for _, name := range names {
		_, e, err := c.open(ctx, name)
		if err != nil {
			return err
		}
		all, err := e.DataVolumes(ctx, name)
		if err != nil {
			return err
		}
		lost = append(lost, all...)
	}
	return c.confirmLoss(ctx, lost)
}

// confirmLoss names what would be lost, and asks.
func (c *call) confirmLoss(ctx context.Context, lost []engine.DataVolumeInfo) error {
	if len(lost) == 0 {
		return nil
	}
	words := make([]string, len(lost))
	for i, v := range lost {
		words[i] = fmt.Sprintf("%s (%s, %s of it used)", v, v.Volume.Capacity, v.Volume.Allocation)
	}
	question := fmt.Sprintf("Delete %s? What is in there is lost.", strings.Join(words, ", "))
	c.progress.Pause()
	defer c.progress.Resume()
	yes, err := ui.Confirm(ctx, c.streams, question, false, "--yes")
	if err == nil && !yes {
		err = fault.New(fault.Refused, "nothing was deleted: the answer was no")
	}
	return err
}

// sayKept says that volumes stay, where somebody might think that they went.
func (c *call) sayKept(kept []engine.DataVolumeInfo) {
	if len(kept) == 0 {
		return
	}
	words := make([]string, len(kept))
	for i, v := range kept {
		words[i] = fmt.Sprintf("%s (%s)", v, v.Volume.Capacity)
	}
	c.sayDone("kept: %s; vmctl volume rm deletes", strings.Join(words, ", "))
}

package cli

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/ansi"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
	"vmctl/pkg/ui"
)

func cpCommand() *command {
	return &command{
		name: "cp", group: inside, takes: ownWords, run: runCp,
		args: &arguments{
			usage: "SOURCE DESTINATION", one: "a source and a destination", least: 2, most: 2,
			hint: "one of them is in a machine: vmctl cp file example:/tmp/",
		},
		summary: "Copy files into a machine, or out of it",
		about: []string{
			"One of both is NAME:PATH, a path in the machine; relative ones begin in the home directory. A destination that is a directory gets the source in it. " +
				"What is at the destination is replaced only when everything has arrived: after Ctrl-C it is as it was.",
			"Small files go through the guest agent, which needs no network. What is large goes by ssh, where that works without asking for a password, " +
				"because it is faster. By the agent, root writes the files; by ssh, the user that the definition names. " +
				"A file on this side with a colon in its name is written as ./a:b.",
		},
		options: []option{
			{name: "recursive", short: "r", help: "copy directories, with all that is in them"},
			viaOption(),
		},
		examples: []example{
			{"vmctl cp nginx.conf example:/etc/nginx/", ""},
			{"vmctl cp -r example:/var/log ./logs", ""},
		},
		json: `{
  "name": "example",
  "via": "agent",
  "source": "nginx.conf",
  "destination": "example:/etc/nginx/",
  "bytes": 2048
}`,
	}
}

// cpResult is what cp tells.
type cpResult struct {
	Name        string `json:"name"`
	Via         string `json:"via"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Bytes       int64  `json:"bytes"`
}

// end is one end of a copy.
type end struct {
	// machine is empty on this side.
	machine, path string
}

// parseEnd reads NAME:PATH as scp does: a colon behind a slash is a file name's.
func parseEnd(word string) (end, error) {
	name, rest, ok := strings.Cut(word, ":")
	if !ok || strings.Contains(name, "/") {
		return end{path: word}, nil
	}
	if strings.ContainsAny(rest, "\x00\n") {
		return end{}, usagef("%q is no path", rest)
	}
	return end{name, rest}, spec.CheckName(name)
}

// local makes a path of this side absolute; a slash at its end stays.
func (c *call) local(e *end) error {
	if e.machine != "" || filepath.IsAbs(e.path) {
		return nil
	}
	cwd, err := c.deps.Getwd()
	if err != nil {
		return fault.New(fault.NotFound, "the current directory cannot be read: %w", err)
	}
	slash := ""
	if strings.HasSuffix(e.path, "/") {
		slash = "/"
	}
	e.path = filepath.Join(cwd, e.path) + slash
	return nil
}

func runCp(ctx context.Context, c *call, in *urfave.Context) error {
	from, err := parseEnd(c.line.args[0])
	if err != nil {
		return err
	}
	to, err := parseEnd(c.line.args[1])
	if err != nil {
		return err
	}
	switch {
	case from.path == "-" && from.machine == "":
		return usagef("cp reads files, and not its standard input").WithHint("vmctl exec %s sh -c 'cat >FILE' writes what is piped in", to.machine)
	case to.path == "-" && to.machine == "":
		return usagef("cp writes files, and not to its standard output").WithHint("vmctl exec %s cat %s prints one; ./- is a file of that name", from.machine, ansi.ShellWord(from.path))
	case from.machine != "" && to.machine != "":
		return usagef("cp copies between this machine and one other").
			WithHint("copy in two steps: vmctl cp %s:%s FILE, then vmctl cp FILE %s:%s", from.machine, from.path, to.machine, to.path)
	case from.machine == "" && to.machine == "":
		return usagef("neither %s nor %s is in a machine", c.line.args[0], c.line.args[1]).
			WithHint("write NAME:PATH, such as vmctl cp %s example:/tmp/", c.line.args[0])
	}
	up := to.machine != ""
	for _, e := range []*end{&from, &to} {
		if err := c.local(e); err != nil {
			return err
		}
	}
	if up {
		// What is not there needs no machine.
		if _, err := os.Stat(from.path); err != nil {
			return fault.New(fault.NotFound, "there is no file %s", c.line.args[0])
		}
	}
	m, err := c.reachable(ctx, from.machine+to.machine)
	if err != nil {
		return err
	}
	runner, via, err := m.copier(ctx, in.String("via"), up, from.path)
	if err != nil {
		return err
	}
	var bytes int64
	event := progress.Event{ID: m.name + "/cp", Text: "copy " + c.line.args[0] + " by " + via, Unit: progress.Bytes}
	c.progress.Emit(event)
	job := &guest.Copy{
		Runner: runner, Machine: m.name, Recursive: in.Bool("recursive"),
		Moved: func(moved, all int64) {
			bytes = moved
			event.Current, event.Total = moved, max(all, moved)
			if all == 0 {
				event.Total = 0
			}
			c.progress.Emit(event)
		},
		Skipped: func(path string) {
			c.note(m.name, fault.New(fault.Other, "%s is left out: it is neither a file nor a directory nor a link", path))
		},
	}
	if up {
		err = job.Upload(ctx, from.path, to.path)
	} else {
		err = job.Download(ctx, from.path, to.path)
	}
	if err != nil && ctx.Err() != nil {
		err = fault.New(fault.Interrupted, "interrupted; the destination is as it was")
	}
	event.Status = progress.Done
	if err != nil {
		event.Status, event.Err = progress.Failed, err
	}
	c.progress.Emit(event)
	c.progress.Close()
	if err != nil {
		return err
	}
	if c.json() {
		return ui.JSON(c.streams, cpResult{m.name, via, c.line.args[0], c.line.args[1], bytes})
	}
	return nil
}

// largeCopy is from where on ssh's handshake costs less than the agent's slower way.
const largeCopy = 4 << 20

// copier is the faster way in. What a download has in it is not known before.
func (m *reachable) copier(ctx context.Context, via string, up bool, from string) (guest.Runner, string, error) {
	if via != viaAuto {
		return m.runner(ctx, via)
	}
	if up && treeSize(from) < largeCopy {
		return m.runner(ctx, via)
	}
	has, err := m.hasAgent(ctx)
	if err != nil {
		return nil, "", err
	}
	if !has {
		return m.runner(ctx, viaAuto)
	}
	login, err := m.login(ctx, "")
	if err == nil && login.Works(ctx) {
		return login, viaSSH, nil
	}
	return m.agent(), viaAgent, ctx.Err()
}

// treeSize is about how much there is to copy.
func treeSize(name string) (size int64) {
	_ = filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		if size >= largeCopy {
			return fs.SkipAll
		}
		return nil
	})
	return size
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/safefile"
	"vmctl/pkg/spec"
	"vmctl/pkg/ssh"
)

func sshConfigCommand() *command {
	return &command{
		name: "ssh-config", group: inside, takes: nothing, run: runSSHConfig,
		summary: "Let plain ssh, scp, rsync and Ansible know the machines",
		about: []string{
			"Prints a Host block for each machine that vmctl list shows, for ~/.ssh/config. ssh then runs vmctl to find the machine whenever it connects, " +
				"so the block stays right when the address changes, and learns the host key from the machine's agent as vmctl ssh does.",
			"--install keeps the blocks in a file of vmctl's own and adds one line to ~/.ssh/config that includes it. Run it again when there are new machines, " +
				"or when a user, key or port has changed. A machine that only the host tells of is left out where ssh knows another host of that name.",
		},
		options: []option{
			{name: "install", help: "write the blocks where ssh reads them"},
			{name: "uninstall", help: "take away what --install wrote, for all projects"},
		},
		examples: []example{
			{"vmctl ssh-config --install", "then: ssh example, scp file example:, rsync -a dir example:"},
			{"vmctl ssh-config >hosts.conf", "then: ssh -F hosts.conf example"},
		},
	}
}

// sshHost is a machine as ssh should know it.
type sshHost struct {
	name, uri string
	ssh       spec.SSH
	project   string
	// claimed says that only the libvirt host tells of it.
	claimed bool
}

func runSSHConfig(ctx context.Context, c *call, in *urfave.Context) error {
	if in.Bool("uninstall") && in.Bool("install") {
		return usagef("--install and --uninstall ask for opposite things").WithHint("leave one of them out")
	}
	if in.Bool("uninstall") {
		return c.uninstallSSHConfig()
	}
	hosts, failed := c.sshHosts(ctx)
	if in.Bool("install") {
		hosts = c.unclaimed(ctx, hosts)
	}
	text, err := c.sshConfig(hosts)
	if err != nil {
		return err
	}
	c.progress.Close()
	if !in.Bool("install") {
		if err := c.print(text); err != nil {
			return err
		}
		return failed
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.name
	}
	return errors.Join(c.installSSHConfig(text, names), failed)
}

// sshHosts are the project's machines, and those on the host in use that belong to no
// other project. A host that does not answer keeps none of the project's away.
func (c *call) sshHosts(ctx context.Context) ([]sshHost, error) {
	p, err := c.projectOrNone()
	if err != nil {
		return nil, err
	}
	var hosts []sshHost
	seen := map[string]bool{}
	dir := ""
	var invalid error
	if p != nil {
		dir = p.Dir
		machines, err := p.LoadAll()
		invalid = err
		for _, m := range machines {
			uri, err := c.uri(m.Host)
			if err != nil {
				return nil, err
			}
			seen[m.Name] = true
			hosts = append(hosts, sshHost{name: m.Name, uri: uri, ssh: c.sshOf(m), project: dir})
		}
	}
	uri, err := c.uri("")
	if err != nil {
		return nil, err
	}
	e, err := c.engine(ctx, uri, nil)
	if err != nil {
		if len(hosts) > 0 {
			return hosts, invalid
		}
		return nil, err
	}
	domains, err := e.Host.Domains.ListDomains(ctx, engine.WithRecords)
	for _, d := range domains {
		if !d.Managed || d.Record == nil || seen[d.Name] || spec.CheckName(d.Name) != nil || dir != "" && d.Record.Project != "" && d.Record.Project != dir {
			continue
		}
		hosts = append(hosts, sshHost{name: d.Name, uri: uri, ssh: spec.SSH{User: rootUser, Port: spec.SSHPort}, claimed: true})
	}
	return hosts, spec.Join(err, invalid)
}

// unclaimed leaves out machines that no definition of the person's names, where ssh knows a host of that
// name: who may write to the libvirt host would choose where ssh goes.
func (c *call) unclaimed(ctx context.Context, hosts []sshHost) []sshHost {
	return slices.DeleteFunc(hosts, func(h sshHost) bool {
		known := h.claimed && ssh.Knows(ctx, c.deps.getenv("HOME"), h.name)
		if known {
			c.say(h.name + " is left out: you have another host of that name, and the project defines no such machine")
		}
		return known
	})
}

// sshConfig are the blocks.
func (c *call) sshConfig(hosts []sshHost) (string, error) {
	dirs, err := c.dirs()
	if err != nil {
		return "", err
	}
	program, err := c.program()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Written by vmctl ssh-config.\n")
	for _, h := range hosts {
		proxy := []string{program, "-q", "-c", h.uri, "ssh-proxy"}
		if h.ssh.Port != spec.SSHPort {
			proxy = append(proxy, "--port", fmt.Sprint(h.ssh.Port))
		}
		line := func(key, value string) { fmt.Fprintf(&b, "    %s %s\n", key, value) }
		fmt.Fprintf(&b, "\nHost %s\n", h.name)
		line("User", h.ssh.User)
		if h.ssh.Key != "" {
			line("IdentityFile", sshQuote(keyFile(h.ssh.Key, h.project, c.deps.getenv("HOME"))))
		}
		line("ProxyCommand", strings.ReplaceAll(ssh.Quote(append(proxy, h.name)...), "%", "%%"))
		line("HostKeyAlias", hostKeyAlias(h.name))
		line("UserKnownHostsFile", sshQuote(dirs.KnownHosts(h.uri, h.name)))
		line("GlobalKnownHostsFile", "/dev/null")
		line("StrictHostKeyChecking", "ask")
		line("CheckHostIP", "no")
		line("UpdateHostKeys", "no")
		line("HashKnownHosts", "no")
	}
	return b.String(), nil
}

// sshQuote is a file name in ssh's configuration.
func sshQuote(path string) string { return `"` + strings.ReplaceAll(path, "%", "%%") + `"` }

// program is where this vmctl is: in PATH, where an update keeps it, or its own file.
func (c *call) program() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fault.New(fault.Other, "vmctl does not know its own path: %w", err)
	}
	info, err := os.Stat(self)
	if err != nil {
		return self, nil
	}
	for _, dir := range filepath.SplitList(c.deps.getenv("PATH")) {
		candidate := filepath.Join(dir, "vmctl")
		if there, err := os.Stat(candidate); err == nil && filepath.IsAbs(dir) && os.SameFile(there, info) {
			return candidate, nil
		}
	}
	return self, nil
}

func (c *call) includeLine() (string, error) {
	dirs, err := c.dirs()
	if err != nil {
		return "", err
	}
	dir, _ := dirs.SSHConfig("")
	return `Include "` + dir + `/*"`, nil
}

// userConfig is ~/.ssh/config, where a link leads.
func (c *call) userConfig() (string, error) {
	home := c.deps.getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", fault.New(fault.Other, "there is no home directory with a .ssh/config: HOME is not set")
	}
	path := filepath.Join(home, ".ssh", "config")
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	return path, nil
}

func (c *call) installSSHConfig(text string, names []string) error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	project := ""
	if p, err := c.projectOrNone(); err == nil && p != nil {
		project = p.Dir
	}
	dir, file := dirs.SSHConfig(project)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Other, "cannot keep ssh's configuration: %w", err)
	}
	if err := safefile.Write(file, []byte(text)); err != nil {
		return fault.New(fault.Other, "cannot keep ssh's configuration: %w", err)
	}
	config, include, added, err := c.changeInclude(func(include string, lines []string) []string {
		for _, l := range lines {
			if strings.TrimSpace(l) == include {
				return lines
			}
		}
		// In front of everything: inside a Host block it would hold for that host alone.
		return append([]string{include}, lines...)
	})
	if err != nil {
		return err
	}
	if added {
		c.say("added to " + config + ": " + include)
	}
	if len(names) > 0 {
		c.say("ssh, scp and rsync know " + join(names, ", "))
	}
	return nil
}

func (c *call) uninstallSSHConfig() error {
	dirs, err := c.dirs()
	if err != nil {
		return err
	}
	config, include, removed, err := c.changeInclude(func(include string, lines []string) []string {
		var kept []string
		for _, l := range lines {
			if strings.TrimSpace(l) != include {
				kept = append(kept, l)
			}
		}
		return kept
	})
	if err != nil {
		return err
	}
	dir, _ := dirs.SSHConfig("")
	if err := os.RemoveAll(dir); err != nil {
		return fault.New(fault.Other, "cannot remove %s: %w", dir, err)
	}
	if removed {
		c.say("taken out of " + config + ": " + include)
	}
	return nil
}

// changeInclude changes where the Include line stands in the person's own configuration.
func (c *call) changeInclude(change func(include string, lines []string) []string) (config, include string, changed bool, err error) {
	if config, err = c.userConfig(); err != nil {
		return "", "", false, err
	}
	if include, err = c.includeLine(); err != nil {
		return "", "", false, err
	}
	changed, err = changeLines(config, func(lines []string) []string { return change(include, lines) })
	return config, include, changed, err
}

// changeLines rewrites a file of the person's, when there is something to change, with
// its mode and in one step.
func changeLines(path string, change func(lines []string) []string) (bool, error) {
	failed := func(err error) error {
		return fault.New(fault.Other, "cannot change %s: %w", path, err)
	}
	before, err := os.ReadFile(path)
	mode := fs.FileMode(0o600)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, failed(err)
	default:
		if info, err := os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
	}
	var lines []string
	if len(before) > 0 {
		lines = strings.Split(strings.TrimSuffix(string(before), "\n"), "\n")
	}
	after := ""
	if changed := change(lines); len(changed) > 0 {
		after = strings.Join(changed, "\n") + "\n"
	}
	if strings.TrimSuffix(after, "\n") == strings.TrimSuffix(string(before), "\n") {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, failed(err)
	}
	// Not vmctl's own directory: nothing there may have a name that somebody knows before.
	if err := renameio.WriteFile(path, []byte(after), mode); err != nil {
		return false, failed(err)
	}
	return true, nil
}

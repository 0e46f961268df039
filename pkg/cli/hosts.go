package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/hosts"
	"vmctl/pkg/push"
	"vmctl/pkg/ssh"
)

// openHosts are the connections of one command: one for each host, whatever asks. Where
// several machines are worked on, there is one for each lane of them; but a host that is
// reached by a network is authenticated to only once.
type openHosts struct {
	*connected
	lane int
}

type connected struct {
	mu   sync.Mutex
	open map[string]*openHost
	// asked is how many of several hosts are being connected to.
	asked atomic.Int32
}

func newHosts() openHosts { return openHosts{connected: &connected{open: map[string]*openHost{}}} }

type openHost struct {
	once   sync.Once
	host   *engine.Host
	closer io.Closer
	err    error
}

func (o openHosts) of(uri string) *openHost {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := uri
	if parsed, err := url.Parse(uri); err == nil && parsed.Host == "" {
		key = fmt.Sprintf("%s over connection %d", uri, o.lane)
	}
	if o.open[key] == nil {
		o.open[key] = &openHost{}
	}
	return o.open[key]
}

// all are the connections that came about, by what they are.
func (o openHosts) all() map[string]io.Closer {
	o.mu.Lock()
	defer o.mu.Unlock()
	closers := map[string]io.Closer{}
	for key, h := range maps.All(o.open) {
		if h.closer != nil {
			closers[key] = h.closer
		}
	}
	return closers
}

// host connects, once for each URI: whoever asks second gets the same answer, so that
// nobody has to authenticate twice.
func (c *call) host(ctx context.Context, uri string) (*engine.Host, error) {
	o := c.hosts.of(uri)
	o.once.Do(func() {
		silent := c.silence(uri)
		late := time.AfterFunc(quietTime, func() { silent(true) })
		host, closer, err := c.deps.OpenHost(ctx, uri, c.shared(uri).Command(), silent)
		late.Stop()
		if err == nil {
			host.Pusher = c.pusher(host.URI)
		}
		c.hosts.mu.Lock()
		defer c.hosts.mu.Unlock()
		o.host, o.closer, o.err = host, closer, err
	})
	return o.host, o.err
}

// sharedSSH is made when a host is first to be reached by ssh; nil where nothing can be shared.
type sharedSSH struct {
	once   sync.Once
	shared *ssh.Shared
}

// shared is the ssh connection that all of one command uses to a host; nil where it is not
// reached by ssh.
func (c *call) shared(uri string) *ssh.Shared {
	if h := ssh.Of(uri); h == nil || !strings.Contains(uri, "+ssh:") {
		return nil
	}
	c.ssh.once.Do(func() {
		var places []string
		if dirs, err := c.dirs(); err == nil {
			places = append(places, dirs.Runtime)
		}
		c.ssh.shared = ssh.Share(append(places, filepath.Join(os.TempDir(), fmt.Sprintf("vmctl-%d", os.Getuid())))...)
	})
	return c.ssh.shared
}

// sshTo is the way to a host that is reached by ssh, over the connection that is there
// already; else nil.
func (c *call) sshTo(uri string) *ssh.Host {
	h := ssh.Of(uri)
	if h != nil {
		h.Config = c.shared(uri).Config()
	}
	return h
}

// pusher is the other way for images to a host that is reached by ssh; nil for others. It
// asks nobody: where a login needs a person that is not there already, there is none.
func (c *call) pusher(uri string) engine.Pusher {
	h := c.sshTo(uri)
	if h == nil {
		return nil
	}
	flags := []string{"-T", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6"}
	return &push.Remote{SSH: h.Argv(flags), Host: h.Name, Log: c.log}
}

// chosenHost is the host that the command line names, as a URI or by its name.
func (c *call) chosenHost() (string, error) {
	uri, name := c.global("connect"), c.global("host")
	if uri != "" && name != "" {
		return "", usagef("--connect and --host both name the host").WithHint("leave one of them out")
	}
	return uri + name, nil
}

// onHost is how a command for the same host is written: "vmctl -H server".
func (c *call) onHost() string {
	switch {
	case c.global("host") != "":
		return "vmctl -H " + c.global("host")
	case c.global("connect") != "":
		return "vmctl -c " + ansi.ShellWord(c.global("connect"))
	}
	return "vmctl"
}

// uri is the libvirt host: the command line's, else the machine's, else virsh's rules.
// Names are looked up in the user's list of hosts.
func (c *call) uri(machineHost string) (string, error) {
	chosen, err := c.chosenHost()
	if err != nil {
		return "", err
	}
	for _, word := range []string{chosen, machineHost} {
		if word != "" {
			return c.namedHost(word, c.global("host") != "" || chosen == "")
		}
	}
	return c.unnamedHost()
}

// unnamedHost is the URI of the host that is used where nobody names one: virsh's rules.
func (c *call) unnamedHost() (string, error) {
	switch word := c.deps.getenv(envURI); {
	case word != "":
		return c.namedHost(word, false)
	case c.deps.Root:
		return "qemu:///system", nil
	default:
		return "qemu:///session", nil
	}
}

// namedHost is the URI of a word that may be a host's name. Unless it has to be known
// here, libvirt gets it as it is: its own configuration can hold names, too.
func (c *call) namedHost(word string, must bool) (string, error) {
	if strings.ContainsAny(word, ":/?") {
		return word, nil
	}
	list, err := c.hostList()
	if err != nil {
		return "", err
	}
	if uri, ok := list.URI(word); ok {
		return uri, nil
	}
	if must {
		return "", list.Unknown(word)
	}
	return word, nil
}

// hostList is the user's list of hosts.
func (c *call) hostList() (*hosts.File, error) {
	dirs, err := c.dirs()
	if err != nil {
		return nil, err
	}
	if dirs.Hosts() == "" {
		return nil, fault.New(fault.Other, "there is no directory for the list of hosts: HOME is not set").
			WithHint("set HOME or XDG_CONFIG_HOME")
	}
	return hosts.Open(dirs.Hosts())
}

// hostNames are the names of hosts by URI, for showing them.
func (c *call) hostNames() map[string]string {
	names := map[string]string{}
	list, err := c.hostList()
	if err != nil {
		return names
	}
	for _, h := range list.All() {
		names[h.URI] = h.Name
	}
	return names
}

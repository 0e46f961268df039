package cli

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/guest"
	"vmctl/pkg/progress"
	"vmctl/pkg/spec"
)

// The ways into a guest.
const (
	viaAuto  = "auto"
	viaAgent = "agent"
	viaSSH   = "ssh"
)

func viaOption() option {
	return option{
		name: "via", kind: isText, value: "WAY", choices: []string{viaAuto, viaAgent, viaSSH}, preset: viaAuto,
		help: "how to get into the guest: agent (needs no network), ssh, or auto, which takes what works",
	}
}

// machineAndCommand are a machine and what to run in it.
func machineAndCommand() *arguments {
	return &arguments{
		usage: "NAME [COMMAND...]", one: "the name of a machine", least: 1, most: -1, command: true,
		hint: "vmctl list shows the machines", complete: completeMachine,
	}
}

// completeMachine completes the first word.
func completeMachine(c *call, given []string) []string {
	if len(given) > 0 {
		return nil
	}
	return c.machineNames()
}

// reachable is a running machine to do something inside of.
type reachable struct {
	c    *call
	name string
	// uri is the host as it was named.
	uri  string
	host *engine.Host
	d    *engine.Domain
	ssh  spec.SSH
	// project is the directory that a key's path is relative to.
	project string
	// made says that vmctl makes the machine's host key.
	made bool
}

// reachable finds a running machine.
func (c *call) reachable(ctx context.Context, name string) (*reachable, error) {
	if err := spec.CheckName(name); err != nil {
		return nil, err
	}
	t, e, d, err := c.observe(ctx, name)
	if err != nil {
		return nil, err
	}
	if !d.State.Active() {
		return nil, fault.New(fault.Refused, "%s is %s: nothing runs in it", name, d.State).WithHint("vmctl start %s", name)
	}
	if d.State == engine.StatePaused {
		return nil, fault.New(fault.Refused, "%s is paused: nothing runs in it", name).WithHint("vmctl start %s resumes it", name)
	}
	m := &reachable{c: c, name: name, uri: t.uri, host: e.Host, d: d, ssh: spec.SSH{User: rootUser, Port: spec.SSHPort}}
	if t.machine != nil {
		m.ssh, m.project, m.made = c.sshOf(t.machine), t.project.Dir, t.machine.Identity
	}
	return m, nil
}

// rootUser is who logs in where nothing says otherwise.
const rootUser = "root"

// sshOf is how a person logs in to a declared machine.
func (c *call) sshOf(machine *spec.Machine) spec.SSH {
	s := machine.SSH
	switch {
	case s.User != "":
	case !seeded(machine):
		s.User = rootUser
	case machine.CloudInit.User != "":
		s.User = machine.CloudInit.User
	default:
		s.User = c.guestUser()
	}
	return s
}

// record is what the machine was started with.
func (m *reachable) record() *engine.Record {
	if m.d.Live != nil && m.d.Live.Record != nil {
		return m.d.Live.Record
	}
	return m.d.Record
}

func (m *reachable) agent() *guest.Agent { return guest.NewAgent(m.host, m.name) }

// hasAgent says whether an agent has opened its channel.
func (m *reachable) hasAgent(ctx context.Context) (bool, error) {
	return m.host.Events.AgentConnected(ctx, m.name)
}

// route finds a way to a TCP port of the guest.
func (m *reachable) route(ctx context.Context, port uint16) (guest.Route, error) {
	record := m.record()
	jump := m.c.sshTo(m.host.URI)
	if !m.host.Local && jump == nil {
		return m.remoteRoute(record, port)
	}
	for _, p := range record.Ports {
		if p.Guest == port && p.Protocol == spec.TCP && p.Host != 0 {
			address, err := netip.ParseAddr(dial(p.Address.String()))
			if err != nil {
				continue
			}
			return guest.Route{Address: address, Port: p.Host, Jump: jump}, nil
		}
	}
	if !engine.HasAddress(record) {
		return guest.Route{}, m.noRoute(record.Network, port)
	}
	words, err := m.host.Networks.Addresses(ctx, m.name)
	if err != nil {
		return guest.Route{}, err
	}
	var addresses []netip.Addr
	for _, word := range words {
		if a, err := netip.ParseAddr(word); err == nil {
			addresses = append(addresses, a)
		}
	}
	if len(addresses) == 0 {
		return guest.Route{}, fault.New(fault.NotFound, "%s has no address yet", m.name).
			WithHint("it may still be booting: vmctl logs %[1]s; vmctl exec %[1]s COMMAND needs no network", m.name)
	}
	if jump == nil && len(addresses) > 1 {
		addresses[0] = answering(ctx, addresses, port)
	}
	return guest.Route{Address: addresses[0], Port: port, Jump: jump}, nil
}

// remoteRoute is for a host that is reached neither here nor by ssh: only what it
// forwards from an address that others can use.
func (m *reachable) remoteRoute(record *engine.Record, port uint16) (guest.Route, error) {
	for _, p := range record.Ports {
		if p.Guest == port && p.Protocol == spec.TCP && p.Host != 0 && !p.Address.IsLoopback() && !p.Address.IsUnspecified() {
			return guest.Route{Address: p.Address, Port: p.Host}, nil
		}
	}
	return guest.Route{}, fault.New(fault.Refused, "there is no way to the network of %s, which is behind %s", m.name, m.host.URI).
		WithHint("connect to the host by ssh (qemu+ssh://), through which vmctl goes; or use vmctl exec %s COMMAND, which needs no network", m.name)
}

func (m *reachable) noRoute(network string, port uint16) error {
	if network == spec.NetworkNone {
		return fault.New(fault.Refused, "%s has no network", m.name).WithHint("vmctl exec %s COMMAND needs none", m.name)
	}
	return fault.New(fault.Refused, "nothing leads to port %d of %s, which uses user networking", port, m.name).
		WithHint("write ports: [\"auto:%d\"] in the definition and run vmctl up --restart %s; vmctl exec %[2]s COMMAND needs no network", port, m.name)
}

// answerTime is how long an address may take to answer while others are tried too.
const answerTime = time.Second

// answering is the first address at which the port answers, else the first.
func answering(ctx context.Context, addresses []netip.Addr, port uint16) netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answers := make([]chan bool, len(addresses))
	for i, a := range addresses {
		answers[i] = make(chan bool, 1)
		go func() {
			var dialer net.Dialer
			conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(a, port).String())
			if err == nil {
				_ = conn.Close()
			}
			answers[i] <- err == nil
		}()
	}
	for i, a := range addresses {
		if <-answers[i] {
			return a
		}
	}
	return addresses[0]
}

// known is where the machine's ssh host keys are kept.
func (m *reachable) known() (guest.Known, error) {
	dirs, err := m.c.dirs()
	return guest.Known{Path: dirs.KnownHosts(m.uri, m.name), Alias: hostKeyAlias(m.name)}, err
}

func hostKeyAlias(machine string) string { return "vmctl." + machine }

// login is ssh to the machine, its host key known where somebody can vouch for it.
func (m *reachable) login(ctx context.Context, user string) (*guest.SSH, error) {
	route, err := m.route(ctx, m.ssh.Port)
	if err != nil {
		return nil, err
	}
	known, err := m.known()
	if err != nil {
		return nil, err
	}
	if user == "" {
		user = m.ssh.User
	}
	login := &guest.SSH{
		Machine: m.name, Route: route, User: user, Key: m.keyFile(), Known: known,
		Ask: m.c.streams.InTTY && m.c.streams.ErrTTY, Err: m.c.deps.Diagnostics,
	}
	return login, m.vouch(ctx, known)
}

// keyFile is the private key's path.
func (m *reachable) keyFile() string { return keyFile(m.ssh.Key, m.project, m.c.deps.getenv("HOME")) }

func keyFile(key, project, home string) string {
	if rest, ok := strings.CutPrefix(key, "~/"); ok {
		return filepath.Join(home, rest)
	}
	if key == "" || filepath.IsAbs(key) {
		return key
	}
	return filepath.Join(project, key)
}

// vouch makes sure that a host key is known, if the guest's agent can be asked for it.
// That it cannot is no error: ssh asks, or refuses.
func (m *reachable) vouch(ctx context.Context, known guest.Known) error {
	keys, err := known.Keys()
	if err != nil {
		return err
	}
	if made := m.identity(ctx); made != "" && !slices.Contains(keys, made) {
		return known.Learn(append(keys, made))
	}
	if len(keys) > 0 {
		return nil
	}
	if keys = m.agentKeys(ctx); len(keys) == 0 {
		keys = m.reportedKeys()
	}
	if len(keys) > 0 {
		return known.Learn(keys)
	}
	return ctx.Err()
}

// reportedKeys are the host keys that the guest told on its channel when it was ready,
// which nobody but the guest and the host can write to.
func (m *reachable) reportedKeys() []guest.HostKey {
	if r := m.c.reportOf(m.host.URI, m.name); r != nil {
		return guest.ParseHostKeys(strings.Join(r.HostKeys, "\n"))
	}
	return nil
}

// identity is the host key that vmctl made for the machine and hands over at each boot, or
// empty.
func (m *reachable) identity(ctx context.Context) guest.HostKey {
	if !m.made {
		return ""
	}
	keys, err := m.c.keys(ctx)
	if err != nil {
		return ""
	}
	public, err := keys.Public(m.project, m.name)
	if err != nil {
		return ""
	}
	if parsed := guest.ParseHostKeys(public.HostKey); len(parsed) == 1 {
		return parsed[0]
	}
	return ""
}

// agentKeysTime bounds how long a login waits for the agent.
const agentKeysTime = 10 * time.Second

// agentKeys are the host keys that the guest's agent tells; none when there is nobody.
func (m *reachable) agentKeys(ctx context.Context) []guest.HostKey {
	if has, err := m.hasAgent(ctx); err != nil || !has {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentKeysTime)
	defer cancel()
	keys, err := m.agent().HostKeys(ctx)
	if err != nil {
		m.c.log.Debug("ask the agent for the ssh host keys", "machine", m.name, "error", err)
	}
	return keys
}

// renewed looks, after ssh failed, whether the guest's agent tells other host keys than
// those known: then the machine was made anew, and they are learnt.
func (m *reachable) renewed(ctx context.Context, known guest.Known) bool {
	old, err := known.Keys()
	if err != nil || len(old) == 0 {
		return false
	}
	keys := m.agentKeys(ctx)
	for _, k := range keys {
		if slices.Contains(old, k) {
			return false
		}
	}
	if len(keys) == 0 || known.Learn(keys) != nil {
		return false
	}
	m.c.progress.Emit(progress.Event{
		ID: m.name + "/host-key", Status: progress.Note,
		Text: "the ssh host key of " + m.name + " has changed, and its guest agent confirms the new one: connecting again",
	})
	return true
}

// runner is the way into the guest: the agent where one answers, else ssh.
func (m *reachable) runner(ctx context.Context, via string) (guest.Runner, string, error) {
	if via != viaSSH {
		has, err := m.hasAgent(ctx)
		if err != nil {
			return nil, "", err
		}
		if has || via == viaAgent {
			return m.agent(), viaAgent, nil
		}
	}
	login, err := m.login(ctx, "")
	if err != nil {
		if via == viaAuto {
			err = m.noWay(err)
		}
		return nil, "", err
	}
	return login, viaSSH, nil
}

// noWay says that neither way works.
func (m *reachable) noWay(err error) error {
	return fault.New(fault.KindOf(err), "no guest agent answers in %s, and ssh cannot help: %w", m.name, err).
		WithHint("install qemu-guest-agent in the guest (NixOS: services.qemuGuest.enable = true)")
}

// forgetHostKey forgets the ssh host key of a machine that is no more: one that is made
// anew under its name has another.
func (c *call) forgetHostKey(t *target) {
	dirs, err := c.dirs()
	if err != nil {
		return
	}
	known := guest.Known{Path: dirs.KnownHosts(t.uri, t.name), Alias: hostKeyAlias(t.name)}
	if err := known.Forget(); err != nil {
		c.note(t.name, err)
	}
}

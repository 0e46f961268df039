package guest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"vmctl/pkg/ansi"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

const (
	// agentTime is how long the agent may think about one command.
	agentTime = 20 * time.Second
	// agentChunk is how much one guest-file-read asks for. libvirt's RPC takes 4 MiB in one
	// string; in software emulation a MiB takes a third of a second.
	agentChunk = 512 << 10
	// agentWrite is how much goes to the guest at a time, and agentQuestion the longest
	// command: what does not fit into the buffer of the socket to QEMU (208 KiB on Linux)
	// in one piece never arrives, and the agent is lost for a while (libvirt 9.0).
	agentWrite    = 96 << 10
	agentQuestion = 160 << 10
)

// Agent works inside a guest through its agent (qemu-ga), which needs no network.
// Everything it answers is the guest's word: bounded, checked, and never trusted.
type Agent struct {
	host   *engine.Host
	domain string
	// turns are for few commands at a time: the guest takes one after the other, and libvirt
	// lets callers of the same agent fail who have waited for 30 seconds.
	turns chan struct{}
}

// turnsAtOnce is how many commands may be under way.
const turnsAtOnce = 3

// NewAgent speaks to the agent in a domain. Nothing is asked yet.
func NewAgent(host *engine.Host, domain string) *Agent {
	return &Agent{host: host, domain: domain, turns: make(chan struct{}, turnsAtOnce)}
}

// ask sends a command and reads the answer into a pointer, or throws it away.
func (a *Agent) ask(ctx context.Context, command string, arguments, into any) error {
	question, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return err
	}
	if len(question) > agentQuestion {
		return fault.New(fault.Refused, "the command is too long for the guest agent of %s", a.domain).
			WithHint("put what is long into a file: vmctl cp FILE %s:/tmp/", a.domain)
	}
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	reply, err := a.host.Agents.AgentCommand(ctx, a.domain, string(question), agentTime)
	if err != nil {
		return a.explain(err)
	}
	var answer struct {
		Return json.RawMessage `json:"return"`
	}
	err = json.Unmarshal([]byte(reply), &answer)
	if err == nil && into != nil {
		err = json.Unmarshal(answer.Return, into)
	}
	if err != nil {
		return fault.New(fault.Refused, "the guest agent of %s gives no answer that can be understood to %s", a.domain, command).
			WithHint("update qemu-guest-agent in the guest, or use ssh: vmctl ssh %s", a.domain)
	}
	return nil
}

// explain adds what to do where nobody answers.
func (a *Agent) explain(err error) error {
	if !errors.Is(err, engine.ErrNoAgent) {
		return err
	}
	return (&fault.Error{Kind: fault.Refused, Msg: "no guest agent answers in " + a.domain, Cause: engine.ErrNoAgent}).
		WithHint("install qemu-guest-agent in the guest (NixOS: services.qemuGuest.enable = true), or wait until it has booted: vmctl logs %s", a.domain)
}

// refusal makes a sentence of what the agent refused; other errors stay what they are.
func (a *Agent) refusal(err error, doing string) error {
	refused, ok := errors.AsType[*engine.AgentError](err)
	if !ok {
		return err
	}
	reason := ansi.Line(refused.Reason)
	if disabled(err) {
		return (&fault.Error{
			Kind: fault.Refused, Msg: "cannot " + doing + ": the guest agent of " + a.domain + " does not allow " + refused.Command, Cause: err,
		}).WithHint("allow it in the guest's qemu-ga configuration, or go by ssh: --via ssh")
	}
	kind := fault.Other
	if strings.Contains(reason, "No such file") {
		kind = fault.NotFound
	}
	return &fault.Error{Kind: kind, Msg: "cannot " + doing + ": " + reason, Cause: err}
}

// disabled says that the agent does not know a command or its owner forbade it, as
// Fedora and RHEL do with guest-exec and guest-file-*.
func disabled(err error) bool {
	refused, ok := errors.AsType[*engine.AgentError](err)
	return ok && (strings.Contains(refused.Reason, "has been disabled") || strings.Contains(refused.Reason, "has not been found"))
}

// file is an open file of the guest.
type file struct {
	agent  *Agent
	handle int64
}

// open opens a file of the guest as fopen does.
func (a *Agent) open(ctx context.Context, path, mode string) (*file, error) {
	var handle int64
	err := a.ask(ctx, "guest-file-open", map[string]string{"path": path, "mode": mode}, &handle)
	if err != nil {
		return nil, err
	}
	return &file{a, handle}, nil
}

// read gives at most max bytes; none at the end of the file.
func (f *file) read(ctx context.Context, most int) ([]byte, error) {
	var got struct {
		Data []byte `json:"buf-b64"`
	}
	err := f.agent.ask(ctx, "guest-file-read", map[string]int64{"handle": f.handle, "count": int64(most)}, &got)
	if err == nil && len(got.Data) > most {
		err = fault.New(fault.Refused, "the guest agent of %s gave more than it was asked for", f.agent.domain)
	}
	return got.Data, err
}

// write writes all of p.
func (f *file) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		now := p[:min(len(p), agentWrite)]
		var done struct {
			Count int `json:"count"`
		}
		err := f.agent.ask(ctx, "guest-file-write", map[string]any{
			"handle": f.handle, "buf-b64": base64.StdEncoding.EncodeToString(now),
		}, &done)
		if err != nil {
			return err
		}
		if done.Count <= 0 || done.Count > len(now) {
			return fault.New(fault.Refused, "the guest agent of %s wrote %d of %d bytes", f.agent.domain, done.Count, len(now)).
				WithHint("the guest's disk may be full: vmctl exec %s df -h", f.agent.domain)
		}
		p = p[done.Count:]
	}
	return nil
}

// seek goes to an offset from the file's beginning.
func (f *file) seek(ctx context.Context, offset int64) error {
	return f.agent.ask(ctx, "guest-file-seek", map[string]int64{"handle": f.handle, "offset": offset, "whence": 0}, nil)
}

// flush hands what was written to the guest's kernel.
func (f *file) flush(ctx context.Context) error {
	return f.agent.ask(ctx, "guest-file-flush", map[string]int64{"handle": f.handle}, nil)
}

// closeTime bounds what is cleaned up in the guest after an interruption.
const closeTime = 3 * time.Second

// close closes the file, also when ctx has ended: the agent would keep it open for ever.
func (f *file) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return f.agent.ask(ctx, "guest-file-close", map[string]int64{"handle": f.handle}, nil)
}

package libvirt

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// maxAgentReply bounds what a guest can make us keep: libvirt itself takes up to
// 10 MiB, and no command of ours has more than 4 MiB to say.
const maxAgentReply = 6 << 20

// AgentCommand hands one command to the guest's agent (virDomainQemuAgentCommand). The
// timeout goes with the call: virDomainAgentSetResponseTimeout would stay with the
// domain. libvirt greets the agent first and waits 5 s for that, whatever the timeout
// says; ctx bounds that too.
func (c *conn) AgentCommand(ctx context.Context, domain, command string, timeout time.Duration) (string, error) {
	within, cancel := context.WithTimeout(ctx, timeout+greeting)
	defer cancel()
	reply, err := read(within, c, "ask the agent of domain "+quoteName(domain), func(l *golibvirt.Connect) (reply string, err error) {
		err = c.withDomain(l, domain, func(d *golibvirt.Domain) error {
			reply, err = agentCommand(d, command, timeout)
			return err
		})
		return reply, err
	})
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = silentAgent(domain, err)
	}
	if err == nil && len(reply) > maxAgentReply {
		err = fault.New(fault.Refused, "the agent of %s answers with more than anybody asked for", quoteName(domain))
	}
	return reply, err
}

// greeting is how long libvirt waits for the agent's first sign (QEMU_AGENT_WAIT_TIME).
const greeting = 5 * time.Second

// agentCommand is the call itself, with the errors that a caller tells apart.
func agentCommand(d *golibvirt.Domain, command string, timeout time.Duration) (string, error) {
	seconds := max(1, int((timeout+time.Second-1)/time.Second))
	reply, err := d.QemuAgentCommand(command, golibvirt.DomainQemuAgentCommandTimeout(seconds), 0)
	if err == nil {
		return reply, nil
	}
	if m := agentRefusal.FindStringSubmatch(text(err)); m != nil {
		// Before libvirt 10 it has no number of its own.
		return "", &engine.AgentError{Command: printable(m[1]), Reason: printable(strings.TrimSpace(m[2] + m[3]))}
	}
	for _, sign := range []golibvirt.ErrorNumber{
		golibvirt.ERR_AGENT_UNRESPONSIVE, golibvirt.ERR_AGENT_UNSYNCED, golibvirt.ERR_AGENT_COMMAND_TIMEOUT,
		golibvirt.ERR_ARGUMENT_UNSUPPORTED, // no channel for an agent is configured
	} {
		if errors.Is(err, sign) {
			name, _ := d.GetName()
			return "", silentAgent(name, err)
		}
	}
	return "", err
}

// agentRefusal is how libvirt hands on what the guest's agent refused.
var agentRefusal = regexp.MustCompile(`(?s)unable to execute QEMU agent command '([^']*)': (?:Guest agent command failed, error was '(.*)'|(.*))`)

func silentAgent(domain string, cause error) error {
	return &fault.Error{
		Kind: fault.Refused, Msg: "no guest agent answers in " + quoteName(domain), Cause: errors.Join(engine.ErrNoAgent, cause),
	}
}

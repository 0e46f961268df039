package libvirt

import (
	"errors"
	"strings"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// explain makes a sentence of an error of a call on an open connection. doing
// completes "cannot …". Faults pass as they are. This is the only place that knows
// libvirt's numbers (errors.Is, because a wrapped error defeats type assertions).
func (c *conn) explain(doing string, err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*engine.AgentError](err); ok {
		return err
	}
	if lost(err) {
		return because(fault.Unreachable, "the connection to "+c.uri+" was lost: cannot "+doing, err).
			WithHint("check that the host is up, then run the same command again; vmctl doctor looks closer")
	}
	message := text(err)
	for _, rule := range rules {
		if m := rule.match(message); m != nil {
			f := because(rule.kind, "cannot "+doing+": "+expand(rule.why, m), portTaken(message, err))
			if rule.hint != "" {
				return f.WithHint("%s", expand(rule.hint, m))
			}
			return f
		}
	}
	for _, known := range []struct {
		numbers []golibvirt.ErrorNumber
		kind    fault.Kind
	}{
		{notFound, fault.NotFound},
		{refused, fault.Refused},
		{denied, fault.Unreachable},
	} {
		if isAny(err, known.numbers) {
			return because(known.kind, "cannot "+doing+": "+tidy(message), err)
		}
	}
	if isAny(err, []golibvirt.ErrorNumber{golibvirt.ERR_NO_SUPPORT}) {
		return because(fault.Other, "cannot "+doing+": libvirt on "+c.uri+" does not support this", err)
	}
	return because(fault.Other, "cannot "+doing+": "+tidy(message), err)
}

var (
	notFound = []golibvirt.ErrorNumber{
		golibvirt.ERR_NO_DOMAIN, golibvirt.ERR_NO_STORAGE_VOL, golibvirt.ERR_NO_STORAGE_POOL,
		golibvirt.ERR_NO_NETWORK, golibvirt.ERR_NO_SECRET, golibvirt.ERR_NO_DOMAIN_METADATA,
	}
	// refused: the object is in a state, or has an owner, that does not allow it.
	refused = []golibvirt.ErrorNumber{
		golibvirt.ERR_OPERATION_INVALID, golibvirt.ERR_OPERATION_DENIED, golibvirt.ERR_RESOURCE_BUSY,
		golibvirt.ERR_DOM_EXIST, golibvirt.ERR_STORAGE_VOL_EXIST, golibvirt.ERR_NETWORK_EXIST,
		golibvirt.ERR_STORAGE_POOL_BUILT, golibvirt.ERR_ACCESS_DENIED,
	}
	denied = []golibvirt.ErrorNumber{golibvirt.ERR_AUTH_FAILED, golibvirt.ERR_AUTH_CANCELLED, golibvirt.ERR_AUTH_UNAVAILABLE}
)

// absent says that the object is not there.
func absent(err error) bool { return isAny(err, notFound) }

func isAny(err error, numbers []golibvirt.ErrorNumber) bool {
	for _, n := range numbers {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}

// lost says that the host can no longer be spoken to.
func lost(err error) bool {
	if streamBroke(err) {
		return false
	}
	if errors.Is(err, golibvirt.ERR_RPC) || errors.Is(err, golibvirt.ERR_NO_CONNECT) || errors.Is(err, golibvirt.ERR_INVALID_CONN) {
		return true
	}
	message := text(err)
	for _, sign := range []string{
		"client socket is closed", "Cannot write data", "Cannot read data", "End of file while reading data",
		"connection closed due to keepalive timeout", "Cannot recv data",
	} {
		if strings.Contains(message, sign) {
			return true
		}
	}
	return false
}

// streamBroke says that the host ended a stream; its code is that of a lost
// connection, which it is not. libvirt says one or the other, as its threads come by.
func streamBroke(err error) bool {
	message := text(err)
	return strings.Contains(message, "stream had I/O failure") || strings.Contains(message, "stream had unexpected termination")
}

// text is libvirt's own message, without its numbers.
func text(err error) string {
	if e, ok := errors.AsType[golibvirt.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// because makes a fault whose cause is kept for errors.Is but not shown: its text
// holds numbers and names of types.
func because(kind fault.Kind, sentence string, cause error) *fault.Error {
	return &fault.Error{Kind: kind, Msg: sentence, Cause: cause}
}

// prefixes say nothing to people.
var prefixes = []string{
	"internal error: ", "operation failed: ", "Requested operation is not valid: ", "unsupported configuration: ",
	"invalid argument: ", "XML error: ", "this function is not supported by the connection driver: ",
}

// tidy takes the noise off libvirt's message: classes at the front, and all of QEMU's
// output but its last line, which says why it ended. Foreign bytes are made harmless.
func tidy(message string) string {
	message = strings.TrimSpace(message)
	for changed := true; changed; {
		changed = false
		for _, p := range prefixes {
			if rest, ok := strings.CutPrefix(message, p); ok {
				message, changed = rest, true
			}
		}
	}
	for _, died := range []string{"process exited while connecting to monitor", "qemu unexpectedly closed the monitor", "QEMU unexpectedly closed the monitor"} {
		if _, output, ok := strings.Cut(message, died); ok {
			lines := strings.Split(strings.TrimSpace(output), "\n")
			last := strings.TrimLeft(strings.TrimSpace(lines[len(lines)-1]), ": ")
			if _, after, ok := strings.Cut(last, "qemu-system-"); ok {
				if _, why, ok := strings.Cut(after, ": "); ok {
					last = why
				}
			}
			message = "QEMU ended: " + last
		}
	}
	return printable(message)
}

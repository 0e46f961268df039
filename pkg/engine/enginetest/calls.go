package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vmctl/pkg/fault"
)

// failure is one planted failure.
type failure struct {
	method string
	n      int
	err    error
	after  bool
}

// Fail makes the n-th call of a method from now on, counted from 1, fail with err and
// do nothing. The method is called as in the interfaces: "StartDomain".
func (h *Host) Fail(method string, n int, err error) { h.plant(method, n, err, false) }

// FailAfter is Fail, but the call does its work before it fails: as when the
// connection breaks while the answer is on its way.
func (h *Host) FailAfter(method string, n int, err error) { h.plant(method, n, err, true) }

func (h *Host) plant(method string, n int, err error, after bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, &failure{method, h.counts[method] + n, err, after})
}

// Before calls f at the begin of every call of a method, outside of the host's lock:
// to cancel a context there, or to let somebody else come first. nil takes it away.
func (h *Host) Before(method string, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hooks[method] = f
}

// Fate is how a call fares. The zero value is that nothing happens to it.
type Fate struct {
	// Err is what the call fails with.
	Err error
	// After lets the call do its work before it fails.
	After bool
	// Cut breaks all connections behind the call, as Host.Cut does.
	Cut bool
}

// Each calls f at the begin of every call of any method, outside of the host's lock, as
// Before does, and lets the call fare as it says. nil takes it away.
func (h *Host) Each(f func(method string) Fate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.each = f
}

// Calls are all calls so far, in order: "Domain example", "StartDomain example paused".
func (h *Host) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Changes are the calls that change the host, in order.
func (h *Host) Changes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.changes)
}

// Forget empties Calls and Changes.
func (h *Host) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls, h.changes = nil, nil
}

// read carries out a call that only looks.
func read[T any](ctx context.Context, h *Host, method string, args []any, f func() (T, error)) (T, error) {
	return call(ctx, h, method, args, false, f)
}

// change carries out a call that changes the host.
func change(ctx context.Context, h *Host, method string, args []any, f func() error) error {
	_, err := call(ctx, h, method, args, true, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// call notes the call, fails as planted, and else runs f under the lock.
func call[T any](ctx context.Context, h *Host, method string, args []any, changes bool, f func() (T, error)) (T, error) {
	var zero T
	h.mu.Lock()
	hook, each := h.hooks[method], h.each
	h.mu.Unlock()
	if hook != nil {
		hook()
	}
	var fate Fate
	if each != nil {
		fate = each(method)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return zero, &fault.Error{Kind: fault.Interrupted, Msg: "interrupted: " + method + " was not called", Cause: context.Cause(ctx)}
	}
	line := strings.TrimSpace(method + " " + strings.Trim(fmt.Sprint(args...), " "))
	h.calls = append(h.calls, line)
	if changes {
		h.changes = append(h.changes, line)
	}
	if h.cut {
		return zero, h.unreachable()
	}
	h.counts[method]++
	if planted := h.planted(method); planted != nil {
		fate = Fate{Err: planted.err, After: planted.after}
	}
	if fate.Err != nil && !fate.After {
		return zero, fate.Err
	}
	value, err := f()
	if fate.Cut {
		h.breakAll()
	}
	if err == nil && fate.Err != nil {
		return zero, fate.Err
	}
	return value, err
}

func (h *Host) planted(method string) *failure {
	for _, f := range h.failures {
		if f.method == method && f.n == h.counts[method] {
			return f
		}
	}
	return nil
}

// on gives the words of a call, separated by blanks.
func on(words ...any) []any {
	var out []any
	for i, w := range words {
		if i > 0 {
			out = append(out, " ")
		}
		out = append(out, w)
	}
	return out
}

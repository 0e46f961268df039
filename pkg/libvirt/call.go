package libvirt

import (
	"context"
	"errors"
	"time"

	golibvirt "libvirt.org/go/libvirt"

	"vmctl/pkg/fault"
)

// lostGrace is how long a call may take to say by itself why its connection is lost.
const lostGrace = time.Second

// changeGrace is how long a call that changes something may still take after its
// context ended. A definition that landed after the engine had taken everything back
// would stay behind.
const changeGrace = 5 * time.Second

// nothing is the result of a call that has none.
type nothing = struct{}

// read calls libvirt. A call into C cannot be cut short: when ctx ends, read returns
// at once, and the call goes on in its goroutine until the host answers. What f returns must be plain values, so that nothing leaks then.
// doing completes "cannot …".
func read[T any](ctx context.Context, c *conn, doing string, f func(*golibvirt.Connect) (T, error)) (T, error) {
	return call(ctx, c, 0, doing, f)
}

// change is read for calls that change the host: when ctx ends while one runs, its
// real outcome is waited for, for as long as changeGrace.
func change(ctx context.Context, c *conn, doing string, f func(*golibvirt.Connect) error) error {
	_, err := call(ctx, c, changeGrace, doing, func(l *golibvirt.Connect) (nothing, error) {
		return nothing{}, f(l)
	})
	return err
}

func call[T any](ctx context.Context, c *conn, grace time.Duration, doing string, f func(*golibvirt.Connect) (T, error)) (T, error) {
	var zero T
	if ctx.Err() != nil {
		return zero, cut(ctx, doing)
	}
	if c.pulse.gone.Load() {
		return zero, c.silence(doing)
	}
	l, release, err := c.hold()
	if err != nil {
		return zero, err
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		defer release()
		value, err := f(l)
		if err == nil || !lost(err) {
			c.pulse.hear()
		}
		done <- outcome{value, err}
	}()
	finish := func(o outcome) (T, error) {
		if o.err != nil {
			return zero, c.explain(doing, o.err)
		}
		return o.value, nil
	}
	gone, end := c.lost, func() error { return cut(ctx, doing) }
	select {
	case o := <-done:
		return finish(o)
	case <-gone:
		gone, grace, end = nil, lostGrace, func() error { return c.silence(doing) }
	case <-ctx.Done():
		if grace > 0 {
			go c.leaves()
		}
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case o := <-done:
		return finish(o)
	case <-gone:
	case <-timer.C:
	}
	return zero, end()
}

// cut says that the caller's context ended.
func cut(ctx context.Context, doing string) error {
	cause := context.Cause(ctx)
	if why, ok := errors.AsType[*fault.Error](cause); ok {
		return why
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return &fault.Error{Kind: fault.Timeout, Msg: "timed out: could not " + doing + " in time", Cause: cause}
	}
	return &fault.Error{Kind: fault.Interrupted, Msg: "interrupted: did not " + doing, Cause: cause}
}

package image

import (
	"context"
	"sync"
)

// Ahead is what was read of a file before anybody needed it.
type Ahead struct {
	read func() (stamp, string)
	stop context.CancelFunc
}

// ReadAhead begins to find out the digest of a file, which takes a second for a gigabyte that
// can pass while something else is waited for; Obtain uses what was found when it is in
// Options.Ahead. What is wrong with the file, Obtain says. Reading ends with ctx, or with End.
func ReadAhead(ctx context.Context, file string, opts Options) *Ahead {
	type result struct {
		stamp
		sum string
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan result, 1)
	go func() {
		is, sum := readAhead(ctx, file, opts)
		done <- result{is, sum}
	}()
	return &Ahead{sync.OnceValues(func() (stamp, string) { r := <-done; return r.stamp, r.sum }), stop}
}

func readAhead(ctx context.Context, file string, opts Options) (stamp, string) {
	m := material{subject: subjectOf(file), at: file}
	is, err := m.kind()
	if err != nil {
		return stamp{}, ""
	}
	f, info, err := m.open(file)
	if err != nil {
		return stamp{}, ""
	}
	defer f.Close()
	if !is.packed() && !is.converted() {
		if _, err := m.verify(ctx, f, info.Size()); err != nil {
			return stamp{}, ""
		}
	}
	read, stamped := stampOf(file, info)
	sum, err := digest(ctx, f, file, info, m.subject, opts)
	if err != nil || !stamped {
		return stamp{}, ""
	}
	return read, sum
}

// End stops reading, and returns when nothing is remembered any more.
func (a *Ahead) End() {
	a.stop()
	_, _ = a.read()
}

// of is the digest of a file that was read ahead and has not changed since, or nothing.
func (a *Ahead) of(want stamp) string {
	if a == nil {
		return ""
	}
	if is, sum := a.read(); is == want {
		return sum
	}
	return ""
}

package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/progress"
	"vmctl/pkg/ui"
)

// quietTime is how long connecting to a host may take before a person is told what is
// waited for.
const quietTime = 3 * time.Second

// silence gives what tells a person, once, that a host keeps them waiting. While several are
// asked, one line says that of all.
func (c *call) silence(uri string) func(silent bool) {
	return func(silent bool) {
		if silent && c.hosts.asked.Load() == 0 {
			c.progress.Emit(progress.Event{ID: "host/" + uri, Status: progress.Note, Text: c.called(uri) + " does not answer yet; waiting for it"})
		}
	}
}

// answer is what one of several hosts said.
type answer[T any] struct {
	uri string
	is  T
	err error
}

// asking is how hosts are asked.
type asking struct {
	// patient says that a host is waited for as one command alone waits for it, when it is
	// the only one.
	patient bool
	// connect ends at a host's first answer, or when there is none.
	connect func(ctx context.Context, uri string) error
	// late says why a host is given up that did not answer in time.
	late func(uri string) error
	// waiting is called when some hosts keep a person waiting, and then whenever one of them
	// has answered: with those that are left, of so many.
	waiting func(left []string, all int)
}

const (
	// hostPatience is how long one of several hosts may take to answer at all: as long as one
	// that falls silent later is waited for. One that has answered may be as slow as it is.
	hostPatience = 30 * time.Second
	// gatherTime is how long answers are gathered before they are shown while others are
	// still to come.
	gatherTime = 2 * time.Second
)

// askHosts asks all hosts at once, and gives the answers in the order of the hosts. Each goes
// to came as it comes, unless that is nil; neither that nor waiting is called twice at once.
func askHosts[T any](ctx context.Context, a asking, uris []string, ask func(ctx context.Context, uri string) (T, error), came func(answer[T])) []answer[T] {
	answers, done := make([]answer[T], len(uris)), make(chan int)
	for i, uri := range uris {
		go func() {
			late := (len(uris) > 1 || !a.patient) && a.tooLate(ctx, uri)
			answers[i].uri = uri
			answers[i].is, answers[i].err = ask(ctx, uri)
			if late {
				answers[i].err = a.late(uri)
			}
			done <- i
		}()
	}
	gathered := time.NewTimer(gatherTime)
	defer gathered.Stop()
	left, told := slices.Clone(uris), false
	for len(left) > 0 {
		select {
		case i := <-done:
			if came != nil {
				came(answers[i])
			}
			at := slices.Index(left, uris[i])
			if left = slices.Delete(left, at, at+1); told {
				a.waiting(left, len(uris))
			}
		case <-gathered.C:
			if told = len(uris) > 1 || !a.patient; told {
				a.waiting(left, len(uris))
			}
		}
	}
	return answers
}

// tooLate connects to a host, and says whether it did not answer in time. Who asks it then
// hears the same.
func (a asking) tooLate(ctx context.Context, uri string) bool {
	limit, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	return a.connect(limit, uri) != nil && limit.Err() != nil && ctx.Err() == nil
}

// asking asks hosts for a person, who is told which of them are left.
func (c *call) asking() asking {
	return asking{
		patient: true,
		connect: func(ctx context.Context, uri string) error {
			c.hosts.asked.Add(1)
			defer c.hosts.asked.Add(-1)
			_, err := c.host(ctx, uri)
			return err
		},
		late: func(uri string) error {
			return fault.New(fault.Timeout, "%s has not answered within %s: it is slow, or gone", c.called(uri), ui.Duration(hostPatience)).
				WithHint("%s list asks it alone, and waits longer", c.on(uri))
		},
		waiting: func(left []string, all int) {
			event := progress.Event{ID: "hosts", Text: "wait for hosts to answer", Current: int64(all - len(left)), Total: int64(all), Status: progress.Done}
			if len(left) > 0 {
				names := make([]string, len(left))
				for i, uri := range left {
					names[i] = c.called(uri)
				}
				event.Status, event.Detail = progress.Working, strings.Join(names, ", ")
			}
			c.progress.Emit(event)
		},
	}
}

// allOf are all answers, and what went wrong with any of them.
func allOf[T any](answers []answer[T]) (all []T, failed error) {
	var errs []error
	for _, a := range answers {
		all, errs = append(all, a.is), append(errs, a.err)
	}
	return all, failures(errs)
}

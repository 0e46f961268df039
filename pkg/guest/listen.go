package guest

import (
	"context"
	"time"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// attachAgain is how often a port that somebody else reads is asked for.
const attachAgain = time.Second

// listen reads the guest's reports until done is called. A guest without the port, as
// one that an older vmctl defined, gives none.
func (w *watcher) listen(ctx context.Context) (reports <-chan Report, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	heard := make(chan Report)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			port, err := w.host.Consoles.OpenChannel(ctx, w.name, spec.ReportChannel)
			if err == nil {
				closed := context.AfterFunc(ctx, func() { _ = port.Close() })
				_ = readReports(port, func(r Report) {
					r.Time = time.Now().UTC()
					select {
					case heard <- r:
					case <-ctx.Done():
					}
				})
				if closed() {
					_ = port.Close()
				}
				return
			}
			if !fault.Is(err, fault.Refused) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(attachAgain):
			}
		}
	}()
	return heard, func() { cancel(); <-ended }
}

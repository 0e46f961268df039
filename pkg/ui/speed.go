package ui

import "time"

// speed measures how fast a number grows, over the last seconds, so that neither a
// slow start nor a short stall decides what is shown.
type speed struct{ samples []sample }

type sample struct {
	at    time.Time
	value int64
}

const (
	// speedWindow is what is looked back on; speedStep the distance of samples.
	speedWindow = 8 * time.Second
	speedStep   = 250 * time.Millisecond
	// speedLeast is the time below which no speed is told.
	speedLeast = time.Second
)

// add takes the number's present value. A number that shrinks begins anew; and what is
// there at once, such as the part of a file that came earlier, was not fast.
func (s *speed) add(now time.Time, value int64) {
	if n := len(s.samples); n > 0 {
		switch last := s.samples[n-1]; {
		case value < last.value, n == 1 && last.value == 0:
			s.samples = nil
		case now.Sub(last.at) < speedStep:
			return
		}
	}
	s.samples = append(s.samples, sample{now, value})
	for len(s.samples) > 2 && now.Sub(s.samples[0].at) > speedWindow {
		s.samples = s.samples[1:]
	}
}

// perSecond is the speed, or 0 when it is not known yet.
func (s *speed) perSecond() float64 {
	if len(s.samples) < 2 {
		return 0
	}
	first, last := s.samples[0], s.samples[len(s.samples)-1]
	span := last.at.Sub(first.at)
	if span < speedLeast {
		return 0
	}
	return float64(last.value-first.value) / span.Seconds()
}

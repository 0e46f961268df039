package enginetest

import (
	"context"

	"github.com/stretchr/testify/require"

	"vmctl/pkg/engine"
)

func events(s *suite) {
	ctx := s.Context()
	mine, err := s.host.Events.Watch(ctx, Machine)
	s.ok(err)
	all, err := s.host.Events.Watch(ctx, "")
	s.ok(err)
	others, err := s.host.Events.Watch(ctx, "other")
	s.ok(err)

	d := s.makeDisks()
	s.ok(s.host.Domains.DefineDomain(ctx, d))
	s.ok(s.host.Domains.StartDomain(ctx, Machine, false))
	s.event(mine, engine.EventStarted)
	s.event(all, engine.EventStarted)
	s.ok(s.host.Domains.DestroyDomain(ctx, Machine))
	s.event(mine, engine.EventStopped)
	s.event(all, engine.EventStopped)
	s.ok(s.host.Domains.UndefineDomain(ctx, Machine))
	s.event(mine, engine.EventUndefined)
	s.event(all, engine.EventUndefined)
	select {
	case e := <-others:
		require.Fail(s, "an event of another domain", "%v", e)
	default:
	}
}

func watchEnds(s *suite) {
	ctx, cancel := context.WithCancel(s.Context())
	watch, err := s.host.Events.Watch(ctx, "")
	s.ok(err)
	cancel()
	for range watch {
	}
}

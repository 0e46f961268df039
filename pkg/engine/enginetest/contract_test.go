package enginetest_test

import (
	"testing"

	"vmctl/pkg/engine"
	"vmctl/pkg/engine/enginetest"
)

func TestFakeKeepsTheContract(t *testing.T) {
	enginetest.Run(t, func(*testing.T) *engine.Host {
		h := enginetest.NewHost(enginetest.Options{})
		h.SetGuest(enginetest.Machine, enginetest.Guest{Prints: enginetest.Greeting, Echo: true})
		return h.Connect()
	}, enginetest.Features{Content: true, Guests: true, Files: true})
}

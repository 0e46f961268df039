package cli

import (
	"sync"

	"vmctl/pkg/secret"
)

// hiddenSecrets are what one command knows of secrets before it hands them to a guest.
type hiddenSecrets struct {
	mu sync.Mutex
	// values are those of variables that were taken out of the environment.
	values map[string]string
	// unguard ends what keeps secrets out of core dumps; nil without secrets.
	unguard func()
	// ring has the identities that were unlocked.
	ring secret.Ring
}

// guard keeps secrets out of core dumps, until close.
func (h *hiddenSecrets) guard() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unguard == nil {
		h.unguard = secret.Guard()
	}
}

func (h *hiddenSecrets) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unguard != nil {
		h.unguard()
	}
}

// hide takes a variable out of the environment.
func (h *hiddenSecrets) hide(name string, deps *Deps) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, hidden := h.values[name]; !hidden {
		h.values[name] = deps.getenv(name)
		deps.Unsetenv(name)
	}
}

// value is that of a variable that was hidden.
func (h *hiddenSecrets) value(name string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	value, hidden := h.values[name]
	return value, hidden
}

package enginetest

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// secret is a libvirt secret.
type secret struct {
	engine.Secret
	value []byte
}

// SecretIDs are the UUIDs of all secrets.
func (h *Host) SecretIDs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sortedKeys(h.secrets)
}

// ListSecrets implements engine.Secrets.
func (h *Host) ListSecrets(ctx context.Context, prefix string) ([]engine.Secret, error) {
	return read(ctx, h, "ListSecrets", on(prefix), func() ([]engine.Secret, error) {
		var out []engine.Secret
		for _, s := range h.secrets {
			if strings.HasPrefix(s.Volume, prefix) {
				out = append(out, s.Secret)
			}
		}
		slices.SortFunc(out, func(a, b engine.Secret) int { return cmp.Compare(a.Volume, b.Volume) })
		return out, nil
	})
}

// DefineSecret implements engine.Secrets.
func (h *Host) DefineSecret(ctx context.Context, s engine.Secret) error {
	return change(ctx, h, "DefineSecret", on(s.UUID), func() error {
		if was := h.secrets[s.UUID]; was != nil {
			was.Secret = s
			return nil
		}
		h.secrets[s.UUID] = &secret{Secret: s}
		return nil
	})
}

func (h *Host) findSecret(uuid string) (*secret, error) {
	if s := h.secrets[uuid]; s != nil {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "cannot find secret %s", uuid)
}

// SetSecret implements engine.Secrets.
func (h *Host) SetSecret(ctx context.Context, uuid string, value []byte) error {
	return change(ctx, h, "SetSecret", on(uuid), func() error {
		s, err := h.findSecret(uuid)
		if err == nil {
			s.value = slices.Clone(value)
		}
		return err
	})
}

// DeleteSecret implements engine.Secrets.
func (h *Host) DeleteSecret(ctx context.Context, uuid string) error {
	return change(ctx, h, "DeleteSecret", on(uuid), func() error {
		_, err := h.findSecret(uuid)
		delete(h.secrets, uuid)
		return err
	})
}

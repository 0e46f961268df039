package cli

import (
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

// findShares looks the directories up that the machine shares, before anything is built.
func findShares(t *target, e *engine.Engine) error {
	if err := e.CanShare(t.machine); err != nil {
		return err
	}
	for i, s := range t.machine.Shares {
		dir, err := t.project.Directory(s.Source)
		if err != nil {
			return fault.New(fault.KindOf(err), "share %s of %s: %w", s.Tag, t.name, err).
				WithHint("make the directory, or correct shares.%s.source in %s", s.Tag, t.project.Path(t.name))
		}
		t.machine.Shares[i].Source = dir
	}
	return nil
}

package cli

import (
	"fmt"

	"vmctl/pkg/engine"
	"vmctl/pkg/spec"
)

// deviceResult is what only some machines have.
type deviceResult struct {
	Interfaces []interfaceResult `json:"interfaces,omitempty"`
	Shares     []shareResult     `json:"shares,omitempty"`
	// Settings are other keys of the definition that are not at their default.
	Settings map[string]string `json:"settings,omitempty"`

	order []engine.Setting
}

// interfaceResult is one network card, when the definition lists them.
type interfaceResult struct {
	Link    spec.Link `json:"link"`
	Name    string    `json:"name,omitempty"`
	MAC     string    `json:"mac"`
	Address string    `json:"address,omitempty"`
	Model   string    `json:"model"`
}

// shareResult is a shared directory; driver and mount are empty until it is known how
// the guest gets it.
type shareResult struct {
	Tag      string           `json:"tag"`
	Source   string           `json:"source"`
	Target   string           `json:"target"`
	ReadOnly bool             `json:"readOnly"`
	Driver   spec.ShareDriver `json:"driver,omitempty"`
	// Mount is the command that mounts it in the guest.
	Mount string `json:"mount,omitempty"`
}

func devicesOf(name string, cards []spec.Interface, shares []engine.Share, settings []engine.Setting) deviceResult {
	r := deviceResult{order: settings}
	for i, card := range cards {
		result := interfaceResult{Link: card.Link, Name: card.Name, MAC: card.CardMAC(engine.UUID(name), i), Model: card.Model}
		if card.Address.IsValid() {
			result.Address = card.Address.String()
		}
		if result.Model == "" {
			result.Model = spec.CardVirtio
		}
		r.Interfaces = append(r.Interfaces, result)
	}
	for _, s := range shares {
		result := shareResult{Tag: s.Tag, Source: s.Source, Target: s.Target, ReadOnly: s.ReadOnly, Driver: s.Driver}
		if s.Driver != "" {
			result.Mount = s.Mount(s.Driver)
		}
		r.Shares = append(r.Shares, result)
	}
	for _, s := range settings {
		if r.Settings == nil {
			r.Settings = map[string]string{}
		}
		r.Settings[s.Key] = s.Value
	}
	return r
}

// declaredDevices are those of a machine that is not on a host yet.
func declaredDevices(m *spec.Machine) deviceResult {
	shares := make([]engine.Share, len(m.Shares))
	for i, s := range m.Shares {
		shares[i].Share = s
	}
	return devicesOf(m.Name, m.Interfaces, shares, engine.Settings(m))
}

// lines are for people.
func (r deviceResult) show(line func(key, format string, args ...any)) {
	for _, i := range r.Interfaces {
		card := spec.Interface{Link: i.Link, Name: i.Name}.String()
		if i.Address != "" {
			card += ", " + i.Address
		}
		line("interface", "%s, %s, %s", card, i.MAC, i.Model)
	}
	for _, s := range r.Shares {
		text := fmt.Sprintf("%s: %s", s.Tag, spec.Share{Source: s.Source, Target: s.Target, ReadOnly: s.ReadOnly})
		if s.Driver != "" {
			text += " by " + string(s.Driver)
		}
		line("share", "%s", text)
		if s.Mount != "" {
			line("  mount", "%s (what systemd 254 or newer does by itself)", s.Mount)
		}
	}
	for _, s := range r.order {
		line(s.Key, "%s", s.Value)
	}
}

package engine

import (
	"context"
)

// finishOps are what is left to do for a machine that has arrived.
func (m *Move) finishOps(s *moveSnapshot, o MoveOptions) []MoveOp {
	var ops []MoveOp
	if s.moving().Autostart && !s.to.domain.Autostart {
		ops = append(ops, m.there(settling, autostart(m.Name, true)))
	}
	if s.starts() {
		ops = append(ops, m.startOp(o))
	} else {
		ops = append(ops, m.forgetOps(s)...)
	}
	if s.to.arriving {
		ops = append(ops, m.there(settling, deleteVolume(ArrivingVolume(m.Name), "it is there")))
	}
	if s.from.domain != nil {
		ops = append(ops, m.cleanOps(s)...)
	}
	return ops
}

// forgetOps leave nothing of the secrets that a boot on the other host was cut short with.
func (m *Move) forgetOps(s *moveSnapshot) []MoveOp {
	p := &planner{e: m.To, s: &snapshot{domain: s.to.domain}, plan: &Plan{}}
	p.w.Machine.Name = m.Name
	p.s.delivering.lent = lent(s.to.domain)
	for _, v := range s.to.volumes {
		if isFirmware(m.Name, v.Name) {
			p.s.delivering.files = append(p.s.delivering.files, v)
		}
		p.s.delivering.volume = p.s.delivering.volume || v.Name == DeliveryVolume(m.Name)
	}
	p.dropDelivery()
	var ops []MoveOp
	for _, o := range p.plan.Ops {
		ops = append(ops, m.there(settling, o))
	}
	return ops
}

// cleanOps remove what the machine leaves behind. The definition goes last: its note says
// what the rest is.
func (m *Move) cleanOps(s *moveSnapshot) []MoveOp {
	var ops []MoveOp
	add := func(o Op) { ops = append(ops, m.here(cleaning, o)) }
	if s.from.running() && hasArrived(s.to.domain) {
		add(op(ActionStopDomain, m.Name, "it runs on "+m.ToName, func(ctx context.Context, e *Engine) error {
			_, err := e.destroy(ctx, m.Name)
			return err
		}, nil))
	}
	for _, secret := range s.from.secrets {
		add(deleteSecret(secret, "it was moved"))
	}
	for _, o := range m.removeFiles(s.from.volumes, "it was moved") {
		add(o)
	}
	for _, o := range s.releasing {
		add(o)
	}
	add(op(ActionUndefine, m.Name, "it is on "+m.ToName, undefining(m.Name), nil))
	return ops
}

// clearOps remove what a move that was cut short has left on the other host.
func (m *Move) clearOps(to moveSide) []MoveOp {
	if !to.arriving {
		return nil
	}
	const cause = "an earlier move was cut short"
	var ops []MoveOp
	for _, secret := range to.secrets {
		ops = append(ops, m.there(preparing, deleteSecret(secret, cause)))
	}
	for _, o := range m.removeFiles(to.volumes, cause) {
		ops = append(ops, m.there(preparing, o))
	}
	return ops
}

// removeFiles removes a machine's files, the marker last, and leaves nothing of its secrets.
func (m *Move) removeFiles(volumes []Volume, cause string) []Op {
	var ops, last []Op
	for _, v := range volumes {
		switch {
		case isDelivery(m.Name, v.Name):
			ops = append(ops, discarding(v.Name, v.Capacity, cause)...)
		case v.Name == ArrivingVolume(m.Name):
			last = append(last, deleteVolume(v.Name, cause))
		default:
			ops = append(ops, deleteVolume(v.Name, cause))
		}
	}
	return append(ops, last...)
}

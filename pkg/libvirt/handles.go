package libvirt

import (
	"errors"
	"sync"

	"golang.org/x/sync/singleflight"
	golibvirt "libvirt.org/go/libvirt"
)

// handle is what libvirt's client library knows an object by: its name and its UUID.
type handle interface {
	comparable
	Ref() error
	Free() error
}

// handles are those objects of one kind that were looked up on a connection: each is a
// round trip less for every further call. One that was made anew under its name has
// another UUID: the host no longer knows the handle, and it is looked up again.
type handles[H handle] struct {
	// gone is what the host says of an object that it does not know.
	gone golibvirt.ErrorNumber

	// looking lets those who look the same object up at once share one round trip.
	looking singleflight.Group

	mu     sync.Mutex
	byName map[string]H
}

// with calls f with the object of a name.
func (k *handles[H]) with(name string, lookup func(string) (H, error), f func(H) error) error {
	h, err := k.get(name)
	if err != nil {
		return err
	}
	var none H
	if h != none {
		err := f(h)
		_ = h.Free()
		if !errors.Is(err, k.gone) {
			return err
		}
		k.forget(name)
	}
	if _, err, _ = k.looking.Do(name, func() (any, error) { return nil, k.look(name, lookup) }); err != nil {
		return err
	}
	if h, err = k.get(name); err != nil {
		return err
	}
	if h == none { // forgotten by somebody else meanwhile
		return golibvirt.Error{Code: k.gone, Message: quoteName(name) + " was removed just now"}
	}
	defer func() { _ = h.Free() }()
	return f(h)
}

// look looks an object up and keeps it.
func (k *handles[H]) look(name string, lookup func(string) (H, error)) error {
	h, err := lookup(name)
	if err != nil {
		return err
	}
	defer func() { _ = h.Free() }()
	return k.keep(name, h)
}

// get gives a handle of the caller's own, or none.
func (k *handles[H]) get(name string) (h H, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.byName[name]
	if ok {
		err = h.Ref()
	}
	return h, err
}

// keep notes a handle, which stays the caller's.
func (k *handles[H]) keep(name string, h H) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := h.Ref(); err != nil {
		return err
	}
	if old, ok := k.byName[name]; ok {
		_ = old.Free()
	}
	if k.byName == nil {
		k.byName = map[string]H{}
	}
	k.byName[name] = h
	return nil
}

func (k *handles[H]) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h, ok := k.byName[name]; ok {
		_ = h.Free()
		delete(k.byName, name)
	}
}

// clear lets all of them go.
func (k *handles[H]) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range k.byName {
		_ = h.Free()
	}
	k.byName = nil
}

package libvirt

import (
	"runtime"
	"sync"

	golibvirt "libvirt.org/go/libvirt"
)

// startLoop registers and runs libvirt's event loop, which events and streams need.
// libvirt has one for the whole process, takes it only before the first
// connection, and cannot give it back: so it is started once and never ends.
var startLoop = sync.OnceValue(func() error {
	if err := golibvirt.EventRegisterDefaultImpl(); err != nil {
		return err
	}
	go runLoop()
	return nil
})

func runLoop() {
	// The loop never leaves C for long; a thread of its own spares the scheduler.
	runtime.LockOSThread()
	for {
		if err := golibvirt.EventRunDefaultImpl(); err != nil {
			// poll(2) failed. Calls still work without the loop; their contexts bound them.
			return
		}
	}
}

// inLoop runs f once in the event loop's thread and waits for it, at most until give
// up is closed. Callbacks must be taken back there: elsewhere the loop may be on its
// way into one, and the binding panics on a callback that it no longer knows.
func inLoop(giveUp <-chan struct{}, f func()) {
	done := make(chan struct{})
	_, err := golibvirt.EventAddTimeout(0, func(timer int) {
		_ = golibvirt.EventRemoveTimeout(timer)
		f()
		close(done)
	})
	if err != nil {
		return
	}
	select {
	case <-done:
	case <-giveUp:
	}
}

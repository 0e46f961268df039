package engine

// Host is a connection to one libvirt host, cut into the rooms the engine needs.
// A method that finds nothing returns an error of kind fault.NotFound; a lost
// connection is fault.Unreachable. Every method is one libvirt call, or the few
// that reading one object takes.
type Host struct {
	// URI is the connection's URI as libvirt normalised it.
	URI string
	// Local says that client and host are the same machine, sharing one file system.
	Local bool
	// Session says that the connection is an unprivileged one.
	Session bool

	Inspector Inspector
	Domains   Domains
	Pools     Pools
	Volumes   Volumes
	Networks  Networks
	Consoles  Consoles
	Screens   Screens
	Events    Events
	Secrets   Secrets
	Agents    Agents
	Moves     Moves

	// Pusher is nil where images have no other way to the host than through libvirt.
	Pusher Pusher
}

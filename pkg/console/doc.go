// Package console joins a person's terminal, or a script's pipes, to the serial
// console of a machine, and follows the log of what it printed.
//
// A serial line knows no window size, so there is nothing to forward when a window
// is resized: a program in the guest that looks wrong is told with
// `stty rows R cols C` there. It also has no flow control that all guests honour,
// so input goes at the speed of a real line and a large paste arrives whole.
//
// Whatever ends a session, short of SIGKILL, the terminal is put back as it was;
// after a SIGKILL, `stty sane` does. The package opens no connection and decides
// no exit code: it is given the stream and the log.
package console

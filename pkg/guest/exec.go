package guest

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
)

//go:embed exec.sh
var execSource string

// execScript is the script without its comments: it shows in the guest's process list.
func execScript() string { return comments.ReplaceAllString(execSource, "") }

var comments = regexp.MustCompile(`(?m)^\s*#.*\n|^\t+`)

const (
	// pollFirst and pollMost are how often the agent is asked how a program stands: it
	// tells nobody by itself.
	pollFirst = 10 * time.Millisecond
	pollMost  = 250 * time.Millisecond
	// showAfter is when output is fetched while the program still runs.
	showAfter = 150 * time.Millisecond
	// stopTime is how long a program may take to end after SIGINT, and then after SIGTERM.
	stopTime = 2 * time.Second
	// wholeInput is standard input that is given along with the command, if it has come to
	// its end within inputTime.
	wholeInput = 32 << 10
	inputTime  = 20 * time.Millisecond
)

// run is one program while it runs in the guest.
type run struct {
	agent *Agent
	c     Command
	dir   string
	pid   int64

	// out and err are the growing files of its output, once they are open.
	out, err *file
	// read and forgotten are how much of out has been read, and given back to the guest's disk.
	read, forgotten int64
	// next is the number of the piece of bulk output that comes next.
	next int
	ack  *file
}

// state is guest-exec-status' answer.
type state struct {
	Exited   bool   `json:"exited"`
	Code     int    `json:"exitcode"`
	Signal   int    `json:"signal"`
	Out      []byte `json:"out-data"`
	Err      []byte `json:"err-data"`
	OutShort bool   `json:"out-truncated"`
	ErrShort bool   `json:"err-truncated"`
}

func (s state) status() int {
	if s.Signal > 0 && s.Signal < 128 {
		return 128 + s.Signal
	}
	return s.Code & 0xff
}

// Run implements Runner. The agent keeps what a program prints until it ends, and no more
// than 16 MiB, so a script in the guest puts it into files that are read as they grow.
func (a *Agent) Run(ctx context.Context, c Command) (int, error) {
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	r := &run{agent: a, c: c, dir: "/tmp/.vmctl-" + rand.Text()}
	input := newInput(c.Stdin)
	whole, all := input.whole()
	how := "-"
	if !all {
		how += "s"
	}
	if c.Bulk {
		how += "b"
	}
	err := r.start(ctx, script(execScript(), append([]string{r.dir, how}, c.Argv...)...), whole, all)
	if noShell(err) {
		return r.plain(ctx, input)
	}
	if err != nil {
		return 0, a.refusal(err, "run "+c.Argv[0])
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	fed := make(chan error, 1)
	if all {
		fed <- nil
	} else {
		go func() { fed <- r.feed(working, input) }()
	}
	ended, err := r.follow(ctx)
	stop()
	if err != nil {
		r.abandon(ctx)
		if ctx.Err() != nil {
			// Whatever call the interruption hit.
			err = fault.New(fault.Interrupted, "interrupted; what ran in %s was stopped", a.domain)
		}
		return 0, err
	}
	if err := <-fed; err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) && notYet(err) != nil {
		err = fmt.Errorf("standard input of %s: %w", c.Argv[0], err)
		r.sweep(ctx)
		return 0, err
	}
	if !all || c.Bulk || r.out != nil {
		r.sweep(ctx)
	}
	return ended.status(), nil
}

// noShell says that the guest has no /bin/sh.
func noShell(err error) bool {
	refused, ok := errors.AsType[*engine.AgentError](err)
	return ok && !disabled(err) && bytes.Contains([]byte(refused.Reason), []byte("execute child process"))
}

func (r *run) start(ctx context.Context, argv []string, stdin []byte, all bool) error {
	arguments := map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true}
	if all && len(stdin) > 0 {
		arguments["input-data"] = stdin
	}
	var started struct {
		PID int64 `json:"pid"`
	}
	err := r.agent.ask(ctx, "guest-exec", arguments, &started)
	r.pid = started.PID
	return err
}

func (r *run) state(ctx context.Context) (state, error) {
	var s state
	err := r.agent.ask(ctx, "guest-exec-status", map[string]int64{"pid": r.pid}, &s)
	if _, refused := errors.AsType[*engine.AgentError](err); refused {
		err = fault.New(fault.Other, "the guest agent of %s no longer knows how %s ended: it was restarted, or the guest was", r.agent.domain, r.c.Argv[0])
	}
	return s, err
}

// follow waits for the program's end and hands on what it prints.
func (r *run) follow(ctx context.Context) (state, error) {
	began, pause := time.Now(), pollFirst
	for {
		s, err := r.state(ctx)
		if err != nil {
			return s, err
		}
		moved, err := r.drain(ctx, s, time.Since(began) > showAfter)
		if err != nil || s.Exited {
			return s, err
		}
		if pause = min(2*pause, pollMost); moved {
			pause = pollFirst
		}
		if err := pauseFor(ctx, pause); err != nil {
			return s, err
		}
	}
}

// drain hands on the output there is by now.
func (r *run) drain(ctx context.Context, s state, show bool) (moved bool, err error) {
	if r.c.Bulk {
		moved, err = r.pieces(ctx, s)
		if err == nil && s.Exited {
			r.err, err = r.agent.open(ctx, r.dir+"/err", "r")
			if err == nil {
				_, err = r.rest(ctx, r.err, r.c.Stderr)
			}
		}
		return moved, err
	}
	if r.out == nil {
		if s.Exited && len(s.Out)+len(s.Err) > 0 {
			return true, r.hand(s)
		}
		if !s.Exited && !show {
			return false, nil
		}
		if found, err := r.openOutput(ctx); err != nil || !found {
			return false, err
		}
	}
	out, err := r.rest(ctx, r.out, counted{r.c.Stdout, &r.read})
	if err != nil {
		return false, err
	}
	if !s.Exited {
		r.forget(ctx)
	}
	more, err := r.rest(ctx, r.err, r.c.Stderr)
	return out || more, err
}

// hand gives on output that came with the status.
func (r *run) hand(s state) error {
	if _, err := r.c.Stdout.Write(s.Out); err != nil {
		return err
	}
	_, err := r.c.Stderr.Write(s.Err)
	return err
}

// openOutput opens the files of the output. That they are not there means that the
// script has not come to them yet, or that there was little to say.
func (r *run) openOutput(ctx context.Context) (bool, error) {
	out, err := r.agent.open(ctx, r.dir+"/out", "r")
	if err != nil {
		return false, notYet(err)
	}
	if r.err, err = r.agent.open(ctx, r.dir+"/err", "r"); err != nil {
		// The shell makes it right after the other one, and may just have removed both.
		return false, errors.Join(notYet(err), out.close(ctx))
	}
	r.out = out
	return true, nil
}

// notYet makes it no error that a file of the guest is not there.
func notYet(err error) error {
	if refused, ok := errors.AsType[*engine.AgentError](err); ok && strings.Contains(refused.Reason, "No such file") {
		return nil
	}
	return err
}

// rest reads a growing file to its present end.
func (r *run) rest(ctx context.Context, f *file, to io.Writer) (moved bool, err error) {
	for {
		p, err := f.read(ctx, agentChunk)
		if err != nil || len(p) == 0 {
			return moved, err
		}
		moved = true
		if _, err := to.Write(p); err != nil {
			return moved, err
		}
		if len(p) < agentChunk {
			return moved, nil
		}
	}
}

// forgetAfter is how much output that was read may lie in the guest.
const forgetAfter = 16 << 20

// forget gives the blocks of output that was read back to the guest's disk, where it has
// a file system and a fallocate that can. Nobody waits for it.
func (r *run) forget(ctx context.Context) {
	if r.read-r.forgotten < forgetAfter {
		return
	}
	r.forgotten = r.read
	forgetter := &run{agent: r.agent}
	_ = forgetter.start(ctx, script(guestPath+`exec fallocate --punch-hole --offset 0 --length "$2" "$1/out"`, r.dir, strconv.FormatInt(r.read, 10)), nil, true)
}

// counted counts what it passes on.
type counted struct {
	to io.Writer
	n  *int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	*c.n += int64(n)
	return n, err
}

// pieces fetches those pieces of bulk output that are whole.
func (r *run) pieces(ctx context.Context, s state) (moved bool, err error) {
	for {
		f, err := r.agent.open(ctx, fmt.Sprintf("%s/out.%d", r.dir, r.next), "r")
		if err != nil {
			return moved, notYet(err)
		}
		_, err = r.rest(ctx, f, r.c.Stdout)
		if closing := f.close(ctx); err == nil {
			err = closing
		}
		if err != nil {
			return moved, err
		}
		r.next++
		moved = true
		if !s.Exited {
			if err := r.acknowledge(ctx); err != nil {
				return moved, err
			}
		}
	}
}

// acknowledge lets the guest make another piece.
func (r *run) acknowledge(ctx context.Context) (err error) {
	if r.ack == nil {
		// r+ does not wait for somebody at the other end.
		if r.ack, err = r.agent.open(ctx, r.dir+"/ack", "r+"); err != nil {
			return notYet(err)
		}
	}
	if err = r.ack.write(ctx, []byte("\n")); err == nil {
		err = r.ack.flush(ctx)
	}
	return err
}

// sweep closes what is open in the guest and removes the directory there. It runs in
// the background of the guest: nobody waits for it.
func (r *run) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	for _, f := range []*file{r.out, r.err, r.ack} {
		if f != nil {
			_ = f.close(ctx)
		}
	}
	_ = r.start(ctx, script(guestPath+`rm -rf "$1"`, r.dir), nil, true)
}

// guestPath lets a script find its programs, also on NixOS, whose services have few.
const guestPath = "PATH=${PATH:+$PATH:}/run/current-system/sw/bin:/usr/bin:/bin\n"

// stopScript ends the program's group: a signal, and a harder one when it goes on.
const stopScript = guestPath + `d=$1; p=$(cat "$d/pid") || exit 0
for s in INT TERM KILL; do
	# BusyBox complains of -- but needs none, dash needs it.
	kill -s $s -- "$p" 2>/dev/null
	n=0
	while sleep 0.2 2>/dev/null || sleep 1; kill -0 "${p#-}" 2>/dev/null && [ $n -lt 10 ]; do n=$((n + 1)); done
done
rm -rf "$d"`

// abandon stops a program that nobody waits for any more.
func (r *run) abandon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*stopTime)
	defer cancel()
	stopper := &run{agent: r.agent, c: Command{Argv: []string{"kill"}}}
	if err := stopper.start(ctx, script(stopScript, r.dir), nil, true); err != nil {
		return
	}
	for {
		if s, err := r.state(ctx); err != nil || s.Exited {
			break
		}
		if pauseFor(ctx, pollMost) != nil {
			break
		}
	}
	r.sweep(ctx)
}

// plain runs a program without a shell's help, as in a guest that has none: its output
// comes when it has ended, and qemu-ga keeps no more than 16 MiB of it.
func (r *run) plain(ctx context.Context, input *input) (int, error) {
	stdin, err := input.everything(ctx, plainInput)
	if err != nil {
		return 0, err
	}
	if err := r.start(ctx, r.c.Argv, stdin, true); err != nil {
		return 0, r.agent.refusal(err, "run "+r.c.Argv[0])
	}
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		s, err := r.state(ctx)
		if err != nil {
			return 0, err
		}
		if s.Exited {
			if err := r.hand(s); err != nil {
				return 0, err
			}
			if s.OutShort || s.ErrShort {
				return 0, fault.New(fault.Other, "%s printed more than the guest agent of %s keeps, and the guest has no /bin/sh to help", r.c.Argv[0], r.agent.domain)
			}
			return s.status(), nil
		}
		if pauseFor(ctx, pause) != nil {
			return 0, fault.New(fault.Interrupted, "interrupted; %s goes on in %s", r.c.Argv[0], r.agent.domain)
		}
	}
}

// plainInput is the most that goes along with a command.
const plainInput = 96 << 10

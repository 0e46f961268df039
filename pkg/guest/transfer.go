package guest

import (
	"context"
	"errors"
	"io"
)

// Files moves single files; a Runner that cannot do it by itself does it with cat.
type files interface {
	readFile(ctx context.Context, path string, to io.Writer) error
	writeFile(ctx context.Context, path string, from io.Reader) error
}

// filesOf is how a runner moves single files.
func filesOf(r Runner) files {
	if f, ok := r.(files); ok {
		return f
	}
	return byCat{r}
}

// readFile reads a file of the guest in chunks.
func (a *Agent) readFile(ctx context.Context, path string, to io.Writer) error {
	f, err := a.open(ctx, path, "r")
	if err != nil {
		return a.refusal(err, "read "+path)
	}
	for {
		var p []byte
		if p, err = f.read(ctx, agentChunk); err != nil || len(p) == 0 {
			break
		}
		if _, err = to.Write(p); err != nil {
			break
		}
	}
	return errors.Join(a.refusal(err, "read "+path), f.close(ctx))
}

// writeFile writes a file of the guest in chunks, each one written out before the next.
func (a *Agent) writeFile(ctx context.Context, path string, from io.Reader) error {
	f, err := a.open(ctx, path, "w")
	if err != nil {
		return a.refusal(err, "write "+path)
	}
	p := make([]byte, agentChunk)
	for err == nil {
		var n int
		n, err = io.ReadFull(from, p)
		if n > 0 {
			if failed := f.write(ctx, p[:n]); failed != nil {
				err = failed
			}
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = f.flush(ctx)
	}
	return errors.Join(a.refusal(err, "write "+path), f.close(ctx))
}

// byCat moves files through a program's standard input and output.
type byCat struct{ Runner }

func (c byCat) readFile(ctx context.Context, path string, to io.Writer) error {
	return run1(ctx, c.Runner, Command{Argv: script(`exec cat <"$1"`, path), Stdout: to}, "read "+path)
}

func (c byCat) writeFile(ctx context.Context, path string, from io.Reader) error {
	return run1(ctx, c.Runner, Command{Argv: script(`exec cat >"$1"`, path), Stdin: struct{ io.Reader }{from}}, "write "+path)
}

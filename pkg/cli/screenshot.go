package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/google/renameio/v2"
	urfave "github.com/urfave/cli/v2"

	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/screen"
)

func screenshotCommand() *command {
	return &command{
		name: "screenshot", group: look, takes: oneMachine, run: runScreenshot,
		summary: "Take a picture of a machine's screen",
		about: []string{
			"Writes a PNG of what a running guest shows on its screen, to a file or, in a pipe, to the standard output. " +
				"The guest needs graphics: vnc or spice in its definition.",
		},
		options: []option{
			{name: "file", short: "o", kind: isText, value: "FILE", help: "the file to write; - is the standard output"},
		},
		examples: []example{{"vmctl screenshot -o example.png example", ""}, {"vmctl screenshot example | imv -", ""}},
	}
}

func runScreenshot(ctx context.Context, c *call, in *urfave.Context) error {
	name, file := c.line.args[0], in.String("file")
	switch {
	case file == outputJSON || file == outputTable:
		return usagef("-o names the file that the picture is written to, and %s would be an odd name for one", file).
			WithHint("vmctl screenshot -o %[1]s.png %[1]s; or -o ./%[2]s if that is what you mean", name, file)
	case (file == "" || file == "-") && c.streams.OutTTY:
		return usagef("a picture is not for a terminal").WithHint("vmctl screenshot -o %[1]s.png %[1]s", name)
	}
	_, e, d, err := c.observe(ctx, name)
	if err != nil {
		return err
	}
	if err := c.drawing(d); err != nil {
		return err
	}
	picture, err := takePicture(ctx, e.Host, name)
	if err != nil {
		return noScreen(name, err)
	}
	c.progress.Close()
	if file == "" || file == "-" {
		return c.print(string(picture))
	}
	dir, err := c.deps.Getwd()
	if err != nil {
		return err
	}
	at := file
	if !filepath.IsAbs(file) {
		at = filepath.Join(dir, file)
	}
	if err := renameio.WriteFile(at, picture, 0o644); err != nil {
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err // the name of the file that would have been renamed says nothing
		}
		return fault.New(fault.Other, "cannot write %s: %w", file, err).WithHint("name a file in a directory that is there and that you may write to")
	}
	c.say(fmt.Sprintf("the screen of %s is in %s", name, file))
	return nil
}

func takePicture(ctx context.Context, host *engine.Host, name string) ([]byte, error) {
	_, stream, err := host.Screens.Screenshot(ctx, name)
	if err != nil {
		return nil, err
	}
	// Closing it is what ends a read that waits for a host that has gone silent.
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	var out bytes.Buffer
	if err := screen.PNG(&out, stream); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return out.Bytes(), stream.Close()
}

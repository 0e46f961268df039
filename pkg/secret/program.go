package secret

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
)

// overhead is what an encrypted secret may have beyond its own bytes: sops' notes, armour.
const overhead = 1 << 20

// command runs a program in the project's directory, without a shell.
func (r Reader) command(ctx context.Context, words []string) ([]byte, error) {
	out, err := r.run(ctx, words[0], words[1:]...)
	if errors.Is(err, proc.ErrNotFound) {
		err = fault.New(fault.NotFound, "its command %s is not installed, or not in PATH", words[0])
	}
	return chomp(out), err
}

// sops runs sops, which knows where its keys are.
func (r Reader) sops(ctx context.Context, file, key string) ([]byte, error) {
	path, err := r.Path(file)
	if err != nil {
		return nil, err
	}
	args := []string{"--decrypt"}
	if key != "" {
		args = append(args, "--extract", extract(key))
	}
	out, err := r.run(ctx, "sops", append(args, path)...)
	if errors.Is(err, proc.ErrNotFound) {
		return nil, fault.New(fault.NotFound, "sops is not installed").
			WithHint("install it (nix profile install nixpkgs#sops), or encrypt with age alone, which vmctl reads by itself")
	}
	if key != "" {
		out = chomp(out)
	}
	return out, err
}

// extract is a path of keys as sops wants it: a.b.0 is ["a"]["b"][0].
func extract(key string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(key, ".") {
		if n, err := strconv.Atoi(word); err == nil && n >= 0 && strconv.Itoa(n) == word {
			b.WriteString("[" + word + "]")
			continue
		}
		quoted, _ := json.Marshal(word) // text always can be
		b.WriteString("[" + string(quoted) + "]")
	}
	return b.String()
}

// run gives what a program prints. It stays out of every error: of a program that failed
// only what it said on standard error is told.
func (r Reader) run(ctx context.Context, path string, args ...string) ([]byte, error) {
	result, err := proc.Run(ctx, proc.Cmd{Path: path, Args: args, Dir: r.Dir, MaxStdout: MaxBytes + 1})
	if errors.Is(err, proc.ErrTooMuchOutput) {
		return nil, fault.New(fault.Invalid, "it is larger than 1MiB, the most that systemd takes")
	}
	return result.Stdout, err
}

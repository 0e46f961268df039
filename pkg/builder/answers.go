package builder

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
)

// What nix answers depends on what a flake says, and a flake may be anybody's. These
// read the answers; newer versions of nix add keys.

// parseBuilt reads what nix build --json prints.
func parseBuilt(stdout []byte) (drv, out string, err error) {
	var built []struct {
		DrvPath string            `json:"drvPath"`
		Outputs map[string]string `json:"outputs"`
	}
	if err := json.Unmarshal(stdout, &built); err != nil {
		return "", "", errors.New("it answered in a way vmctl cannot read")
	}
	if len(built) != 1 {
		return "", "", errors.New("the attribute is not a single package")
	}
	out = built[0].Outputs["out"]
	if out == "" && len(built[0].Outputs) == 1 {
		for _, only := range built[0].Outputs {
			out = only
		}
	}
	if !filepath.IsAbs(out) {
		return "", "", errors.New("the package has no output called out")
	}
	return built[0].DrvPath, filepath.Clean(out), nil
}

// parseOutcome reads what a package builds to, as the expression outcome gives it.
func parseOutcome(stdout []byte) (drv, out string, err error) {
	var said struct{ Drv, Out string }
	if err := json.Unmarshal(stdout, &said); err != nil {
		return "", "", err
	}
	if !filepath.IsAbs(said.Out) {
		return "", "", errors.New("its output is no path")
	}
	return said.Drv, filepath.Clean(said.Out), nil
}

// parseFlake reads nix flake metadata --json: where the flake is from, and whether its
// URL names one content for ever.
func parseFlake(stdout []byte) (origin Origin, fixed bool, err error) {
	var said struct {
		URL    string
		Locked struct {
			Type, Rev, NarHash string
			LastModified       int64
		}
	}
	if err := json.Unmarshal(stdout, &said); err != nil {
		return Origin{}, false, err
	}
	return Origin{
		URL: said.URL, Rev: said.Locked.Rev, NarHash: said.Locked.NarHash, Modified: said.Locked.LastModified,
		Dirty: said.Locked.Type == "git" && said.Locked.Rev == "",
	}, said.Locked.Rev != "" || said.Locked.NarHash != "", nil
}

// parseAnswer reads what the wrapper says of a flake. A name that is null stays empty.
func parseAnswer(stdout []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(stdout, &a); err != nil {
		return answer{}, err
	}
	if string(a.Spec) == "null" {
		a.Spec = nil
	}
	if len(a.Left) == 0 {
		a.Left = nil
	}
	return a, nil
}

// parseNames reads a list of attributes' names.
func parseNames(stdout []byte) (names []string, err error) {
	err = json.Unmarshal(stdout, &names)
	return names, err
}

// parseFile reads the name of a file.
func parseFile(stdout []byte) (file string, ok bool) {
	err := json.Unmarshal(stdout, &file)
	return file, err == nil
}

// updates is what a system and its image would be built to.
type updates struct{ System, Image struct{ Drv, Out string } }

// parseUpdates reads what the wrapper says of both.
func parseUpdates(text []byte) (updates, error) {
	var u updates
	if err := json.Unmarshal(text, &u); err != nil {
		return updates{}, err
	}
	for _, out := range []*string{&u.System.Out, &u.Image.Out} {
		if !filepath.IsAbs(*out) {
			return updates{}, errors.New("it is no store path")
		}
		*out = filepath.Clean(*out)
	}
	return u, nil
}

// parseSizes adds up what nix path-info --size prints: a line for each path, with the size
// behind it.
func parseSizes(text string) (sum int64) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(words[len(words)-1], 10, 64); err == nil && n >= 0 && sum+n >= sum {
			sum += n
		}
	}
	return sum
}

package builder

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/proc"
)

// Flavour is whose nix it is.
type Flavour string

// The flavours.
const (
	Nix         Flavour = "Nix"
	Lix         Flavour = "Lix"
	Determinate Flavour = "Determinate Nix"
)

// Version is what nix says of itself.
type Version struct {
	// Text is the whole line, such as "nix (Nix) 2.8.0".
	Text    string
	Flavour Flavour
	// Major and Minor are of the nix version; for Lix of Lix's own.
	Major, Minor int
}

var versionNumber = regexp.MustCompile(`(\d{1,6})\.(\d{1,6})`)

// Version asks nix for its version. One that is missing or too old is fault.Build.
func (b *Builder) Version(ctx context.Context) (Version, error) {
	res, err := proc.Run(ctx, proc.Cmd{Path: b.nix, Args: []string{"--version"}, Env: b.environ()})
	if err != nil {
		return Version{}, b.processError(ctx, err)
	}
	v, ok := parseVersion(string(res.Stdout))
	switch {
	case !ok:
		return v, fault.New(fault.Build, "%s --version does not answer as nix does: %q", b.nix, firstLine(v.Text)).
			WithHint("check which program `%s` is: command -v %s", b.nix, b.nix)
	case v.tooOld():
		return v, fault.New(fault.Build, "%s is too old: vmctl needs nix 2.8 or newer", v.Text).
			WithHint("install a current nix: https://nixos.org/download")
	}
	return v, nil
}

// tooOld is a nix older than what the builder was tried with. Every Lix is newer.
func (v Version) tooOld() bool {
	return v.Flavour == Nix && (v.Major < 2 || v.Major == 2 && v.Minor < 8)
}

// parseVersion reads "nix (Nix) 2.8.0", "nix (Lix, like Nix) 2.91.1" and
// "nix (Determinate Nix 3.6.2) 2.29.0".
func parseVersion(text string) (Version, bool) {
	line := firstLine(text)
	v := Version{Text: line, Flavour: Nix}
	rest := line
	if i := strings.LastIndexByte(rest, ')'); i >= 0 {
		rest = rest[i+1:]
	}
	number := versionNumber.FindStringSubmatch(rest)
	if number == nil || !strings.HasPrefix(line, "nix") {
		return v, false
	}
	switch {
	case strings.Contains(line, "(Lix"):
		v.Flavour = Lix
	case strings.Contains(line, "(Determinate"):
		v.Flavour = Determinate
	}
	v.Major, _ = strconv.Atoi(number[1])
	v.Minor, _ = strconv.Atoi(number[2])
	return v, true
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

package guest

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Report is what a guest says of itself on its port for reports: one line of JSON for
// each, with the version of the format as the value of "vmctl".
//
//	{"vmctl":1,"state":"booting"}
//	{"vmctl":1,"state":"ready","addresses":["192.0.2.7"],"ssh_host_keys":["ssh-ed25519 AAAA…"],"failed_units":[]}
//
// "booting" promises that another one follows. What a guest says is checked, and what
// does not stand the check is left out; it is never more than what the guest claims.
type Report struct {
	State ReportState `json:"state"`
	// Addresses are those that others may reach it by.
	Addresses []string `json:"addresses,omitempty"`
	// HostKeys are the public keys of its ssh server: type and key, without a comment.
	HostKeys []string `json:"ssh_host_keys,omitempty"`
	// FailedUnits are the names of systemd's units that failed.
	FailedUnits []string `json:"failed_units,omitempty"`
	// Time is when it was read.
	Time time.Time `json:"time,omitzero"`
}

// ReportState is how far the guest is.
type ReportState string

// The states.
const (
	StateBooting ReportState = "booting"
	StateReady   ReportState = "ready"
)

// ReportVersion is the version of the format.
const ReportVersion = 1

const (
	// maxReport is the longest line that is read, maxReports the most bytes of a port.
	maxReport    = 64 << 10
	maxReports   = 4 << 20
	maxAddresses = 32
	maxHostKeys  = 16
	maxHostKey   = 8 << 10
	maxUnits     = 64
	maxUnit      = 255
)

var (
	hostKeyPattern = regexp.MustCompile(`^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,3}$`)
	// A bound in the pattern would make it a large program, which every command compiles.
	unitPattern = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+$`)
)

// ParseReport reads one line. It is not ok when the line is no report, or one of a format
// that is not known.
func ParseReport(line []byte) (r Report, ok bool) {
	var said struct {
		Vmctl   int         `json:"vmctl"`
		State   ReportState `json:"state"`
		Address []string    `json:"addresses"`
		Keys    []string    `json:"ssh_host_keys"`
		Units   []string    `json:"failed_units"`
	}
	if len(line) > maxReport || json.Unmarshal(line, &said) != nil || said.Vmctl != ReportVersion {
		return Report{}, false
	}
	if said.State != StateBooting && said.State != StateReady {
		return Report{}, false
	}
	r.State = said.State
	r.Addresses = checked(said.Address, maxAddresses, func(s string) (string, bool) {
		address, err := netip.ParseAddr(s)
		address = address.Unmap()
		return address.String(), err == nil && address.Zone() == "" && address.IsGlobalUnicast()
	})
	r.HostKeys = checked(said.Keys, maxHostKeys, func(s string) (string, bool) {
		words := strings.Fields(s)
		if len(words) < 2 {
			return "", false
		}
		key := words[0] + " " + words[1]
		return key, len(key) <= maxHostKey && hostKeyPattern.MatchString(key)
	})
	r.FailedUnits = checked(said.Units, maxUnits, func(s string) (string, bool) {
		return s, len(s) <= maxUnit && unitPattern.MatchString(s)
	})
	return r, true
}

// checked keeps what stands the check, once each.
func checked(said []string, most int, check func(string) (string, bool)) []string {
	var kept []string
	for _, s := range said {
		if good, ok := check(s); ok && len(kept) < most && !slices.Contains(kept, good) {
			kept = append(kept, good)
		}
	}
	return kept
}

// readReports calls heard with each report until the port ends. What is too long or no
// report is passed over; a guest that says too much is heard no more.
func readReports(port io.Reader, heard func(Report)) error {
	lines := bufio.NewReaderSize(io.LimitReader(port, maxReports), maxReport)
	long := false
	for {
		line, err := lines.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if err == nil && !long {
			if r, ok := ParseReport(line); ok {
				heard(r)
			}
		}
		long = full || long && err != nil
		if err != nil && !full {
			return err
		}
		if err == nil {
			long = false
		}
	}
}

// Package cloudinit makes what cloud-init in a guest is told: the files of its NoCloud
// data source, and the disk that they lie on. It is pure: it reads no file and asks nobody.
package cloudinit

import (
	"encoding/json"
	"strings"

	"vmctl/pkg/fault"
	"vmctl/pkg/iso"
)

// Label is the file system's label by which cloud-init finds the disk.
const Label = "cidata"

// Config is what a guest is told.
type Config struct {
	// Hostname is the guest's host name.
	Hostname string
	// User can log in with Keys, and use sudo; an empty one leaves the image's own.
	User string
	// Keys are public ssh keys as authorized_keys has them.
	Keys []string
	// UserData is the person's own, checked by CheckUserData; nil for none.
	UserData []byte
	// NetworkConfig is the person's own, checked by CheckNetworkConfig; nil for the
	// image's default.
	NetworkConfig []byte
}

// Seed is the disk for one life of the machine: when life changes, cloud-init takes the
// guest for a new one.
func (c Config) Seed(life string) ([]byte, error) {
	meta, err := encode(struct {
		Instance string `json:"instance-id"`
		Hostname string `json:"local-hostname"`
	}{life, c.Hostname})
	if err != nil {
		return nil, err
	}
	user, err := c.userData()
	if err != nil {
		return nil, err
	}
	files := []iso.File{{Name: "meta-data", Content: meta}, {Name: "user-data", Content: user}}
	if c.NetworkConfig != nil {
		files = append(files, iso.File{Name: "network-config", Content: c.NetworkConfig})
	}
	return iso.Write(Label, files)
}

// cloudConfig is the part of cloud-init's configuration that vmctl writes.
type cloudConfig struct {
	// User renames the image's default user, who keeps the groups, the shell and the
	// rights that the image gives.
	User        *user    `json:"user,omitempty"`
	DisableRoot *bool    `json:"disable_root,omitempty"`
	Keys        []string `json:"ssh_authorized_keys,omitempty"`
}

type user struct {
	Name string `json:"name"`
}

const root = "root"

// userData is vmctl's own and, when there is any, the person's behind it: what comes
// later wins.
func (c Config) userData() ([]byte, error) {
	config := cloudConfig{Keys: c.Keys}
	switch c.User {
	case "":
	case root:
		// The keys go to root as well, but with a command that only tells to use another name.
		config.DisableRoot = new(bool)
	default:
		config.User = &user{c.User}
	}
	text, err := encode(config)
	if err != nil {
		return nil, err
	}
	own := append([]byte("#cloud-config\n"), text...)
	if len(c.UserData) == 0 {
		return own, nil
	}
	return multipart(part{"text/cloud-config", own}, part{contentType(c.UserData), c.UserData})
}

// encode writes JSON, which is YAML, too.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return nil, fault.New(fault.Other, "what the guest is told cannot be written: %w", err)
	}
	return []byte(b.String()), nil
}

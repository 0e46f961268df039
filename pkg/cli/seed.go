package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmctl/pkg/cloudinit"
	"vmctl/pkg/engine"
	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

// media are the disks that tell the guest about itself.
func (c *call) media(t *target) ([]engine.Medium, error) {
	config, err := c.cloudInit(t)
	if err != nil || config == nil {
		return nil, err
	}
	return []engine.Medium{{Role: engine.RoleSeed, Serial: engine.SerialSeed, Make: config.Seed}}, nil
}

// seeded says whether the machine has a disk for cloud-init.
func seeded(m *spec.Machine) bool {
	if m.CloudInit.Use != "" {
		return m.CloudInit.Use == spec.Yes
	}
	return m.Image.Kind == spec.ImageKnown
}

// cloudInit is what the guest's cloud-init is told, or nil.
func (c *call) cloudInit(t *target) (*cloudinit.Config, error) {
	if !seeded(t.machine) {
		return nil, nil
	}
	asked := t.machine.CloudInit
	config := &cloudinit.Config{Hostname: asked.Hostname, User: asked.User}
	if config.Hostname == "" {
		config.Hostname = t.name
	}
	if config.User == "" {
		config.User = c.guestUser()
	}
	var err error
	if config.Keys, err = c.publicKeys(t, "cloud-init", asked.Keys, asked.KeysSet); err != nil {
		return nil, err
	}
	if asked.UserData != "" {
		if config.UserData, err = ownFile(t, asked.UserData, cloudinit.MaxUserData, cloudinit.CheckUserData); err != nil {
			return nil, err
		}
	}
	if asked.NetworkConfig != "" {
		if config.NetworkConfig, err = ownFile(t, asked.NetworkConfig, cloudinit.MaxUserData, cloudinit.CheckNetworkConfig); err != nil {
			return nil, err
		}
	}
	if len(config.Keys) == 0 && config.UserData == nil {
		c.note(t.name, fault.New(fault.Other, "no public ssh key was found in ~/.ssh, so nobody can log in to %s over ssh; make one with ssh-keygen, or name one: cloud-init: {ssh-keys: [FILE]}", t.name))
	}
	return config, nil
}

// guestUser is the client user's name as a guest can have it.
func (c *call) guestUser() string {
	if c.deps.Root {
		return "root"
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		default:
			return '-'
		}
	}, strings.ToLower(c.deps.getenv("USER")))
	if name = strings.TrimLeft(name, "-0123456789"); len(name) > 32 {
		name = name[:32]
	}
	return name
}

const maxKeyFile = 64 << 10

// publicKeys are the keys that a key of the definition gives, else those of the person.
func (c *call) publicKeys(t *target, where string, asked []string, given bool) ([]string, error) {
	var keys []string
	if !given {
		home := c.deps.getenv("HOME")
		if home == "" {
			return nil, nil
		}
		files, _ := filepath.Glob(filepath.Join(home, ".ssh", "*.pub"))
		slices.Sort(files)
		for _, file := range files {
			// Certificates and what else ends in .pub there are nobody's mistake.
			if data, err := bounded(file, maxKeyFile); err == nil {
				if found, err := cloudinit.ParseKeys(file, string(data)); err == nil {
					keys = append(keys, found...)
				}
			}
		}
		return slices.Compact(keys), nil
	}
	for _, key := range asked {
		from, text := "the key of "+where+".ssh-keys", key
		if !cloudinit.IsKey(key) {
			from = key
			if rest, ok := strings.CutPrefix(key, "~/"); ok {
				from = filepath.Join(c.deps.getenv("HOME"), rest)
			}
			data, err := bounded(t.path(from), maxKeyFile)
			if err != nil {
				return nil, unreadable("public key", key, where, err)
			}
			text = string(data)
		}
		found, err := cloudinit.ParseKeys(from, text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
	}
	return slices.Compact(keys), nil
}

// readSystemd puts the public keys themselves into what systemd in the guest is told, in
// place of the files that the definition names.
func (c *call) readSystemd(t *target) error {
	if !t.machine.Systemd.Use {
		return nil
	}
	keys, err := c.publicKeys(t, "systemd", t.machine.Systemd.Keys, t.machine.Systemd.KeysSet)
	t.systemdKeys = keys
	return err
}

// ownFile reads and checks a file that a definition names.
func ownFile(t *target, path string, most int64, check func(file string, data []byte) error) ([]byte, error) {
	data, err := bounded(t.path(path), most)
	if err != nil {
		return nil, unreadable("file", path, "cloud-init", err)
	}
	return data, check(path, data)
}

func unreadable(what, path, where string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "%s %s of %s is not there", what, path, where).
			WithHint("paths are relative to the project")
	}
	if inside, ok := errors.AsType[*fs.PathError](err); ok {
		err = inside.Err
	}
	return fault.New(fault.Invalid, "%s %s of %s cannot be read: %w", what, path, where, err)
}

// bounded reads a file, a byte more than is allowed at most. It waits for no pipe.
func bounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, most+1))
}

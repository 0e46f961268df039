package state

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// Roots is a directory of GC root links: what one machine's images are kept by.
type Roots struct {
	// Dir is where the links are.
	Dir string
	// Host is the element of the path that stands for the host; empty for a build.
	Host string
	// Machine is the machine's name, and Project, for a build, the project it is of.
	Machine, Project string
}

// builds is where images lie that were built for no host; no URI has such a file name.
const builds = "build"

// projectFile says in a build's directory whose it is.
const projectFile = "project"

// BuildRoots is the directory of the links that keep what was built of a project's
// machine, before any host has it.
func (d Dirs) BuildRoots(project, machine string) string {
	sum := sha256.Sum256([]byte(project))
	return filepath.Join(d.State, "gcroots", builds, machine+"."+hex.EncodeToString(sum[:4]))
}

// NoteProject writes down whose a build's directory is.
func NoteProject(dir, project string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, projectFile), []byte(project+"\n"), 0o600)
}

// HostName is Roots.Host of a host.
func HostName(hostURI string) string { return fileName(hostURI) }

// AllRoots are the directories of links that there are, for all hosts.
func (d Dirs) AllRoots() []Roots {
	found, _ := filepath.Glob(filepath.Join(d.State, "gcroots", "*", "*"))
	var all []Roots
	for _, dir := range found {
		host, machine := filepath.Base(filepath.Dir(dir)), filepath.Base(dir)
		if host != builds {
			all = append(all, Roots{Dir: dir, Host: host, Machine: machine})
			continue
		}
		project, _ := os.ReadFile(filepath.Join(dir, projectFile))
		machine, _, _ = strings.Cut(machine, ".")
		all = append(all, Roots{Dir: dir, Machine: machine, Project: strings.TrimSuffix(string(project), "\n")})
	}
	return all
}

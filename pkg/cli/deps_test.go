package cli

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What lies in a project is run by nobody, whatever PATH says: by no shell or ssh that libvirt
// starts either.
func TestPATHLeavesTheProjectOut(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/bin:/bin":            "/usr/bin:/bin",
		".:/usr/bin:/bin":          "/usr/bin:/bin",
		":/usr/bin::bin:../x:/bin": "/usr/bin:/bin",
		"/usr/bin:":                "/usr/bin",
	} {
		t.Setenv("PATH", path)
		System("test")
		assert.Equal(t, want, os.Getenv("PATH"), "%q", path)
	}
	t.Setenv("PATH", ".:")
	System("test")
	_, set := os.LookupEnv("PATH")
	assert.False(t, set, "an empty one is the directory itself")
}

package ssh

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzOf: nothing of a URI becomes an option of ssh's.
func FuzzOf(f *testing.F) {
	for _, seed := range []string{
		"qemu+ssh://me@h:22/system?keyfile=/k", "qemu+ssh://-oProxyCommand=x/system", "qemu+ssh://%2dl@h/system", "qemu+ssh://h/system?keyfile=-oX", "qemu+ssh://h:-p/system", "qemu:///system",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		h := Of(uri)
		if h == nil {
			return
		}
		argv := h.Through("192.0.2.7:22")
		assert.Equal(t, "--", argv[len(argv)-2])
		known := []string{"-o", "-W", "-l", "-p", "-i", "--"}
		for i, word := range argv {
			if strings.HasPrefix(word, "-") {
				assert.Contains(t, known, word, "%d of %q", i, argv)
			}
		}
	})
}

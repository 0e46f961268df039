package libvirt_test

import (
	"os"
	"testing"

	"vmctl/pkg/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv(noopVar) != "" {
		os.Exit(noop())
	}
	os.Exit(testenv.Main(m))
}

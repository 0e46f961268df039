package libvirt_test

import (
	"os"
	"testing"

	"vmctl/pkg/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

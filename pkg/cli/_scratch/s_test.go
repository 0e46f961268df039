package scratch

import (
	"os"
	"os/exec"
	"testing"

	"vmctl/pkg/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestIt(t *testing.T) {
	testenv.Host(t)
	dir := testenv.Dir(t, "tester")
	out, err := exec.Command("cp", "-r", "../../../images", "../../../domain", "/tmp/vmctl-cli", "/tmp/clitry/drive.py", dir).CombinedOutput()
	t.Log(string(out), err)
	testenv.Give(t, dir)
	cmd := exec.Command("bash", os.Getenv("SCRIPT"))
	cmd.Dir = dir
	if os.Getenv("ASROOT") == "" {
		cmd = testenv.AsTester(cmd)
	} else {
		cmd.Env = append(os.Environ(), testenv.Nix(t)...)
		cmd.Env = append(cmd.Env, "HOME="+dir)
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	t.Log(cmd.Run())
}

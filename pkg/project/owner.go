package project

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// own says that a project belongs to the user or to root. Who became root with sudo stays
// who they were.
func own(dir string) bool {
	mine := []int{0, os.Geteuid()}
	if before, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && os.Geteuid() == 0 {
		mine = append(mine, before)
	}
	for _, path := range []string{dir, filepath.Join(dir, definitions)} {
		info, err := os.Lstat(path) // a link is its maker's
		if err != nil {
			return false
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || !slices.Contains(mine, int(st.Uid)) {
			return false
		}
	}
	return true
}

package testenv

import (
	"os"
	"regexp"
	"testing"
)

// Section replaces what stands in a Markdown file between the comments
// <!-- name:begin … --> and <!-- name:end -->, so that what it shows can be made anew.
func Section(t testing.TB, file, name, text string) {
	t.Helper()
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	between := regexp.MustCompile(`(?s)(<!-- ` + name + `:begin[^>]*-->\n).*?(<!-- ` + name + `:end -->)`)
	at := between.FindSubmatchIndex(old)
	if at == nil {
		t.Fatalf("%s has no section %s", file, name)
	}
	whole := string(old[:at[3]]) + "\n" + text + "\n" + string(old[at[4]:])
	if err := os.WriteFile(file, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
}

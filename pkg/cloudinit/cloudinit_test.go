package cloudinit_test

import (
	"bytes"
	"encoding/base64"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/cloudinit"
	"vmctl/pkg/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example"

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}

// content gives what lies in the image behind a file of that text: sectors are padded
// with zeros.
func content(t *testing.T, seed []byte, begins string) string {
	t.Helper()
	i := bytes.Index(seed, []byte(begins))
	require.GreaterOrEqual(t, i, 0, "no %q", begins)
	text, _, _ := bytes.Cut(seed[i:], []byte{0})
	return string(text)
}

func TestSeed(t *testing.T) {
	c := cloudinit.Config{Hostname: "web", User: "me", Keys: []string{key}}
	seed, err := c.Seed("5c5b1a3e-0a86-4b53-9d0e-7a1f3c2f6d90")
	require.NoError(t, err)
	golden(t, "meta-data", content(t, seed, "{\n  \"instance-id\""))
	golden(t, "user-data", content(t, seed, "#cloud-config"))

	again, err := c.Seed("5c5b1a3e-0a86-4b53-9d0e-7a1f3c2f6d90")
	require.NoError(t, err)
	assert.Equal(t, seed, again, "the same says the same")
	other, err := c.Seed("another")
	require.NoError(t, err)
	assert.NotEqual(t, seed, other)

	c.User = "root"
	seed, err = c.Seed("x")
	require.NoError(t, err)
	golden(t, "user-data-root", content(t, seed, "#cloud-config"))
	c.NetworkConfig = []byte("version: 2\n")
	seed, err = c.Seed("x")
	require.NoError(t, err)
	assert.Contains(t, string(seed), "network-config")
}

func TestUserDataOfOnesOwnComesBehind(t *testing.T) {
	for name, own := range map[string]string{
		"text/cloud-config":  "#cloud-config\npackages: [nginx]\n",
		"text/x-shellscript": "#!/bin/sh\necho \x1b[31m--\n" + strings.Repeat("long ", 100) + "\n",
		"multipart/mixed":    "Content-Type: multipart/mixed; boundary=\"b\"\nMIME-Version: 1.0\n\n--b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--b--\n",
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, cloudinit.CheckUserData("own", []byte(own)))
			c := cloudinit.Config{Hostname: "web", User: "me", UserData: []byte(own)}
			seed, err := c.Seed("x")
			require.NoError(t, err)
			message, err := mail.ReadMessage(strings.NewReader(content(t, seed, "Content-Type: multipart/mixed; boundary=\"vmctl-")))
			require.NoError(t, err)
			_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
			require.NoError(t, err)
			parts := multipart.NewReader(message.Body, parameters["boundary"])
			first, err := parts.NextPart()
			require.NoError(t, err)
			assert.Contains(t, first.Header.Get("Content-Type"), "text/cloud-config")
			second, err := parts.NextPart()
			require.NoError(t, err)
			assert.Contains(t, second.Header.Get("Content-Type"), name)
			if name != "multipart/mixed" {
				body, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, second))
				require.NoError(t, err)
				assert.Equal(t, own, string(body))
			}
		})
	}
}

func TestCheckUserData(t *testing.T) {
	for name, row := range map[string]struct{ data, want string }{
		"empty":     {" \n", "user.yaml cannot be user-data: it is empty"},
		"no kind":   {"packages: [nginx]\n", "the first line says what user-data is"},
		"gzip":      {"\x1f\x8b\x08", "packed with gzip"},
		"binary":    {"#!/bin/sh\n\x00", "it is not text"},
		"huge":      {"#!" + strings.Repeat("x", cloudinit.MaxUserData), "larger than 1MiB"},
		"YAML":      {"#cloud-config\npackages: [nginx\n", "user.yaml:2:"},
		"a list":    {"#cloud-config\n- a\n", "user.yaml:2:1"},
		"tab":       {"#cloud-config\na:\n\tb: c\n", "user.yaml:3:1"},
		"MIME":      {"Content-Type: text/plain\n\nhello\n", "none of several parts"},
		"documents": {"#cloud-config\na: b\n---\nc: d\n", "one YAML document"},
	} {
		err := cloudinit.CheckUserData("user.yaml", []byte(row.data))
		if assert.Error(t, err, name) {
			assert.Contains(t, err.Error(), row.want, name)
			assert.Equal(t, fault.Invalid, fault.KindOf(err), name)
		}
	}
	for _, good := range []string{
		"#cloud-config\n", "#cloud-config\n# nothing\n{}\n", "#!/bin/sh\n", "#include\nhttps://example.org/\n", "## template: jinja\n#cloud-config\n{{ x }}\n",
	} {
		assert.NoError(t, cloudinit.CheckUserData("user.yaml", []byte(good)), good)
	}
}

func TestCheckNetworkConfig(t *testing.T) {
	assert.NoError(t, cloudinit.CheckNetworkConfig("n", []byte("version: 2\nethernets: {}\n")))
	assert.NoError(t, cloudinit.CheckNetworkConfig("n", []byte("network:\n  version: 1\n  config: []\n")))
	assert.ErrorContains(t, cloudinit.CheckNetworkConfig("n", []byte("ethernets: {}\n")), "version")
	assert.ErrorContains(t, cloudinit.CheckNetworkConfig("n", []byte("")), "empty")
	assert.ErrorContains(t, cloudinit.CheckNetworkConfig("n", []byte("version: [2\n")), "n:1:")
}

func TestParseKeys(t *testing.T) {
	keys, err := cloudinit.ParseKeys("f", "# mine\n\n"+key+"\r\n")
	require.NoError(t, err)
	assert.Equal(t, []string{key}, keys)
	assert.True(t, cloudinit.IsKey(key))
	assert.False(t, cloudinit.IsKey("keys/me.pub"))
	for _, bad := range []string{
		"-----BEGIN OPENSSH PRIVATE KEY-----\n", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa " + strings.Fields(key)[1], "ssh-ed25519 AAAA", "hello",
		"command=\"x\" " + key,
	} {
		_, err := cloudinit.ParseKeys("f", bad)
		assert.Error(t, err, bad)
	}
}

func FuzzUserData(f *testing.F) {
	f.Add([]byte("#cloud-config\na: b\n"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=\"b\"\n\n--b--\n"))
	f.Add([]byte("#cloud-config\n[[[[[{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if cloudinit.CheckUserData("f", data) != nil {
			return
		}
		c := cloudinit.Config{Hostname: "web", UserData: data}
		if _, err := c.Seed("x"); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(key)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := cloudinit.ParseKeys("f", text)
		for _, k := range keys {
			if err == nil && !cloudinit.IsKey(k) {
				t.Fatal(k)
			}
		}
	})
}

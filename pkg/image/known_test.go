package image

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/spec"
)

func TestKnownImages(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var publishers []string
	for _, k := range KnownImages() {
		assert.False(t, seen[k.Name], "%s is there twice", k.Name)
		seen[k.Name] = true
		publishers = append(publishers, publisher(k.Name))
		parsed, err := spec.ParseImage(k.Name)
		require.NoError(t, err)
		assert.Equal(t, spec.Image{Kind: spec.ImageKnown, Ref: k.Name}, parsed)
		assert.NotEmpty(t, k.Title)
		require.NotEmpty(t, k.Builds, k.Name)
		for _, b := range k.Builds {
			for _, text := range []string{b.URL, b.Checksums} {
				u, err := url.Parse(text)
				require.NoError(t, err)
				assert.Equal(t, "https", u.Scheme)
				assert.NotContains(t, text, "{")
			}
			// What may be written in a definition may stand in the table, and nothing else.
			_, err := spec.Parse("m1", "m1.yaml", []byte("image: "+b.URL+"\nchecksums: "+b.Checksums+"\n"))
			require.NoError(t, err, b.URL)
			assert.Regexp(t, `\.(qcow2|img|qcow2\.xz)$`, b.URL)
			assert.Equal(t, strings.Split(b.URL, "/")[2], strings.Split(b.Checksums, "/")[2], "the publisher's own server")
		}
	}
	assert.Equal(t, spec.Publishers(), slices.Compact(publishers), "in the order in which pkg/spec knows them")
}

func TestKnownImageIsFound(t *testing.T) {
	t.Parallel()
	b, err := known("debian:12", "x86_64")
	require.NoError(t, err)
	assert.Equal(t, KnownBuild{
		"x86_64", "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2",
		"https://cloud.debian.org/images/cloud/bookworm/latest/SHA512SUMS",
	}, b)
	b, err = known("fedora:43", "aarch64")
	require.NoError(t, err)
	assert.Equal(t, "https://dl.fedoraproject.org/pub/fedora/linux/releases/43/Cloud/aarch64/images/Fedora-Cloud-43-1.6-aarch64-CHECKSUM", b.Checksums)
	for name, want := range map[string]string{
		"debian:1":     "did you mean debian:1",
		"debian:potat": "there are debian:12, debian:13",
		"ubuntu:24.4":  "did you mean ubuntu:24.04?",
		"alpine:3.23":  "vmctl image list --known",
	} {
		_, err := known(name, "aarch64")
		require.Error(t, err)
		assert.Equal(t, fault.NotFound, fault.KindOf(err))
		assert.Contains(t, fault.HintOf(err), want)
	}
}

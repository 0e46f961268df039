package checksum_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/fault"
	"vmctl/pkg/image/checksum"
)

var (
	a256 = strings.Repeat("a1", 32)
	b256 = strings.Repeat("b2", 32)
	a512 = strings.Repeat("a1", 64)
	md5  = strings.Repeat("a1", 16)
	sha1 = strings.Repeat("a1", 20)
)

// The forms in which publishers write them, each with who does.
func TestFind(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"sha256sum, Debian":   b256 + "  other.img\n" + a256 + "  disk.img\n",
		"binary, Ubuntu":      a256 + " *disk.img\n" + b256 + " *disk.img.manifest\n",
		"below a directory":   a256 + "  ./disk.img\n",
		"a tab":               a256 + "\tdisk.img\n",
		"no line break":       a256 + "  disk.img",
		"Windows":             a256 + "  disk.img\r\n",
		"upper case":          strings.ToUpper(a256) + "  disk.img\n",
		"BSD, Rocky":          "# disk.img: 638 bytes\nSHA256 (disk.img) = " + a256 + "\n",
		"BSD, other spelling": "SHA-256 (disk.img) = " + a256 + "\n",
		"signed, Fedora": "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.img: 5 bytes\nSHA256 (other.img) = " + b256 +
			"\nSHA256 (disk.img) = " + a256 + "\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n-----END PGP SIGNATURE-----\n",
		"signed, with escapes": "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\nHash: SHA512\n\n- " + a256 + "  disk.img\n-----BEGIN PGP SIGNATURE-----\n",
		"alone":                a256 + "\n",
		"twice the same":       a256 + "  disk.img\n" + a256 + "  disk.img\n",
		"weak ones beside":     "MD5 (disk.img) = " + md5 + "\nSHA1 (disk.img) = " + sha1 + "\nSHA256 (disk.img) = " + a256 + "\n",
		"prose around":         "These are our checksums.\n\n" + a256 + "  disk.img\nBye (really) now\n",
	} {
		d, err := checksum.Find([]byte(text), "disk.img")
		require.NoError(t, err, name)
		assert.Equal(t, checksum.Digest{Algorithm: checksum.SHA256, Hex: a256}, d, name)
		assert.True(t, d.Valid())
	}
	for name, text := range map[string]string{
		"Alpine":       a512,
		"SHA512SUMS":   a512 + "  disk.img\n",
		"BSD, FreeBSD": "SHA512 (disk.img) = " + a512 + "\n",
		"both":         "SHA256 (disk.img) = " + a256 + "\nSHA512 (disk.img) = " + a512 + "\n",
	} {
		d, err := checksum.Find([]byte(text), "disk.img")
		require.NoError(t, err, name)
		assert.Equal(t, "sha512-"+a512, d.String(), name)
	}
}

func TestFindRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"empty":                 {"", "no checksums in it"},
		"a web page":            {"<!doctype html><p>" + a256 + "</p>", "no checksums in it"},
		"another file":          {a256 + "  other.img\n", "says nothing of disk.img"},
		"the end of a name":     {a256 + "  my-disk.img\n", "says nothing of disk.img"},
		"another directory":     {a256 + "  sub/disk.img\n", "says nothing of disk.img"},
		"contradiction":         {a256 + "  disk.img\n" + b256 + "  disk.img\n", "two different ones"},
		"two alone":             {a256 + "\n" + b256 + "\n", "says nothing of disk.img"},
		"alone with others":     {a256 + "\n" + b256 + "  other.img\n", "says nothing of disk.img"},
		"MD5":                   {md5 + "  disk.img\n", "only MD5 or SHA-1"},
		"SHA-1":                 {"SHA1 (disk.img) = " + sha1 + "\n", "only MD5 or SHA-1"},
		"SHA-512/256":           {"SHA512/256 (disk.img) = " + a256 + "\n", "only MD5 or SHA-1"},
		"a lie":                 {"SHA512 (disk.img) = " + a256 + "\n", "only MD5 or SHA-1"},
		"in the signature":      {"-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n-----BEGIN PGP SIGNATURE-----\n" + a256 + "  disk.img\n", "no checksums in it"},
		"before what is signed": {a256 + "  disk.img\n-----BEGIN PGP SIGNED MESSAGE-----\n\n" + b256 + "  other.img\n", "says nothing of"},
		"a comment":             {"# " + a256 + "  disk.img\n", "no checksums in it"},
		"escaped":               {`\` + a256 + "  disk.img\n", "no checksums in it"},
		"not quite digits":      {a256[:63] + "g  disk.img\n", "no checksums in it"},
		"huge":                  {strings.Repeat("x", checksum.MaxBytes+1), "more than"},
		"many lines":            {strings.Repeat("\n", 30000), "more than"},
	} {
		_, err := checksum.Find([]byte(c.text), "disk.img")
		require.ErrorContains(t, err, c.want, name)
		assert.Equal(t, fault.Build, fault.KindOf(err), name)
	}
}

func TestDigestsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, d := range []checksum.Digest{
		{}, {Algorithm: checksum.SHA256}, {Algorithm: checksum.SHA256, Hex: a512}, {Algorithm: checksum.SHA512, Hex: a256},
		{Algorithm: "md5", Hex: md5}, {Algorithm: checksum.SHA256, Hex: strings.ToUpper(a256)}, {Algorithm: checksum.SHA256, Hex: "../" + a256[3:]},
	} {
		assert.False(t, d.Valid(), d)
	}
}

func FuzzFind(f *testing.F) {
	for _, seed := range []string{
		a256 + "  disk.img\n", "SHA256 (disk.img) = " + a256, a512, `\` + a256 + " *disk.img",
		"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + a256 + "  disk.img\n-----BEGIN PGP SIGNATURE-----\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := checksum.Find(text, "disk.img")
		if err != nil {
			assert.Equal(t, fault.Build, fault.KindOf(err))
			return
		}
		assert.True(t, d.Valid())
		assert.Contains(t, strings.ToLower(string(text)), d.Hex, "it stands in the text")
	})
}

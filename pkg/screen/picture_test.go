package screen_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vmctl/pkg/screen"
)

const ppm = "P6\n# made by hand\n2 1\n255\n\xff\x00\x00\x00\x00\xff"

func TestPNG(t *testing.T) {
	picture := image.NewRGBA(image.Rect(0, 0, 2, 1))
	picture.Set(0, 0, color.RGBA{0xff, 0, 0, 0xff})
	picture.Set(1, 0, color.RGBA{0, 0, 0xff, 0xff})
	var asPNG bytes.Buffer
	require.NoError(t, png.Encode(&asPNG, picture))
	for name, in := range map[string]string{"pixmap": ppm, "PNG": asPNG.String()} {
		var out bytes.Buffer
		require.NoError(t, screen.PNG(&out, strings.NewReader(in)), name)
		got, err := png.Decode(&out)
		require.NoError(t, err)
		assert.Equal(t, picture.Bounds(), got.Bounds())
		for x := range 2 {
			assert.Equal(t, picture.At(x, 0), color.RGBAModel.Convert(got.At(x, 0)), "%s: pixel %d", name, x)
		}
	}
}

func TestPNGRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "it ends too early",
		"P6":                        "it ends too early",
		"P6\n2 1\n255\n\xff":        "it ends too early",
		"P6\n99999 1\n255\n":        "99999×1 pixels are no screen",
		"P6\n16384 16384\n255\n":    "16384×16384 pixels are no screen",
		"P6\n0 1\n255\n":            "0×1 pixels are no screen",
		"P6\n2 1\n65535\n":          "it has 65535 shades of each colour, and not 255",
		"P6\n1234567 1\n255\n":      "its header has a number that is too large",
		"P6\n-1 1\n255\n":           "its header cannot be read",
		"GIF89a and something else": "png: invalid format: not a PNG file",
	} {
		var out bytes.Buffer
		err := screen.PNG(&out, strings.NewReader(in))
		assert.EqualError(t, err, "the host's picture of the screen cannot be read: "+want)
		assert.Empty(t, out.Bytes())
	}
	assert.Error(t, screen.PNG(broken{}, strings.NewReader(ppm)))
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

func FuzzPNG(f *testing.F) {
	f.Add([]byte(ppm))
	f.Add([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		if screen.PNG(&out, bytes.NewReader(in)) == nil {
			_, err := png.Decode(&out)
			require.NoError(t, err)
		}
	})
}

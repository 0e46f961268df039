package screen

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"

	"vmctl/pkg/fault"
)

const (
	// maxSide is more pixels than any screen of a guest has.
	maxSide = 16384
	// maxBytes bounds what is read of a picture: 4 bytes for each pixel of a wall of 8K screens.
	maxBytes = 512 << 20
	// maxPixels bounds what is kept in memory.
	maxPixels = maxBytes / 4
)

// PNG reads a picture of a screen, a portable pixmap (P6) as QEMU makes it or a PNG, and
// writes a PNG. The content decides, not what the host calls it.
func PNG(w io.Writer, r io.Reader) error {
	in := bufio.NewReader(io.LimitReader(r, maxBytes))
	picture, err := decode(in)
	if err != nil {
		return err
	}
	if err := png.Encode(w, picture); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}

func decode(in *bufio.Reader) (image.Image, error) {
	bad := func(err error) error {
		return fault.New(fault.Other, "the host's picture of the screen cannot be read: %w", err)
	}
	magic, err := in.Peek(2)
	if err != nil {
		return nil, bad(errors.New("it ends too early"))
	}
	if string(magic) == "P6" {
		picture, err := decodePPM(in)
		if err != nil {
			return nil, bad(err)
		}
		return picture, nil
	}
	// The header is looked at first: a small file may claim to be a very large picture.
	header, _ := in.Peek(64) // a shorter one is refused by DecodeConfig
	config, err := png.DecodeConfig(bytes.NewReader(header))
	if err == nil {
		err = sized(config.Width, config.Height)
	}
	if err != nil {
		return nil, bad(err)
	}
	picture, err := png.Decode(in)
	if err != nil {
		return nil, bad(err)
	}
	return picture, nil
}

func sized(width, height int) error {
	if width < 1 || height < 1 || width > maxSide || height > maxSide || width*height > maxPixels {
		return fmt.Errorf("%d×%d pixels are no screen", width, height)
	}
	return nil
}

// decodePPM reads a binary pixmap with 8 bits for each colour. Source: ppm(5).
func decodePPM(in *bufio.Reader) (image.Image, error) {
	if _, err := in.Discard(2); err != nil {
		return nil, err
	}
	var numbers [3]int
	for i := range numbers {
		n, err := ppmNumber(in)
		if err != nil {
			return nil, err
		}
		numbers[i] = n
	}
	width, height := numbers[0], numbers[1]
	if err := sized(width, height); err != nil {
		return nil, err
	}
	if numbers[2] != 255 {
		return nil, fmt.Errorf("it has %d shades of each colour, and not 255", numbers[2])
	}
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	row := make([]byte, 3*width)
	for y := range height {
		if _, err := io.ReadFull(in, row); err != nil {
			return nil, errors.New("it ends too early")
		}
		for x := range width {
			at := picture.PixOffset(x, y)
			copy(picture.Pix[at:at+3], row[3*x:3*x+3])
			picture.Pix[at+3] = 0xff
		}
	}
	return picture, nil
}

// ppmNumber reads white space and comments, a number, and the one byte behind it.
func ppmNumber(in *bufio.Reader) (int, error) {
	n, digits := 0, 0
	for {
		b, err := in.ReadByte()
		switch {
		case err != nil:
			return 0, errors.New("it ends too early")
		case b >= '0' && b <= '9':
			if n, digits = n*10+int(b-'0'), digits+1; digits > 5 {
				return 0, errors.New("its header has a number that is too large")
			}
		case digits > 0:
			return n, nil
		case b == '#':
			if _, err := in.ReadSlice('\n'); err != nil {
				return 0, errors.New("its header cannot be read")
			}
		case b != ' ' && b != '\t' && b != '\n' && b != '\r':
			return 0, errors.New("its header cannot be read")
		}
	}
}

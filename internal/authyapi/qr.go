package authyapi

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"rsc.io/qr"
)

// This file owns QR codes. The picture travels inside the answer: an address would have to be unguessable and short-lived, and
// whoever keeps logs of addresses would keep the secret.

const quietZone = 4 // modules of white on each side (ISO/IEC 18004)

// qrPNG returns a data: address of a square PNG with size pixels a side.
func qrPNG(text string, size int) (string, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", fmt.Errorf("encode QR code: %w", err)
	}
	// Every module has the same whole number of pixels; what is left over widens the white.
	scale := max(1, size/(code.Size+2*quietZone))
	size = max(size, code.Size+2*quietZone)
	from := (size - code.Size*scale) / 2
	img := image.NewPaletted(image.Rect(0, 0, size, size), color.Palette{color.White, color.Black})
	for y := range code.Size * scale {
		for x := range code.Size * scale {
			if code.Black(x/scale, y/scale) {
				img.SetColorIndex(from+x, from+y, 1)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", fmt.Errorf("encode PNG: %w", err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

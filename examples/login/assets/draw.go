//go:build ignore

// Command draw makes logo.png: an owl at a vault's door. Run it here: go run draw.go
package main

import (
	"image"
	"image/color"
	"image/png"
	"log"
	"math"
	"os"
)

const (
	size = 128
	fine = 8 // samples a pixel, each way
)

var (
	green = color.NRGBA{0x17, 0x45, 0x36, 255}
	deep  = color.NRGBA{0x0e, 0x2b, 0x22, 255}
	gold  = color.NRGBA{0xd8, 0xb2, 0x5c, 255}
	pale  = color.NRGBA{0xf6, 0xec, 0xd2, 255}
	clear = color.NRGBA{}
)

// at is the colour of a point of the picture, 0 to 128 each way.
func at(x, y float64) color.NRGBA {
	far := func(cx, cy float64) float64 { return math.Hypot(x-cx, y-cy) }
	// The square with round corners.
	if dx, dy := math.Abs(x-64)-36, math.Abs(y-64)-36; math.Hypot(max(dx, 0), max(dy, 0)) > 28 {
		return clear
	}
	side := math.Abs(x - 64) // left and right are alike
	switch {
	case math.Hypot(side-21, y-58) < 6.5: // pupils
		return deep
	case math.Hypot(side-21, y-58) < 14:
		return pale
	case math.Hypot(side-21, y-58) < 20: // rings around the eyes
		return gold
	case y > 66 && y < 84 && side < (84-y)*0.42: // beak
		return pale
	case y > 24 && y < 48 && side > 14 && math.Abs(side-(50-(y-24)*0.35)) < (y-22)*0.42 && side < 52: // ears
		return gold
	case math.Abs(far(64, 64)-54) < 2.2: // the door's rim
		return gold
	case y > 92 && y < 112 && (far(64, 96) < 5 || side < 1.5+(y-92)*0.14): // keyhole
		return gold
	case far(64, 64) < 54:
		return deep
	}
	return green
}

func main() {
	picture := image.NewNRGBA(image.Rect(0, 0, size, size))
	for py := range size {
		for px := range size {
			var r, g, b, a float64
			for i := range fine * fine {
				c := at(float64(px)+(float64(i%fine)+.5)/fine, float64(py)+(float64(i/fine)+.5)/fine)
				alpha := float64(c.A)
				r, g, b, a = r+float64(c.R)*alpha, g+float64(c.G)*alpha, b+float64(c.B)*alpha, a+alpha
			}
			if a > 0 {
				picture.SetNRGBA(px, py, color.NRGBA{uint8(r / a), uint8(g / a), uint8(b / a), uint8(a / (fine * fine))})
			}
		}
	}
	file, err := os.Create("logo.png")
	if err == nil {
		err = png.Encode(file, picture)
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		log.Fatal(err)
	}
}

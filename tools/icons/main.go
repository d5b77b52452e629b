// Command icons draws the app's icons: the mark on its ground, as PNG files in the sizes that home
// screens ask for. The mark is two arcs, so each pixel's cover is computed from its distance to them.
//
//	go -C tools run ./icons
package main

import (
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
)

// arc is a stroke of the mark on its 32 by 32 field, centred: from angle open to 2π-open, turned by turn.
type arc struct {
	radius, open, turn float64
	ink                color.RGBA
}

const (
	field  = 32.0
	stroke = 3.7
)

var (
	ground = color.RGBA{0x23, 0x34, 0xc4, 0xff}
	// The same arcs as in ui/shared/mark.svg.
	mark = []arc{
		{radius: 12.4, open: 38 * math.Pi / 180, turn: 0, ink: color.RGBA{0xff, 0xff, 0xff, 0xff}},
		{radius: 5.4, open: 50 * math.Pi / 180, turn: math.Pi, ink: color.RGBA{0xb4, 0xea, 0xcd, 0xff}},
	}
)

// icon is one file. share is how much of the width the mark takes; corner is the radius of the ground
// as a part of the width, 0 where the system cuts its own shape.
type icon struct {
	name          string
	size          int
	share, corner float64
	bare          bool // the mark alone, white: systems take its shape and colour it themselves
}

var icons = []icon{
	{name: "badge-96.png", size: 96, share: 0.92, bare: true},
	{name: "icon-180.png", size: 180, share: 0.64},
	{name: "icon-192.png", size: 192, share: 0.64, corner: 0.22},
	{name: "icon-512.png", size: 512, share: 0.64, corner: 0.22},
	{name: "icon-maskable-512.png", size: 512, share: 0.50},
}

func main() {
	dir := flag.String("out", "../ui/shared/icons", "folder to write to")
	flag.Parse()
	for _, i := range icons {
		if err := write(filepath.Join(*dir, i.name), draw(i)); err != nil {
			fmt.Fprintln(os.Stderr, "icons:", err)
			os.Exit(1)
		}
	}
}

func write(name string, img image.Image) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(file, img); err != nil {
		return err
	}
	return file.Close()
}

func draw(i icon) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, i.size, i.size))
	size := float64(i.size)
	unit := size * i.share / field // pixels to one step of the field
	for y := range i.size {
		for x := range i.size {
			px, py := float64(x)+0.5-size/2, float64(y)+0.5-size/2
			c, inked := ground, 0.0
			for _, a := range mark {
				share := cover((a.distance(px/unit, py/unit) - stroke/2) * unit)
				c, inked = mix(c, a.ink, share), math.Max(inked, share)
			}
			alpha := cover(cornerDistance(px, py, size/2, i.corner*size))
			if i.bare {
				c, alpha = mark[0].ink, inked
			}
			img.SetNRGBA(x, y, color.NRGBA{c.R, c.G, c.B, uint8(math.Round(alpha * 255))})
		}
	}
	return img
}

// distance from a point to the arc's middle line.
func (a arc) distance(x, y float64) float64 {
	sin, cos := math.Sincos(-a.turn)
	x, y = x*cos-y*sin, x*sin+y*cos
	if math.Abs(math.Atan2(y, x)) >= a.open {
		return math.Abs(math.Hypot(x, y) - a.radius)
	}
	endX, endY := a.radius*math.Cos(a.open), a.radius*math.Sin(a.open)
	return math.Hypot(x-endX, math.Abs(y)-endY) // the round end
}

// cornerDistance is the signed distance to a square of half width half with round corners.
func cornerDistance(x, y, half, radius float64) float64 {
	dx, dy := math.Abs(x)-half+radius, math.Abs(y)-half+radius
	return math.Hypot(math.Max(dx, 0), math.Max(dy, 0)) + math.Min(math.Max(dx, dy), 0) - radius
}

// cover turns a signed distance in pixels into how much of the pixel is inside, 0 to 1.
func cover(distance float64) float64 { return math.Min(1, math.Max(0, 0.5-distance)) }

func mix(under, over color.RGBA, share float64) color.RGBA {
	blend := func(u, o uint8) uint8 { return uint8(math.Round(float64(u)*(1-share) + float64(o)*share)) }
	return color.RGBA{blend(under.R, over.R), blend(under.G, over.G), blend(under.B, over.B), 0xff}
}

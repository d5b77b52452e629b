package logo

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"runtime"
	"strings"
	"testing"
)

// This file tests what becomes of a picture, and of what only looks like one (T-40).

func encodePNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// plain is a picture of one colour.
func plain(w, h int, c color.Color) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, c)
		}
	}
	return m
}

func normalised(t *testing.T, file []byte) *image.NRGBA {
	t.Helper()
	out, err := Normalise(file)
	if err != nil {
		t.Fatal(err)
	}
	m, format, err := image.Decode(bytes.NewReader(out))
	if err != nil || format != "png" {
		t.Fatal(format, err)
	}
	nrgba, ok := m.(*image.NRGBA)
	if !ok {
		opaque := image.NewNRGBA(m.Bounds())
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				opaque.Set(x, y, m.At(x, y))
			}
		}
		return opaque
	}
	return nrgba
}

func TestSizes(t *testing.T) {
	for _, row := range []struct{ w, h, wantW, wantH int }{
		{1, 1, 1, 1},
		{64, 32, 64, 32},
		{192, 192, 192, 192},
		{193, 193, 192, 192},
		{384, 192, 192, 96},
		{100, 400, 48, 192},
		{2048, 1, 192, 1},
		{3, 2000, 1, 192},
	} {
		if got := normalised(t, clearPNG(t, 8, row.w, row.h)).Bounds(); got.Dx() != row.wantW || got.Dy() != row.wantH {
			t.Errorf("%d×%d became %v", row.w, row.h, got)
		}
	}
}

func TestFormats(t *testing.T) {
	red := color.NRGBA{R: 200, G: 10, B: 10, A: 255}
	var asJPEG, asGIF bytes.Buffer
	if err := jpeg.Encode(&asJPEG, plain(200, 200, red), nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&asGIF, plain(200, 200, red), nil); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"PNG": encodePNG(t, plain(200, 200, red)), "JPEG": asJPEG.Bytes(), "GIF": asGIF.Bytes()} {
		c := normalised(t, file).NRGBAAt(100, 100)
		near := func(a, b uint8) bool { return max(a, b)-min(a, b) < 40 }
		if !near(c.R, red.R) || !near(c.G, red.G) || !near(c.B, red.B) || c.A != 255 {
			t.Errorf("%s became %v", name, c)
		}
	}
}

// Transparency is kept, shrunk or not: a logo stands on the page's own colour, light or dark.
func TestAlpha(t *testing.T) {
	for _, size := range []int{100, 400} {
		m := plain(size, size, color.NRGBA{R: 255, A: 128})
		for y := range size {
			for x := range size / 2 {
				m.Set(x, y, color.NRGBA{})
			}
		}
		got := normalised(t, encodePNG(t, m))
		w := got.Bounds().Dx()
		if a := got.NRGBAAt(w/8, w/2).A; a != 0 {
			t.Errorf("%d: the clear half has alpha %d", size, a)
		}
		if c := got.NRGBAAt(w-w/8, w/2); c.A < 126 || c.A > 130 || c.R < 253 {
			t.Errorf("%d: the other half is %v", size, c)
		}
	}
}

// The same file is the same bytes, always: their digest is signed.
func TestStable(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 250, 200))
	for i := range m.Pix {
		m.Pix[i] = byte(i * i >> 3)
	}
	file := encodePNG(t, m)
	one, err := Normalise(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if two, err := Normalise(file); err != nil || !bytes.Equal(one, two) {
			t.Fatal("another result", err)
		}
	}
}

// Only pixels get through: nothing that the file carries beside them.
func TestNothingButPixels(t *testing.T) {
	file := encodePNG(t, plain(10, 10, color.White))
	canary := []byte("<script>canary</script>")
	text := chunk("tEXt", append([]byte("Comment\x00"), canary...))
	with := append(append(append([]byte{}, file[:33]...), text...), file[33:]...)
	with = append(with, canary...)
	out, err := Normalise(with)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("canary")) {
		t.Error("the file's text came along")
	}
}

// chunk is one chunk of a PNG (RFC 2083 section 3.2).
func chunk(kind string, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// bomb is a PNG with four channels that says it is w×h and whose data inflates to size bytes of zeros.
func bomb(t *testing.T, w, h uint32, size int) []byte { return bombOf(t, 8, w, h, size) }

// clearPNG is a PNG of nothing, with that many bits a channel.
func clearPNG(t *testing.T, bits byte, w, h int) []byte {
	return bombOf(t, bits, uint32(w), uint32(h), h*(1+w*4*int(bits)/8))
}

func bombOf(t *testing.T, bits byte, w, h uint32, size int) []byte {
	t.Helper()
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	var data bytes.Buffer
	z, _ := zlib.NewWriterLevel(&data, zlib.BestSpeed) // a known level
	zeros := make([]byte, 1<<20)
	for written := 0; written < size; written += len(zeros) {
		if _, err := z.Write(zeros[:min(len(zeros), size-written)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(head, bits, 6, 0, 0, 0))...)
	return append(append(file, chunk("IDAT", data.Bytes())...), chunk("IEND", nil)...)
}

// movie is a GIF of n frames of w×h.
func movie(t *testing.T, n, w, h int) []byte {
	t.Helper()
	g := &gif.GIF{}
	for i := range n {
		frame := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.White, color.Black})
		if i > 0 {
			for p := range frame.Pix {
				frame.Pix[p] = 1
			}
		}
		g.Image, g.Delay = append(g.Image, frame), append(g.Delay, 1)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Of an animation the first picture is shown, and only it is decoded.
func TestAnimation(t *testing.T) {
	file := movie(t, 60, 400, 300)
	var out []byte
	if n := allocated(func() { out, _ = Normalise(file) }); n > 5<<20 {
		t.Errorf("took %d MiB for seven million pixels of which the first 120,000 count", n>>20)
	}
	m, err := png.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if r, _, _, _ := m.At(50, 50).RGBA(); m.Bounds().Dx() != 192 || m.Bounds().Dy() != 144 || r != 0xffff {
		t.Errorf("%v, red %x", m.Bounds(), r)
	}
}

// A frame smaller than its canvas keeps its own proportions.
func TestFrameSmallerThanItsCanvas(t *testing.T) {
	g := &gif.GIF{
		Image: []*image.Paletted{image.NewPaletted(image.Rect(10, 10, 110, 60), color.Palette{color.White, color.Black})}, Delay: []int{0},
		Config: image.Config{ColorModel: color.Palette{color.White, color.Black}, Width: 300, Height: 300},
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	if got := normalised(t, b.Bytes()).Bounds(); got.Dx() != 100 || got.Dy() != 50 {
		t.Errorf("%v", got)
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestRefused(t *testing.T) {
	good := encodePNG(t, plain(300, 300, color.White))
	noisy := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	for i := range noisy.Pix {
		noisy.Pix[i] = byte(i * 7)
	}
	var asJPEG bytes.Buffer
	if err := jpeg.Encode(&asJPEG, noisy, nil); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{
		"nothing":                        nil,
		"SVG":                            []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`),
		"HTML":                           []byte("<!doctype html><title>Log in</title>"),
		"WebP":                           []byte("RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00"),
		"BMP":                            append([]byte("BM"), make([]byte, 100)...),
		"ICO":                            {0, 0, 1, 0, 1, 0},
		"a beginning only":               good[:8],
		"a head only":                    good[:33],
		"PNG cut off":                    good[:len(good)-20],
		"JPEG cut off":                   asJPEG.Bytes()[:asJPEG.Len()/2],
		"GIF cut off":                    movie(t, 1, 100, 100)[:60],
		"wrong checksum":                 append(append([]byte{}, good[:29]...), append([]byte{0, 0, 0, 0}, good[33:]...)...),
		"no width":                       bomb(t, 0, 10, 100),
		"one pixel too wide":             clearPNG(t, 8, 2049, 1),
		"one pixel too high":             clearPNG(t, 8, 1, 2049),
		"huge":                           bomb(t, 65535, 65535, 1<<20),
		"huge beyond int32":              bomb(t, 1<<31-1, 1<<31-1, 1<<20),
		"more data than pixels":          bomb(t, 100, 100, 30<<20),
		"huge GIF":                       append([]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), make([]byte, 100)...),
		"GIF frame larger than the file": append([]byte("GIF89a\x10\x00\x10\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\x07\xff\x07\x00\x02"), make([]byte, 100)...),
	} {
		var err error
		n := allocated(func() { _, err = Normalise(file) })
		if err == nil {
			t.Errorf("%s was taken", name)
		}
		if n > 4<<20 {
			t.Errorf("%s took %d MiB", name, n>>20)
		}
	}
}

// The largest picture that is taken costs a bounded amount of memory.
func TestLargestTaken(t *testing.T) {
	file := clearPNG(t, 8, maxSide, maxSide)
	if len(file) > maxBytes {
		t.Fatalf("the test's picture has %d bytes", len(file))
	}
	var err error
	if n := allocated(func() { _, err = Normalise(file) }); err != nil || n > 40<<20 {
		t.Errorf("%v, %d MiB", err, n>>20)
	}
}

// FuzzNormalise: whatever the file, a PNG within the square or an error.
func FuzzNormalise(f *testing.F) {
	f.Add(encodePNG(f, plain(20, 10, color.White)))
	f.Add([]byte("GIF89a\x10\x00\x10\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x10\x00\x10\x00\x00\x02"))
	f.Add([]byte("\xff\xd8\xff\xe0\x00\x10JFIF"))
	f.Add([]byte(strings.Repeat("<svg>", 10)))
	f.Fuzz(func(t *testing.T, file []byte) {
		out, err := Normalise(file)
		if err != nil {
			return
		}
		c, err := png.DecodeConfig(bytes.NewReader(out))
		if err != nil || c.Width > side || c.Height > side || c.Width < 1 || c.Height < 1 {
			t.Errorf("%v, %v", c, err)
		}
	})
}

var errBroken = errors.New("broken")

// This file owns QR codes, drawn as SVG: sharp at any size, and in the page's own colours.

package login

import (
	"fmt"
	"html/template"
	"strings"

	"rsc.io/qr"
)

// drawQR returns a text as an SVG picture. Dark modules are on light ground in dark mode as well, because cameras expect it.
func drawQR(text string) (template.HTML, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", fmt.Errorf("draw QR code: %w", err)
	}
	const quiet = 4 // modules of margin that the standard asks for
	var path strings.Builder
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	size := code.Size + 2*quiet
	// Everything in it is a number: no text of anybody's gets into the markup.
	return template.HTML(fmt.Sprintf(`<svg class="qr" role="img" aria-label="QR code for the authenticator" viewBox="0 0 %d %d" shape-rendering="crispEdges">`+
		`<rect width="%d" height="%d" fill="#fff"/><path fill="#10201a" d="%s"/></svg>`, size, size, size, size, path.String())), nil
}

// Package ui holds the front ends' files inside the binary: the authenticator as it was built by
// tools/bundle, and what all front ends share.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed authenticator/dist
var authenticator embed.FS

//go:embed shared/*.css shared/*.svg shared/fonts shared/icons
var shared embed.FS

// Authenticator returns the built authenticator. Paths are those of its URLs: index.html is the page for
// every path of the app, sw.js and manifest.json belong to the root, and the names below assets/ carry a
// hash of their content, so that they may be cached for ever.
func Authenticator() fs.FS { return below(authenticator, "authenticator/dist") }

// Shared returns what every front end uses: tokens.css (custom properties, typeface), base.css (text,
// buttons, fields), mark.svg, wordmark.svg, favicon.svg, rosette.svg, fonts/ and icons/. The style sheets
// name the fonts relative to themselves. The names carry no hash, so a cache has to ask again.
func Shared() fs.FS { return below(shared, "shared") }

// below is fs.Sub for a folder that the embedding above guarantees.
func below(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic(err)
	}
	return sub
}

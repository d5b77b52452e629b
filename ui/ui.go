// Package ui owns the embedded front ends: the authenticator's built app and what all pages share.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed authenticator/dist all:shared
var files embed.FS

// Authenticator returns the built authenticator: index.html, sw.js, manifest.json, and assets/ with a hash in each name.
func Authenticator() fs.FS { return sub("authenticator/dist") }

// Shared returns what every surface uses: design tokens, base styles, the typeface, the mark.
func Shared() fs.FS { return sub("shared") }

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the folders are compiled in
	}
	return f
}

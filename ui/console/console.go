// Package consoleui owns the console's look: its templates, style and script, embedded.
package consoleui

import (
	"embed"
	"io/fs"
)

//go:embed *.html *.css *.js
var files embed.FS

// FS returns the files, all in one folder: layout.html and parts.html, one template for each page, and what browsers load.
func FS() fs.FS { return files }

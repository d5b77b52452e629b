// Command bundle builds the authenticator's front end: ui/authenticator into ui/authenticator/dist,
// which is committed, so that building the product needs neither this command nor Node.
//
//	go -C tools run ./bundle            build
//	go -C tools run ./bundle -check     fail when the committed files differ from a rebuild
//	go -C tools run ./bundle -tests DIR bundle the unit tests into DIR, for node --test
//
// The same sources give the same bytes on every machine: nothing of the time, the place or the order
// of files enters the output.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	ui := flag.String("ui", "../ui", "folder of the front ends")
	check := flag.Bool("check", false, "compare with what is committed and write nothing")
	tests := flag.String("tests", "", "bundle the unit tests into this folder instead")
	flag.Parse()
	if err := run(*ui, *tests, *check); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(ui, tests string, check bool) error {
	root, err := filepath.Abs(ui)
	if err != nil {
		return err
	}
	if tests != "" {
		return buildTests(root, tests)
	}
	files, err := build(root)
	if err != nil {
		return err
	}
	dist := filepath.Join(root, "authenticator", "dist")
	if check {
		return compare(dist, files)
	}
	return write(dist, files)
}

// errStale is returned by compare for any difference.
var errStale = errors.New("the committed bundle is not what the sources give: run `go -C tools run ./bundle` and commit ui/authenticator/dist")

// This file owns `countersign version`.

package main

import (
	"errors"
	"fmt"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints what the Go tool chain recorded about this binary.
func (c *versionCmd) Run(out *output) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this binary was built without module support and does not know its version")
	}
	built := struct {
		Version  string `json:"version"`
		Revision string `json:"revision"`
		Modified bool   `json:"modified"`
		Go       string `json:"go"`
	}{Version: info.Main.Version, Go: info.GoVersion}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			built.Revision = setting.Value
		case "vcs.modified":
			built.Modified = setting.Value == "true"
		}
	}
	if c.JSON {
		return out.json(built)
	}
	line := "countersign " + built.Version
	if built.Revision != "" {
		line += ", revision " + built.Revision
	}
	if built.Modified {
		line += " with local changes"
	}
	_, err := fmt.Fprintf(out.Out, "%s, %s\n", line, built.Go)
	return err
}

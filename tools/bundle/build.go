// This file owns what is built from what: the app, its worker, and the page and manifest around them.

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/evanw/esbuild/pkg/api"
)

// tree is the output: slash-separated paths below dist, which are also the paths in URLs.
type tree map[string][]byte

// licences names the licences of others' work inside the bundle, in order.
var licences = []struct{ what, file string }{
	{"Preact", "vendor/preact/LICENSE"},
	{"Atkinson Hyperlegible Next", "shared/fonts/LICENSE"},
}

// icons are copied as they are; their names carry a hash of their content.
var icons = []string{
	"shared/favicon.svg",
	"shared/icons/badge-96.png",
	"shared/icons/icon-180.png",
	"shared/icons/icon-192.png",
	"shared/icons/icon-512.png",
	"shared/icons/icon-maskable-512.png",
}

// build returns every file of dist. root is the ui folder.
func build(root string) (tree, error) {
	out := tree{}
	// assets leads from the name of a source to the path under which it is served.
	assets := map[string]string{}
	if err := addApp(root, out, assets); err != nil {
		return nil, err
	}
	for _, icon := range icons {
		data, err := os.ReadFile(filepath.Join(root, icon))
		if err != nil {
			return nil, err
		}
		ext := path.Ext(icon)
		name := fmt.Sprintf("assets/%s-%s%s", strings.TrimSuffix(path.Base(icon), ext), digest(data), ext)
		out[name] = data
		assets[path.Base(icon)] = "/" + name
	}
	for _, page := range []string{"index.html", "manifest.json"} {
		data, err := fill(filepath.Join(root, "authenticator", page), assets)
		if err != nil {
			return nil, err
		}
		out[page] = data
	}
	if err := addLicences(root, out); err != nil {
		return nil, err
	}
	return out, addWorker(root, out)
}

// options are what every bundle has in common.
func options(root string) api.BuildOptions {
	preact := filepath.Join(root, "vendor", "preact")
	return api.BuildOptions{
		AbsWorkingDir: root,
		Bundle:        true,
		Format:        api.FormatESModule,
		Platform:      api.PlatformBrowser,
		Target:        api.ES2022,
		Charset:       api.CharsetUTF8,
		// The type checker's own settings name the vendored type declarations, the bundler the modules.
		TsconfigRaw: `{"compilerOptions":{"jsx":"react-jsx","jsxImportSource":"preact","verbatimModuleSyntax":true}}`,
		Alias: map[string]string{
			"preact":             filepath.Join(preact, "dist/preact.mjs"),
			"preact/hooks":       filepath.Join(preact, "hooks/dist/hooks.mjs"),
			"preact/jsx-runtime": filepath.Join(preact, "jsx-runtime/dist/jsxRuntime.mjs"),
		},
		LogLevel: api.LogLevelSilent,
	}
}

// minified adds to options what makes a bundle small.
func minified(o api.BuildOptions) api.BuildOptions {
	o.MinifyWhitespace, o.MinifyIdentifiers, o.MinifySyntax = true, true, true
	o.LegalComments = api.LegalCommentsNone
	return o
}

// addApp bundles the script and the style sheet, and the fonts that the style sheet names.
func addApp(root string, out tree, assets map[string]string) error {
	o := minified(options(root))
	o.EntryPoints = []string{"authenticator/app.tsx"}
	o.EntryNames = "assets/[name]-[hash]"
	o.AssetNames = "assets/[name]-[hash]"
	o.Loader = map[string]api.Loader{".woff2": api.LoaderFile, ".svg": api.LoaderFile}
	o.PublicPath = "/"
	o.Outdir = filepath.Join(root, "authenticator", "dist")
	o.Banner = map[string]string{"js": "/* Contains Preact (MIT): /assets/licenses.txt */"}
	result := api.Build(o)
	if err := failure(result.Errors, result.Warnings); err != nil {
		return err
	}
	for _, file := range result.OutputFiles {
		name, err := filepath.Rel(o.Outdir, file.Path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		out[name] = file.Contents
		base := path.Base(name)
		source := base[:strings.LastIndex(base, "-")] + path.Ext(base)
		assets[source] = "/" + name
	}
	return nil
}

// addWorker bundles the service worker. It names every other file, and its version changes with any.
func addWorker(root string, out tree) error {
	shell := []string{"/"}
	version := sha256.New()
	for _, name := range sortedNames(out) {
		fmt.Fprintf(version, "%s %x\n", name, sha256.Sum256(out[name]))
		if name != "index.html" && name != "assets/licenses.txt" {
			shell = append(shell, "/"+name)
		}
	}
	list, err := json.Marshal(shell)
	if err != nil {
		return err
	}
	o := minified(options(root))
	o.EntryPoints = []string{"authenticator/sw.ts"}
	o.Format = api.FormatIIFE // a worker is a classic script
	o.Define = map[string]string{
		"SHELL":   string(list),
		"VERSION": fmt.Sprintf("%q", hex.EncodeToString(version.Sum(nil))[:16]),
	}
	result := api.Build(o)
	if err := failure(result.Errors, result.Warnings); err != nil {
		return err
	}
	out["sw.js"] = result.OutputFiles[0].Contents
	return nil
}

// fill puts the served paths into a page.
func fill(file string, assets map[string]string) ([]byte, error) {
	page, err := template.New(filepath.Base(file)).Funcs(template.FuncMap{
		"asset": func(source string) (string, error) {
			if served, ok := assets[source]; ok {
				return served, nil
			}
			return "", fmt.Errorf("no asset is built from %q", source)
		},
	}).ParseFiles(file)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, nil)
	return out.Bytes(), err
}

func addLicences(root string, out tree) error {
	var text bytes.Buffer
	for _, l := range licences {
		data, err := os.ReadFile(filepath.Join(root, l.file))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%s\n\n%s\n\n", l.what, bytes.TrimSpace(data))
	}
	out["assets/licenses.txt"] = text.Bytes()
	return nil
}

// buildTests bundles each unit test, unminified, as a module that node can run.
func buildTests(root, dir string) error {
	tests, err := filepath.Glob(filepath.Join(root, "authenticator", "test", "*.test.ts"))
	if err != nil {
		return err
	}
	if len(tests) == 0 {
		return errors.New("no tests found")
	}
	out, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	o := options(root)
	o.EntryPoints = tests
	o.Outdir = out
	o.OutExtension = map[string]string{".js": ".mjs"}
	o.External = []string{"node:*"}
	o.Write = true
	result := api.Build(o)
	return failure(result.Errors, result.Warnings)
}

// failure makes one error of the bundler's messages; a warning is one as well.
func failure(errs, warnings []api.Message) error {
	messages := slices.Concat(errs, warnings)
	if len(messages) == 0 {
		return nil
	}
	lines := api.FormatMessages(messages, api.FormatMessagesOptions{Kind: api.ErrorMessage})
	return errors.New(strings.TrimSpace(strings.Join(lines, "\n")))
}

// digest is enough of a SHA-256 to tell versions of one file apart in its name.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:8]
}

package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/web"
)

// This file owns how a page becomes an answer: templates, the files they load, errors and forms.

var (
	errPage   = fault.New(fault.NotFound, "page-unknown", "There is no such page here. It may have belonged to something that was removed, or the address is mistyped.")
	errOrigin = fault.New(fault.Forbidden, "cross-origin", "This form was sent from another site, so nothing was done. Open the page here and try again.")
	errForm   = fault.New(fault.Invalid, "form-invalid", "The form did not arrive as this page sends it. Go back, reload, and try again.")
)

// view is what every template gets. Page is the data of the page's own.
type view struct {
	Title    string
	Nav      string // which part of the navigation this is
	Operator operator.Operator
	Assets   string // where style and script are
	Outbox   bool   // there is one, and this browser may open it
	Page     any
}

// pageNames are the templates beside layout and parts.
var pageNames = []string{
	"signin", "setup", "setup_code", "applications", "new_application", "application", "prove",
	"users", "user", "approvals", "approval", "messages", "callbacks", "webhooks", "audit", "account", "outbox", "error",
}

func parseTemplates(files fs.FS) map[string]*template.Template {
	base := template.Must(template.New("").Funcs(words).ParseFS(files, "layout.html", "parts.html"))
	all := map[string]*template.Template{}
	for _, name := range pageNames {
		all[name] = template.Must(template.Must(base.Clone()).ParseFS(files, name+".html"))
	}
	return all
}

// render answers with a page, whole or not at all.
func (c *console) render(w http.ResponseWriter, status int, name string, v view) error {
	v.Assets, v.Outbox = c.assets.base, c.Outbox != nil
	var page bytes.Buffer
	if err := c.templates[name].ExecuteTemplate(&page, "layout", v); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(page.Bytes()) // fails only when the reader has left
	return nil
}

// tell answers with a page about err.
func (c *console) tell(w http.ResponseWriter, r *http.Request, err error) {
	f := web.FailureOf(r, err)
	f.SetRetryAfter(w)
	v := view{Title: failureTitle(f.Status), Page: f}
	if err := c.render(w, f.Status, "error", v); err != nil {
		http.Error(w, f.Detail, f.Status)
	}
}

func failureTitle(status int) string {
	switch status {
	case http.StatusNotFound:
		return "Nothing here"
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusUnauthorized:
		return "Not signed in"
	case http.StatusTooManyRequests:
		return "Too many requests"
	case http.StatusInternalServerError:
		return "Something broke"
	case http.StatusServiceUnavailable:
		return "Busy"
	}
	return "That did not work"
}

// open is a page for anybody.
func (c *console) open(h web.Handler) http.Handler { return h.Or(c.tell) }

// maxForm bounds what a form sends; the longest fields together have less than a tenth of it.
const maxForm = 16 << 10

// readForm reads a form of the fields named, each at most once and in UTF-8 without control characters.
func readForm(w http.ResponseWriter, r *http.Request, fields ...string) (map[string]string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, errForm
	}
	form := map[string]string{}
	for name, values := range r.PostForm {
		if !slices.Contains(fields, name) || len(values) != 1 || !plain(values[0]) {
			return nil, errForm
		}
		form[name] = values[0]
	}
	return form, nil
}

func plain(s string) bool {
	return strings.ToValidUTF8(s, "") == s && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// assets serves what pages load, under an address that changes with the content.
type assets struct {
	base  string
	files map[string][]byte
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2",
}

func newAssets(all ...fs.FS) *assets {
	a := &assets{files: map[string][]byte{}}
	digest := sha256.New()
	for _, files := range all {
		err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || assetTypes[path.Ext(name)] == "" {
				return err
			}
			if a.files[name] != nil {
				return fmt.Errorf("two files are called %s", name)
			}
			b, err := fs.ReadFile(files, name)
			a.files[name] = b
			fmt.Fprintf(digest, "%s %d ", name, len(b))
			digest.Write(b)
			return err
		})
		if err != nil {
			panic(fmt.Sprintf("console: read embedded files: %v", err))
		}
	}
	a.base = "/assets/" + hex.EncodeToString(digest.Sum(nil)[:8]) + "/"
	return a
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, a.base)
	b, found := a.files[name]
	if !ok || !found {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", assetTypes[path.Ext(name)])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

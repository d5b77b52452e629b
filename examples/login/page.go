// This file owns how pages are made: templates, headers, errors and assets.

package login

import (
	"bytes"
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"time"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

//go:embed page/*.html assets/*.css assets/*.js assets/*.png
var files embed.FS

// templates are our pages, beside the second step's own, which get our look.
func templates() *template.Template {
	return template.Must(secondfactor.Templates().ParseFS(files, "page/*.html"))
}

// view is what a page is given.
type view struct {
	App      string // the name of the bank
	SignedIn bool
	Data     any
}

// trouble is what the page of that name shows.
type trouble struct {
	Title, Text string
	Reference   string // found again in the log, "" when there is nothing to find
}

// render writes a page, or nothing of it if the template fails.
func (a *App) render(w http.ResponseWriter, r *http.Request, code int, name string, data any) {
	var out bytes.Buffer
	err := a.pages.ExecuteTemplate(&out, name, view{App: a.config.Name, SignedIn: a.signedIn(r), Data: data})
	if err != nil {
		a.config.Logger.ErrorContext(r.Context(), "page failed", "page", name, "error", err)
		http.Error(w, "Something went wrong on our side.", http.StatusInternalServerError)
		return
	}
	secondfactor.Headers(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = out.WriteTo(w)
}

// form reads a posted form of bounded size. If it cannot be read it answers the request and returns false.
func (a *App) form(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		a.problem(w, r, http.StatusBadRequest, "The form could not be read.", "")
		return nil, false
	}
	return r.PostForm, true
}

// fail answers an error of our own: neutral outside, whole in the log, found by its reference.
func (a *App) fail(w http.ResponseWriter, r *http.Request, err error) {
	reference := rand.Text()[:8]
	a.config.Logger.ErrorContext(r.Context(), "request failed", "reference", reference, "method", r.Method, "path", r.URL.Path, "error", err)
	a.problem(w, r, http.StatusInternalServerError, "Something went wrong on our side. Nothing was changed.", reference)
}

func (a *App) problem(w http.ResponseWriter, r *http.Request, code int, text, reference string) {
	a.render(w, r, code, "trouble", trouble{"Not done", text, reference})
}

func (a *App) notFound(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusNotFound, "trouble", trouble{Title: "Nothing here", Text: "There is no page at this address."})
}

// warn logs what the provider refused: its code, never its words, which may name a phone number.
func (a *App) warn(r *http.Request, what string, u user, err error) {
	text := "no answer"
	code := ""
	if e, ok := errors.AsType[*client.Error](err); ok {
		text, code = "refused", e.Code
	}
	a.config.Logger.LogAttrs(r.Context(), slog.LevelWarn, what, slog.String("user", u.ID), slog.String("provider", text), slog.String("code", code))
}

// serveAsset serves style, scripts and the logo, which the provider fetches as well.
func (a *App) serveAsset(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.PathValue("name"))
	data, err := files.ReadFile("assets/" + name)
	if err != nil {
		a.notFound(w, r)
		return
	}
	secondfactor.Headers(w.Header())
	w.Header().Set("Cache-Control", "public, max-age=300")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}

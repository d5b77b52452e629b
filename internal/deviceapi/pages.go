package deviceapi

import (
	"io/fs"
	"net/http"
	"strconv"
	"strings"
)

// This file owns the pages: one app for all of them, its assets, and what is nowhere.

const (
	revalidate = "no-cache"
	immutable  = "public, max-age=31536000, immutable"
)

// page answers with the app, which reads the address itself.
func (s *surface) page(w http.ResponseWriter, r *http.Request) error {
	return s.index(w, http.StatusOK)
}

// noPage answers people with the app, which says that there is nothing here, and programs in a sentence.
func (s *surface) noPage(w http.ResponseWriter, r *http.Request) error {
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html") {
		return s.index(w, http.StatusNotFound)
	}
	return errNoRoute
}

func (s *surface) index(w http.ResponseWriter, status int) error {
	body, err := fs.ReadFile(s.App, "index.html")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", revalidate)
	w.WriteHeader(status)
	w.Write(body) // fails only when the caller has left
	return nil
}

// asset answers with a file that has a hash in its name.
func (s *surface) asset(w http.ResponseWriter, r *http.Request) error {
	return s.file(w, r, s.App, "assets/"+r.PathValue("file"), immutable)
}

func (s *surface) shared(w http.ResponseWriter, r *http.Request) error {
	if s.Shared == nil {
		return s.noPage(w, r)
	}
	return s.file(w, r, s.Shared, r.PathValue("file"), revalidate)
}

// rest answers what no route is for: the app's files that must be at the root (the service worker, the manifest), and nothing.
func (s *surface) rest(w http.ResponseWriter, r *http.Request) error {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if r.Method != http.MethodGet && r.Method != http.MethodHead || strings.Contains(name, "/") {
		return s.noPage(w, r)
	}
	return s.file(w, r, s.App, name, revalidate)
}

func (s *surface) file(w http.ResponseWriter, r *http.Request, from fs.FS, name, caching string) error {
	info, err := fs.Stat(from, name) // an fs.FS takes no name that leads out of it
	if err != nil || !info.Mode().IsRegular() {
		return s.noPage(w, r)
	}
	w.Header().Set("Cache-Control", caching)
	http.ServeFileFS(w, r, from, name)
	return nil
}

// This file owns the console as a script uses it: links and forms, without a browser.

package e2e

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// console is an operator who is signed in.
type console struct {
	d    *dev
	http *http.Client
}

// console signs in by the link that `dev` prints.
func (d *dev) console() *console {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	c := &console{d, &http.Client{Jar: jar}}
	c.get(d.ConsoleLoginURL)
	return c
}

// get returns a page. address is absolute, or a path of the console.
func (c *console) get(address string) string {
	c.d.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = c.d.ConsoleURL + address
	}
	answer, err := c.http.Get(address)
	return c.page("GET", address, answer, err)
}

// post sends a form and returns the page that it leads to.
func (c *console) post(path string, form url.Values) string {
	c.d.t.Helper()
	answer, err := c.http.PostForm(c.d.ConsoleURL+path, form)
	return c.page("POST", path, answer, err)
}

func (c *console) page(method, address string, answer *http.Response, err error) string {
	c.d.t.Helper()
	if err != nil {
		c.d.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		c.d.t.Fatalf("%s %s: %s %v\n%s", method, address, answer.Status, err, text)
	}
	return html.UnescapeString(string(text))
}

var (
	applicationLink = regexp.MustCompile(`href="/applications/([0-9a-f]{24})"`)
	shownKey        = regexp.MustCompile(`id="api-key">([0-9A-Za-z]{32})<`)
	tags            = regexp.MustCompile(`<[^>]*>|\s+`)
)

// plain is a page without its markup, for looking for a sentence.
func plain(page string) string {
	return strings.Join(strings.Fields(tags.ReplaceAllString(page, " ")), " ")
}

// application is one that the console knows.
type application struct{ id, key string }

// newApplication creates one with the settings for old integrations, as a developer would.
func (c *console) newApplication(name string) application {
	c.d.t.Helper()
	page := c.post("/applications", url.Values{"name": {name}, "defaults": {"drop-in"}, "countries": {"*"}})
	id, key := applicationLink.FindStringSubmatch(page), shownKey.FindStringSubmatch(page)
	if id == nil || key == nil {
		c.d.t.Fatalf("no id or no key on the page of a new application:\n%s", page)
	}
	return application{id[1], key[1]}
}

// setCallback enters a callback address.
func (c *console) setCallback(app application, address string) {
	c.d.t.Helper()
	page := c.post(fmt.Sprintf("/applications/%s/callback", app.id), url.Values{"url": {address}})
	if !strings.Contains(page, "The callback address is saved.") {
		c.d.t.Fatalf("the console did not save the callback:\n%s", plain(page))
	}
}

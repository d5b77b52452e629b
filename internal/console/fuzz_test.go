package console

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzForms sends anything to every form, signed in and not: no answer is an internal error.
func FuzzForms(f *testing.F) {
	fix := newFixture(f)
	app := fix.App(f, "Fuzzed")
	b := fix.dev(f)
	var paths []string
	for _, r := range fix.console.routes() {
		if r.method == "POST" && r.path != "/signout" {
			paths = append(paths, at(r.path, app.ID, noUUID))
		}
	}
	for i := range paths {
		for _, body := range []string{
			"", "name=Shop&defaults=new", "url=https%3A%2F%2Fexample.com%2F", "url=%00", "mode=type&digits=3", "mode=type&digits=99999999999999999999",
			"email=a%40example.com&password=correct+horse+battery&code=123456&next=%2F", "link=x&email=a%40example.com&password=correct+horse+battery",
			"sealed=AAAA&code=000000", "name=%ff%fe&defaults=drop-in", "name=a&name=b", "%", "off=yes", "password=a&code=b", "=&=&=", "name=%e2%80%ae%e2%80%8b&defaults=new",
		} {
			f.Add(i, body, i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, i int, body string, known bool) {
		path := paths[((i%len(paths))+len(paths))%len(paths)]
		from := fix.browser()
		if known {
			from = b
		}
		fix.Clock.Advance(1_000_000_000) // the limit of the address is not what is tested here
		if known && from.send(t, "GET", "/", nil).StatusCode != 200 {
			b = fix.dev(t)
			from = b
		}
		r := httptest.NewRequest("POST", publicURL+path, io.NopCloser(strings.NewReader(body)))
		if a := from.do(t, r, true); a.StatusCode >= 500 {
			t.Errorf("POST %s %q answers %d: %s\n%s", path, body, a.StatusCode, a.text(), fix.logged)
		}
		fix.logged.Reset()
	})
}

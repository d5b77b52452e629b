// This file fuzzes the whole surface: a real handler over a real store.

package authyapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzHandler: any request gets an answer in the contract's shape, never an internal error, never a redirect.
func FuzzHandler(f *testing.F) {
	s := newSite(f, roomy)
	s.Phone(f, s.app, s.ana)
	uuid := s.Ask(f, s.app, s.ana, "Log in?").UUID
	s.Live.Close() // a long poll answers at once
	id := fmt.Sprint(s.ana.AuthyID)
	for _, rt := range everyRoute {
		path := filled(rt.path, "ID", "UUID", "123456")
		f.Add(rt.method, path, "wait=1&force=true", formType, "message=m&details[a]=b&logos[][res]=default&logos[][url]=https://x.example", "")
		f.Add(rt.method, "/"+path+"/", "user[email]=a@example.com&user[cellphone]=2025550199", jsonType, `{"message":"m","hidden_details":{"a":1},"seconds_to_expire":"60"}`, "k")
	}
	f.Add("GET", "/protected/json/users/delete/ID", "api_key=", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a[b]\"\r\n\r\nc\r\n--x--\r\n", "")
	f.Add("HEAD", "/", "", "", "\xef\xbb\xbf{}", "")
	f.Add("CONNECT", "*", "%", "text/plain", "a=\x00", "\xff")
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body, idempotency string) {
		u, err := url.ParseRequestURI(strings.NewReplacer("UUID", uuid, "ID", id).Replace(path))
		if err != nil {
			return
		}
		u.RawQuery = query
		r := request("GET", "/", contentType, body)
		r.Method, r.URL = method, u
		s.authorize(r, body)
		r.Header.Set("Idempotency-Key", idempotency)
		a := s.serve(r)
		if a.status >= 500 && a.status != http.StatusServiceUnavailable || a.status < 200 || a.status >= 300 && a.status < 400 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if !json.Valid([]byte(a.body)) {
			t.Errorf("not JSON: %d %s", a.status, a.body)
		}
		a.wellFormed(t)
	})
}

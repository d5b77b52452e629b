// This file tests that an application sees only itself (INV-11, T-31): every route, every foreign identifier, the same answer as for none.

package authyapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// neighbour is a second application in the same deployment, with a user who has a phone, a code and an approval.
type neighbour struct {
	app   tenant.Application
	key   string
	user  tenant.User
	phone *servertest.Phone
	asked approval.Approval
	hook  webhook.Webhook
}

func newNeighbour(t *testing.T, s *site) neighbour {
	t.Helper()
	n := neighbour{app: s.App(t, "Shop", roomy)}
	n.key = s.Key(t, n.app)
	n.user = s.User(t, n.app, "bob@example.com", "202-555-0188")
	n.phone = s.Phone(t, n.app, n.user)
	n.asked = s.Ask(t, n.app, n.user, "Buy?", func(r *approval.Request) { r.IdempotencyKey = "theirs" })
	var err error
	if n.hook, err = s.Webhooks.Create(t.Context(), n.app, "theirs", "https://shop.example/hook", []string{"user_added"}, "operator:test"); err != nil {
		t.Fatal(err)
	}
	return n
}

// identifiers are what an application may know of another one, by the placeholder of a route that takes it.
func (n neighbour) identifiers(s *site) map[string][]string {
	user, grant := fmt.Sprint(n.user.AuthyID), fmt.Sprint(n.phone.Grants[0].ID)
	return map[string][]string{
		"{id}":      {user, grant, n.user.ID, n.app.ID, fmt.Sprint(n.app.Serial)},
		"{uuid}":    {n.asked.UUID, n.asked.ID, n.user.ID, n.app.ID},
		"{token}":   {s.appCode(n.phone)},
		"{device}":  {grant, user, n.phone.Device.ID},
		"{webhook}": {n.hook.ID, n.app.ID},
	}
}

// unknown are identifiers of the same kinds that nobody has.
var unknown = map[string]string{"{id}": "2147483000", "{uuid}": "66666666-7777-4888-9999-000000000000", "{token}": "9999999", "{device}": "2147483001", "{webhook}": "WH_66666666-7777-4888-9999-000000000000"}

func TestForeignIdentifiersAreUnknown(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	n := newNeighbour(t, s)
	own := map[string]string{"{id}": fmt.Sprint(s.ana.AuthyID)}
	tried := 0
	for _, rt := range everyRoute {
		for placeholder, foreign := range n.identifiers(s) {
			if !strings.Contains(rt.path, placeholder) {
				continue
			}
			for _, id := range foreign {
				for _, body := range []string{"", "message=m&force=true&action=x&wait=0"} {
					got := s.ask(rt.method, fill(rt.path, placeholder, id, own), formType, body)
					none := s.ask(rt.method, fill(rt.path, placeholder, unknown[placeholder], own), formType, body)
					tried++
					if got.status == http.StatusOK {
						t.Errorf("%s %s with %s: %d %s", rt.method, rt.path, id, got.status, got.body)
					}
					if g, w := strings.ReplaceAll(got.body, id, "?"), strings.ReplaceAll(none.body, unknown[placeholder], "?"); got.status != none.status || g != w {
						t.Errorf("%s %s with %s\ngot  %d %s\nwant %d %s", rt.method, rt.path, id, got.status, g, none.status, w)
					}
					for name := range none.header {
						if name != "Content-Length" && got.header.Get(name) != none.header.Get(name) || len(got.header) != len(none.header) {
							t.Errorf("%s %s with %s: headers %v, want %v", rt.method, rt.path, id, got.header, none.header)
						}
					}
				}
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d combinations: the routes have other placeholders now", tried)
	}
	n.isUntouched(t, s)
}

// fill puts id in the place of one placeholder, and the application's own, or an unknown, in the others.
func fill(path, placeholder, id string, own map[string]string) string {
	path = strings.ReplaceAll(strings.ReplaceAll(path, "{format}", "json"), placeholder, id)
	for other, value := range unknown {
		if mine, ok := own[other]; ok {
			value = mine
		}
		path = strings.ReplaceAll(path, other, value)
	}
	return path
}

// isUntouched holds the neighbour to what it was: still there, asked and undecided, its code unspent, no message sent, no try counted.
func (n neighbour) isUntouched(t *testing.T, s *site) {
	t.Helper()
	if a, err := s.Approvals.Get(t.Context(), n.app.ID, n.asked.UUID); err != nil || a.Status != approval.Pending {
		t.Errorf("their approval is %s, %v", a.Status, err)
	}
	made, err := s.Store.ListedApprovals(t.Context(), n.app.ID, 10)
	if err != nil || len(made) != 1 {
		t.Errorf("they have %d approvals, %v", len(made), err)
	}
	if hooks, err := s.Webhooks.List(t.Context(), n.app); err != nil || len(hooks) != 1 {
		t.Errorf("they have the webhooks %v, %v", hooks, err)
	}
	if sent := s.Outbox(t, n.user.Phone); len(sent) != 0 {
		t.Errorf("their user was sent %v", sent)
	}
	theirs := request("GET", fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(n.phone), n.user.AuthyID), "", "")
	theirs.Header.Set("X-Authy-API-Key", n.key)
	if a := s.serve(theirs); a.status != http.StatusOK {
		t.Errorf("their code: %d %s", a.status, a.body)
	}
}

// The same phone in two applications is two users, and adding one tells nothing about the other (T-31).
func TestTheSamePhoneNextDoor(t *testing.T) {
	s := newSite(t)
	n := newNeighbour(t, s)
	add := func(email, phone string) answer {
		return s.post("/protected/json/users/new", "user[email]="+email+"&user[cellphone]="+phone)
	}
	known, fresh := add("bob%40example.com", "202-555-0188"), add("eve%40example.com", "202-555-0199")
	if g, w := digits.ReplaceAllString(known.body, "?"), digits.ReplaceAllString(fresh.body, "?"); g != w || known.status != fresh.status {
		t.Errorf("known next door: %s, new: %s", known.body, fresh.body)
	}
	id := int64(known.at(t, "user", "id").(float64))
	if id == n.user.AuthyID {
		t.Error("the id next door is the same")
	}
	a := s.get(fmt.Sprintf("/protected/json/users/%d/status", id))
	if a.at(t, "status", "registered") != false || a.at(t, "status", "confirmed") != false || fmt.Sprint(a.at(t, "status", "devices")) != "[]" {
		t.Errorf("learned from next door: %s", a.body)
	}
	s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", id), "message=m").refused(t, 400, "60050", approval.ErrNoDevice.Detail)
	s.get(fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(n.phone), id)).refused(t, 401, "60020", "Token is invalid")
	s.post(fmt.Sprintf("/protected/json/users/%d/remove", id), "")
	n.isUntouched(t, s)
}

// An Idempotency-Key is its application's own.
func TestIdempotencyKeyNextDoor(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	n := newNeighbour(t, s)
	a := s.create(s.ana, "theirs", "message=Buy%3F")
	if uuid := a.uuid(t); uuid == n.asked.UUID {
		t.Error("their key gave their approval")
	}
	n.isUntouched(t, s)
}

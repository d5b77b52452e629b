// This file proves the dashboard's webhooks and registration by token from end to end. The integrator's half is Node's crypto, which shares nothing with ours.

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign.dev/client"
)

var madeAccess = regexp.MustCompile(`id="(access-key|api-signing-key)">([^<]+)<`)

// eventReceiver takes in the tokens that a webhook is sent.
func eventReceiver(t *testing.T) (address string, tokens chan string) {
	t.Helper()
	tokens = make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var sent struct{ Body string }
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s of no event: %v", r.Method, err)
		}
		tokens <- sent.Body
	}))
	t.Cleanup(server.Close)
	return server.URL + "/events", tokens
}

// nextEvent waits for the next event and checks its signature.
func (l *library) nextEvent(tokens chan string, key string) map[string]any {
	l.t.Helper()
	select {
	case token := <-tokens:
		if answer := l.call("claims", token, key+"x"); at(answer.Error, "message") != "bad signature" {
			l.t.Errorf("another key verifies it: %v", answer)
		}
		return l.good("claims", token, key)
	case <-time.After(waitWithin):
		l.t.Fatal("no event came")
		return nil
	}
}

func TestDashboardWebhooks(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	operator := d.console()
	app := operator.newApplication("Example Bank")
	made := map[string]string{}
	for _, half := range madeAccess.FindAllStringSubmatch(operator.post("/applications/"+app.id+"/access-keys", nil), -1) {
		made[half[1]] = half[2]
	}
	if len(made) != 2 {
		t.Fatal("the console made no access key")
	}
	node := startLibrary(t, d, "dashboard", app.key)
	signing := made["api-signing-key"]
	who := [][2]string{{"app_api_key", app.key}, {"access_key", made["access-key"]}}
	const hooks = "/dashboard/json/application/webhooks"
	address, tokens := eventReceiver(t)
	create := append(slices.Clone(who), [][2]string{{"name", "first & only"}, {"url", address}, {"events[]", "user_registration_completed"}, {"events[]", "user_added"}}...)

	// What is not signed by the key, was changed, or is an hour old makes nothing.
	node.bad("60087", "request", "POST", hooks, create, signing+"x")
	node.bad("60087", "request", "POST", hooks, create, signing, map[string]any{"forged": [][2]string{{"events[]", "user_removed"}}})
	node.bad("60087", "request", "POST", hooks, create, signing, map[string]any{"nonce": strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)})
	if got := node.good("request", "GET", hooks, who, signing); len(got["webhooks"].([]any)) != 0 {
		t.Fatalf("webhooks: %v", got)
	}

	hook := node.good("request", "POST", hooks, create, signing)["webhook"]
	id, key := fmt.Sprint(at(hook, "id")), fmt.Sprint(at(hook, "signing_key"))
	if !strings.HasPrefix(id, "WH_") || !strings.HasPrefix(key, "WSK_") || at(hook, "name") != "first & only" || at(hook, "url") != address {
		t.Errorf("the webhook is %v", hook)
	}
	if got := node.good("request", "GET", hooks, who, signing)["webhooks"].([]any); len(got) != 1 || at(got[0], "id") != id {
		t.Errorf("the list is %v", got)
	}

	// Registration by token: the link of a token that the application signed makes the user and adds the device.
	c := d.client(app.key)
	u := d.addUser(c)
	added := node.nextEvent(tokens, key)
	if added["event"] != "user_added" || at(added, "objects", "user", "authy_id") != float64(u.id) || at(added, "objects", "app", "id") != app.id {
		t.Errorf("told of %v", added)
	}
	claims := map[string]any{"iss": "Example", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "context": map[string]any{"custom_user_id": "emp-4711", "authy_app_id": app.id}}
	forged := node.good("token", claims, app.key[1:]+"x")["token"].(string)
	if to := visit(t, d.AuthenticatorURL+"/register?token="+url.QueryEscape(forged), nil); strings.Contains(to, "#") {
		t.Errorf("a forged token leads to a ticket: %s", to)
	}
	token := node.good("token", claims, app.key)["token"].(string)
	_, ticket, found := strings.Cut(visit(t, d.AuthenticatorURL+"/register?token="+url.QueryEscape(token), nil), "#")
	if !found {
		t.Fatal("the token leads to no ticket")
	}
	phone := d.newPhone()
	if _, err := phone.RedeemTicket(t.Context(), ticket, "test phone"); err != nil {
		t.Fatal(err)
	}
	registered := registration(t, d, app, "emp-4711")
	// In no promised order.
	told := map[any]any{}
	for range 2 {
		e := node.nextEvent(tokens, key)
		told[e["event"]] = at(e, "objects", "user", "authy_id")
	}
	if registered.Status != "completed" || told["user_added"] != float64(registered.AuthyID) || told["user_registration_completed"] != float64(registered.AuthyID) {
		t.Errorf("registered %+v, told of %v", registered, told)
	}
	if _, err := c.VerifyCode(t.Context(), registered.AuthyID, phone.code(""), client.CodeOptions{}); err != nil {
		t.Errorf("the code of the device: %v", err)
	}

	node.bad("60087", "request", "DELETE", hooks+"/"+id, who, signing+"x")
	node.good("request", "DELETE", hooks+"/"+id, who, signing)
	node.bad("60100", "request", "DELETE", hooks+"/"+id, who, signing)
	if got := node.good("request", "GET", hooks, who, signing); len(got["webhooks"].([]any)) != 0 {
		t.Errorf("webhooks: %v", got)
	}
}

type registrationStatus struct {
	AuthyID int64 `json:"authy_id"`
	Status  string
}

// registration asks who a registered name is.
func registration(t *testing.T, d *dev, app application, name string) registrationStatus {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.APIURL+"/protected/json/registrations/status?custom_user_id="+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Authy-API-Key", app.key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var told struct{ Registration registrationStatus }
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil || answer.StatusCode != 200 {
		t.Fatal(answer.Status, err)
	}
	return told.Registration
}

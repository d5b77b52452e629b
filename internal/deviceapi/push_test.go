package deviceapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/notify/pushtest"
)

type pushState struct {
	Enabled      bool
	Key          string
	EndpointHash string `json:"endpoint_hash"`
}

func (p *phone) push(t testing.TB) (s pushState) {
	t.Helper()
	p.do(t, "GET", "push", nil).into(t, 200, &s)
	return s
}

// subscription returns the body that subscribes the phone at endpoint.
func (p *phone) subscription(t testing.TB, endpoint string) map[string]string {
	t.Helper()
	browser, enc := pushtest.NewBrowser(), base64.RawURLEncoding
	return map[string]string{
		"endpoint": endpoint, "p256dh": enc.EncodeToString(browser.P256dh()), "auth": enc.EncodeToString(browser.Auth), "key": p.push(t).Key,
	}
}

// A device has one subscription, which it can read the hash of, replace and take back; its requests are pushed from then on.
func TestPushSubscription(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	state := p.push(t)
	if point, err := base64.RawURLEncoding.DecodeString(state.Key); err != nil || len(point) != 65 || !state.Enabled || state.EndpointHash != "" {
		t.Errorf("%+v", state)
	}
	b.Ask(t, b.shop, b.ana, "Log in?")
	if jobs := b.Jobs.Offered(job.Push); len(jobs) != 0 {
		t.Errorf("pushes without a subscription: %+v", jobs)
	}
	for _, endpoint := range []string{"https://fcm.googleapis.com/fcm/send/1", "https://fcm.googleapis.com/fcm/send/2"} {
		b.Clock.Advance(time.Second)
		p.do(t, "PUT", "push", p.subscription(t, endpoint)).want(t, 204, "")
		sum := sha256.Sum256([]byte(endpoint))
		if got := p.push(t); got.EndpointHash != base64.RawURLEncoding.EncodeToString(sum[:]) {
			t.Errorf("hash %q", got.EndpointHash)
		}
	}
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	jobs := b.Jobs.Offered(job.Push)
	if len(jobs) != 1 || jobs[0].Ref != asked.UUID || string(jobs[0].Payload) != p.device || jobs[0].AppID != b.shop.ID {
		t.Errorf("pushes %+v", jobs)
	}
	b.Clock.Advance(time.Second)
	for range 2 {
		p.do(t, "DELETE", "push", nil).want(t, 204, "")
	}
	if got := p.push(t); got.EndpointHash != "" {
		t.Errorf("after taking it back: %+v", got)
	}
	var told []string
	records, err := b.Store.Audit(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if strings.HasPrefix(r.Action, "push.") && r.Actor == "device:"+p.device {
			told = append(told, r.Action)
		}
	}
	if got := strings.Join(told, " "); got != "push.unsubscribed push.subscribed push.subscribed" {
		t.Errorf("audit: %s", got)
	}
}

func TestPushSubscriptionRefused(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	good := func() map[string]string { return p.subscription(t, "https://fcm.googleapis.com/fcm/send/1") }
	for name, c := range map[string]struct {
		change  map[string]string
		status  int
		problem string
	}{
		"another host":     {map[string]string{"endpoint": "https://evil.example/1"}, 400, "push-host"},
		"a metadata host":  {map[string]string{"endpoint": "https://169.254.169.254/1"}, 400, "push-host"},
		"plain http":       {map[string]string{"endpoint": "http://fcm.googleapis.com/1"}, 400, "invalid"},
		"another's key":    {map[string]string{"key": strings.Repeat("A", 87)}, 409, "push-key"},
		"a bad point":      {map[string]string{"p256dh": strings.Repeat("A", 87)}, 400, "invalid"},
		"a short secret":   {map[string]string{"auth": "AAAA"}, 400, "invalid"},
		"an unknown field": {map[string]string{"expiration": "1"}, 400, "invalid"},
	} {
		body := good()
		for k, v := range c.change {
			body[k] = v
		}
		if r := p.do(t, "PUT", "push", body); r.StatusCode != c.status || r.problem() != c.problem {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
	b.Push.Off = true
	if got := p.push(t); got.Enabled || got.Key != "" {
		t.Errorf("switched off: %+v", got)
	}
	p.do(t, "PUT", "push", good()).want(t, 409, "push-off")
}

// The subscription goes with the device's last account, and not before.
func TestPushSubscriptionGoesWithTheDevice(t *testing.T) {
	b := newBench(t)
	bank := b.App(t, "Bank")
	p := b.enrolled(t, b.shop, b.ana)
	p.confirm(t, map[string]any{"ticket": b.ticket(t, bank, b.User(t, bank, "ana@example.com", "202-555-0123"))}).want(t, 201, "")
	p.do(t, "PUT", "push", p.subscription(t, "https://fcm.googleapis.com/fcm/send/1")).want(t, 204, "")
	for i, want := range []bool{true, false} {
		p.do(t, "DELETE", "grants/"+id(p.grants[i]), nil).want(t, 204, "")
		if _, kept, err := b.Store.Subscription(t.Context(), p.device); err != nil || kept != want {
			t.Errorf("after removing %d accounts: kept %v, %v", i+1, kept, err)
		}
	}
}

// Reading the list is what tells that a device knows; asking for one request is not, because the worker does that for what it shows.
func TestListIsFetched(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	p.do(t, "PUT", "push", p.subscription(t, "https://fcm.googleapis.com/fcm/send/1")).want(t, 204, "")
	p.approvals(t)
	b.Clock.Advance(time.Second)
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	fetched := func() bool {
		d, err := b.Store.PushDelivery(t.Context(), asked.UUID, p.device, b.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return d.FetchedAt.After(d.CreatedAt)
	}
	b.Clock.Advance(time.Second)
	if p.approval(t, asked.UUID); fetched() {
		t.Error("a single look counts as reading the list")
	}
	if p.approvals(t); !fetched() {
		t.Error("reading the list does not count")
	}
}

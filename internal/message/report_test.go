// This file tests what gateways tell when they are asked, on the wire and over the time that they are asked for.

package message_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
)

// asks is what a gateway that tells can do beside others.
type asks interface {
	Ask(ctx context.Context, c otp.Channel, ref string) (message.Status, string, error)
}

// told is one answer to a question and what is made of it.
type told struct {
	status int
	body   string
	became message.Status
	reason string
	never  bool // it is an error, after which nobody asks again
}

func (w told) check(t *testing.T, r *receiver, g message.Gateway, c otp.Channel) {
	t.Helper()
	r.answer(w.status, w.body)
	became, reason, err := g.(asks).Ask(t.Context(), c, "SM/1")
	failure, failed := errors.AsType[*message.Failure](err)
	if became != w.became || reason != w.reason || failed != (w.became == "") || failed && failure.Refused != w.never {
		t.Errorf("%d %.80s: %q because of %q, %+v", w.status, w.body, became, reason, err)
	}
}

func TestTwilioAsk(t *testing.T) {
	r := newReceiver(t, false)
	g := gateway(t, "twilio+http://AC1:t0ken@"+r.host()+"?from=+12025550100")
	for _, row := range []told{
		{200, `{"sid":"SM1","status":"delivered","error_code":null}`, message.Delivered, "", false},
		{200, `{"sid":"SM1","status":"undelivered","error_code":30003,"error_message":"+12025550123 is unreachable"}`, message.Failed, "undelivered, error 30003", false},
		{200, `{"sid":"SM1","status":"failed","error_code":null}`, message.Failed, "failed", false},
		{200, `{"sid":"SM1","status":"sending"}`, message.Sent, "", false},
		{200, `{"sid":"SM1","status":"a word of tomorrow"}`, message.Sent, "", false},
		{200, `{"sid":"SM1","status":{"delivered":1}}`, message.Sent, "", false},
		{404, `{"code":20404,"message":"no SM1","status":404}`, "", "", true},
		{401, `{"code":20003}`, "", "", true},
		{501, ``, "", "", true},
		{500, ``, "", "", false},
		{429, ``, "", "", false},
		{200, `<html>`, "", "", false},
		{200, strings.Repeat("x", 100_000), "", "", false},
	} {
		row.check(t, r, g, otp.SMS)
	}
	if got := r.last(t); got.method != "GET" || got.path != "/2010-04-01/Accounts/AC1/Messages/SM%2F1.json" || got.header.Get("Authorization") == "" {
		t.Errorf("%+v", got)
	}
	for _, row := range []told{
		{200, `{"sid":"CA1","status":"completed"}`, message.Delivered, "", false},
		{200, `{"sid":"CA1","status":"no-answer"}`, message.Failed, "no-answer", false},
		{200, `{"sid":"CA1","status":"ringing"}`, message.Sent, "", false},
	} {
		row.check(t, r, g, otp.Voice)
	}
	if got := r.last(t); got.path != "/2010-04-01/Accounts/AC1/Calls/SM%2F1.json" {
		t.Errorf("%+v", got)
	}
	r.answer(201, `{"sid":"`+strings.Repeat("S", 201)+`"}`)
	if id, err := g.Send(t.Context(), textMessage); id != "" || err != nil {
		t.Errorf("a long name: %q, %v", id, err)
	}
}

func TestWebhookAsk(t *testing.T) {
	r := newReceiver(t, false)
	g := gateway(t, "webhook+http://"+r.host()+"/hooks?secret="+whsec+"&reports=asked")
	for _, row := range []told{
		{200, `{"status":"delivered"}`, message.Delivered, "", false},
		{200, `{"status":"sent","reason":""}`, message.Sent, "", false},
		{200, `{"status":"failed","reason":"no such\r\nsubscriber \u202e"}`, message.Failed, "no such subscriber", false},
		{200, `{"status":"failed","reason":"` + strings.Repeat("é", 200) + `"}`, message.Failed, strings.Repeat("é", 99) + "…", false},
		{200, `{"status":"queued"}`, "", "", false},
		{200, `{"status":7}`, "", "", false},
		{200, ``, "", "", false},
		{404, ``, "", "", true},
		{422, ``, "", "", true},
		{503, ``, "", "", false},
	} {
		row.check(t, r, g, otp.SMS)
	}
	got := r.last(t)
	verifyWebhook(t, got)
	var body struct {
		Type string
		Data map[string]string
	}
	if err := json.Unmarshal(got.body, &body); err != nil || body.Type != "message.status" || body.Data["id"] != "SM/1" || body.Data["channel"] != "sms" || len(body.Data) != 2 {
		t.Errorf("%s, %v", got.body, err)
	}
	// It is asked by its own name for the message, or else by ours.
	for answer, want := range map[string]string{`{"id":"abc"}`: "abc", ``: textMessage.ID} {
		r.answer(200, answer)
		if id, err := g.Send(t.Context(), textMessage); id != want || err != nil {
			t.Errorf("answered %q: %q, %v", answer, id, err)
		}
	}
	if _, tells := gateway(t, "webhook+http://"+r.host()+"/hooks?secret="+whsec).(asks); tells {
		t.Error("a receiver that nobody said so of is asked")
	}
	if _, err := message.ParseGateway("webhook+http://" + r.host() + "/hooks?secret=" + whsec + "&reports=yes"); err == nil || !strings.Contains(err.Error(), "reports is asked") {
		t.Error(err)
	}
}

// telling is a gateway that answers questions as it is told.
type telling struct {
	scripted
	became message.Status
	err    error
	asked  []time.Duration // how old the message was
	age    func() time.Duration
}

func (g *telling) Ask(_ context.Context, c otp.Channel, ref string) (message.Status, string, error) {
	g.asked = append(g.asked, g.age())
	if c != otp.SMS || !strings.HasPrefix(ref, "ref-") {
		return "", "", errors.New("asked of another message")
	}
	return g.became, "", g.err
}

// A message is asked for until it is known what became of it, ever less often, for a day at most; and no longer than its gateway is set up.
func TestFollow(t *testing.T) {
	for name, row := range map[string]struct {
		became message.Status
		err    error
		until  time.Duration // then it is known
		asked  int
		last   time.Duration // age at the last question
		status message.Status
	}{
		"delivered at once":        {message.Sent, nil, time.Second, 1, 5 * time.Second, message.Delivered},
		"delivered after a minute": {message.Sent, nil, time.Minute, 5, 80 * time.Second, message.Delivered},
		"nothing is ever known":    {message.Sent, nil, 48 * time.Hour, 32, 24*time.Hour + 17*time.Minute, message.Sent},
		"it is away for a minute":  {"", away, time.Minute, 5, 80 * time.Second, message.Delivered},
		"it asks for quiet":        {"", &message.Failure{Reason: "busy", After: 10 * time.Minute}, time.Minute, 2, 12 * time.Minute, message.Delivered},
		"it will never tell":       {"", &message.Failure{Reason: "404", Refused: true}, time.Hour, 1, 5 * time.Second, message.Sent},
	} {
		r := newRig(t)
		g := &telling{scripted: scripted{name: "one"}, became: row.became, err: row.err}
		r.Messages.Gateways[otp.SMS] = []message.Gateway{g}
		r.send(t)
		sent := r.Clock.Now()
		g.age = func() time.Duration { return r.Clock.Now().Sub(sent) }
		for g.age() < 26*time.Hour {
			step := 5 * time.Second
			if g.age() >= 2*time.Minute {
				step = 5 * time.Minute
			}
			if g.age()+step >= row.until {
				g.became, g.err = message.Delivered, nil
			}
			r.again(t, step)
		}
		if len(g.asked) != row.asked || !slices.IsSorted(g.asked) || g.asked[len(g.asked)-1] != row.last || r.newest(t).Status != row.status {
			t.Errorf("%s: asked at %v, %+v", name, g.asked, r.newest(t))
		}
	}
}

// Nobody is asked about what an operator took out of the settings, and a message that another report was faster about is left alone.
func TestFollowEnds(t *testing.T) {
	r := newRig(t)
	g := &telling{scripted: scripted{name: "one"}, became: message.Failed, age: func() time.Duration { return 0 }}
	r.Messages.Gateways[otp.SMS] = []message.Gateway{g}
	r.send(t)
	r.Messages.Gateways[otp.SMS] = []message.Gateway{r.two}
	if n := r.again(t, time.Minute); n != 1 || r.again(t, 24*time.Hour) != 0 {
		t.Errorf("%d jobs", n)
	}
	r.Messages.Gateways[otp.SMS] = []message.Gateway{g}
	j := r.send(t)
	if err := r.Store.KeepReport(t.Context(), message.Report{Gateway: "one", Refs: []string{"ref-" + j.ID}, Status: message.Delivered}, r.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	if n := r.again(t, time.Minute); n != 1 || len(g.asked) != 0 || r.again(t, 24*time.Hour) != 0 {
		t.Errorf("%d jobs, asked %v", n, g.asked)
	}
	r.want(t, "reported by itself", message.Delivered, "one", "", 1)
}

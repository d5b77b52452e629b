// This file tests delivery: the order of gateways, fail-over, health, and that nothing is sent after its time.

package message_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// scripted is a gateway that answers as it is told, and hangs when it is told "hang".
type scripted struct {
	name string

	mu    sync.Mutex
	fail  error
	hangs bool
	got   []message.Message
	tried int
}

func (g *scripted) Name() string                             { return g.name }
func (g *scripted) Check(context.Context) (time.Time, error) { return time.Time{}, nil }

func (g *scripted) Send(ctx context.Context, m message.Message) (string, error) {
	g.mu.Lock()
	g.tried++
	fail, hangs := g.fail, g.hangs
	g.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if fail != nil {
		return "", fail
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got = append(g.got, m)
	return "ref-" + m.ID, nil
}

func (g *scripted) answer(fail error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail, g.hangs = fail, false
}

func (g *scripted) hang() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hangs = true
}

func (g *scripted) counts() (tried, took int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tried, len(g.got)
}

// rig is a server with two gateways for SMS, and somebody to write to.
type rig struct {
	*servertest.Server
	app      tenant.Application
	ana      tenant.User
	one, two *scripted
}

func newRig(t *testing.T) *rig {
	s := servertest.New(t)
	r := &rig{Server: s, app: s.App(t, "Bank"), one: &scripted{name: "one"}, two: &scripted{name: "two"}}
	r.ana = s.User(t, r.app, "ana@example.com", "202-555-0123")
	s.Messages.Gateways = map[otp.Channel][]message.Gateway{otp.SMS: {r.one, r.two}}
	return r
}

// send asks for a code and runs its job once.
func (r *rig) send(t *testing.T) job.Job {
	t.Helper()
	r.Clock.Advance(2*time.Minute + time.Millisecond) // past the limit on sending
	if _, err := r.Codes.Send(t.Context(), r.app, r.ana, otp.Request{Channel: otp.SMS}); err != nil {
		t.Fatal(err)
	}
	all := r.Jobs.Offered(job.Message)
	j := all[len(all)-1]
	r.run(t, j)
	return j
}

func (r *rig) run(t *testing.T, j job.Job) {
	t.Helper()
	handle := r.Messages.Deliver
	if j.Kind == job.Report {
		handle = r.Messages.Follow
	}
	if err := handle(t.Context(), j); err != nil {
		t.Fatal(err)
	}
}

// again runs the jobs that are due after a while, as the runner would, and returns how many there were.
func (r *rig) again(t *testing.T, after time.Duration) int {
	t.Helper()
	r.Clock.Advance(after)
	jobs, err := r.Store.ClaimJobs(t.Context(), r.Clock.Now(), r.Clock.Now().Add(job.Lease), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		r.run(t, j)
	}
	return len(jobs)
}

func (r *rig) newest(t *testing.T) message.Record {
	t.Helper()
	list, err := r.Store.SentMessages(t.Context(), r.app.ID, "", "", 1)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0]
}

// want checks the newest message's record.
func (r *rig) want(t *testing.T, what string, status message.Status, gateway, reason string, tries int) {
	t.Helper()
	m := r.newest(t)
	if m.Status != status || m.Gateway != gateway || !strings.Contains(m.Reason, reason) || reason == "" && m.Reason != "" || m.Tries != tries {
		t.Errorf("%s: %+v, want %s by %q after %d, because of %q", what, m, status, gateway, tries, reason)
	}
}

var away = &message.Failure{Reason: "no connection"}

func TestFirstGatewayThatTakesIt(t *testing.T) {
	r := newRig(t)
	r.send(t)
	r.want(t, "both well", message.Sent, "one", "", 1)
	m := r.one.got[0]
	if m.To != r.ana.Phone || m.Code == "" || m.Left != otp.SentLife {
		t.Errorf("the gateway got %+v", m)
	}
	r.one.answer(away)
	r.send(t)
	r.want(t, "the first away", message.Sent, "two", "", 2)
	r.two.answer(errors.New("an error that is no Failure, with 123456 in it"))
	r.send(t)
	r.want(t, "both away", message.Queued, "two", "no connection", 2)
	r.one.answer(nil)
	if n := r.again(t, 10*time.Second); n != 1 {
		t.Fatalf("%d jobs due", n)
	}
	r.want(t, "the first is back", message.Sent, "one", "", 3)
	if n := r.again(t, time.Hour); n != 0 {
		t.Errorf("%d jobs left", n)
	}
}

// A code that has expired is never sent, however its job comes to run late; and it is tried until then.
func TestNothingIsSentAfterItsTime(t *testing.T) {
	r := newRig(t)
	r.one.answer(away)
	r.two.answer(away)
	j := r.send(t)
	began := r.Clock.Now()
	for r.again(t, time.Second) > 0 || r.Clock.Now().Sub(began) < otp.SentLife {
	}
	m := r.newest(t)
	if m.Status != message.Expired || m.Reason != "no connection" || m.Tries < 8 {
		t.Errorf("%+v", m)
	}
	if lasted := m.UpdatedAt.Sub(m.CreatedAt); lasted < otp.SentLife-time.Minute || lasted > otp.SentLife {
		t.Errorf("it was given up after %v", lasted)
	}
	r.one.answer(nil)
	r.run(t, j) // a copy in some memory
	if _, took := r.one.counts(); took != 0 {
		t.Error("a code was sent after its time")
	}

	late := r.send(t)
	if _, took := r.one.counts(); took != 1 {
		t.Fatal("the gateway does not work")
	}
	r.Clock.Advance(otp.SentLife)
	r.run(t, late)
	if _, took := r.one.counts(); took != 1 {
		t.Error("a code was sent at the end of its time")
	}
}

// What every gateway refuses is over at once, and nobody is left alone for it.
func TestRefusedMessage(t *testing.T) {
	r := newRig(t)
	no := &message.Failure{Reason: "no such number", Refused: true}
	r.one.answer(no)
	r.two.answer(no)
	for range 5 {
		r.send(t)
		r.want(t, "refused", message.Failed, "two", "no such number", 2)
	}
	r.one.answer(nil)
	r.send(t)
	r.want(t, "another message", message.Sent, "one", "", 1)

	r.one.answer(no)
	r.two.answer(away)
	r.send(t)
	r.want(t, "refused by one, the other away", message.Queued, "two", "no connection", 2)
	r.two.answer(nil)
	r.again(t, 10*time.Second)
	r.want(t, "the other is back", message.Sent, "two", "", 4)
}

// A gateway that fails again and again is passed over for a while, longer each time; one message tries whether it is back.
func TestFailingGatewayIsLeftAlone(t *testing.T) {
	r := newRig(t)
	r.one.answer(away)
	states := func() (one message.Condition) { return r.Messages.Conditions()[0] }
	for range 2 {
		r.send(t)
	}
	if c := states(); c.Well() || c.Reason != "no connection" || c.Failed != 2 || c.Resting.Sub(r.Clock.Now()) != 10*time.Second {
		t.Errorf("after two failures: %+v", c)
	}
	hurry := func() { // without the clock moving past the rest
		r.Clock.Advance(time.Millisecond)
		if _, err := r.Codes.Send(t.Context(), r.app, r.ana, otp.Request{Channel: otp.SMS}); err != nil {
			t.Fatal(err)
		}
		all := r.Jobs.Offered(job.Message)
		r.run(t, all[len(all)-1])
	}
	hurry()
	if tried, _ := r.one.counts(); tried != 2 {
		t.Errorf("it was tried %d times", tried)
	}
	r.want(t, "meanwhile", message.Sent, "two", "", 1)
	r.Clock.Advance(10*time.Second - time.Millisecond)
	hurry() // the probe fails
	if c := states(); c.Resting.Sub(r.Clock.Now()) != 20*time.Second {
		t.Errorf("after a third failure: %+v", c)
	}
	for range 20 {
		r.send(t)
		r.Clock.Advance(10 * time.Minute)
	}
	r.send(t)
	if c := states(); c.Resting.Sub(r.Clock.Now()) != time.Minute {
		t.Errorf("after many failures: %+v", c)
	}
	r.one.answer(nil)
	r.send(t)
	r.want(t, "back", message.Sent, "one", "", 1)
	if c := states(); !c.Well() || c.Reason != "" || c.Failed != 0 {
		t.Errorf("when it is back: %+v", c)
	}
}

// A gateway that says when to come back is left alone until then, without being thought ill of.
func TestThrottlingGatewayIsObeyed(t *testing.T) {
	r := newRig(t)
	r.one.answer(&message.Failure{Reason: "HTTP status 429 Too Many Requests", After: 90 * time.Second})
	r.two.answer(away)
	r.send(t)
	r.want(t, "at first", message.Queued, "two", "no connection", 2)
	if c := r.Messages.Conditions()[0]; c.Resting.Sub(r.Clock.Now()) != 90*time.Second || c.Failed != 0 {
		t.Errorf("%+v", c)
	}
	r.two.answer(&message.Failure{Reason: "HTTP status 429 Too Many Requests", After: 90 * time.Second})
	r.again(t, 2*time.Second)
	tried, _ := r.one.counts()
	if n := r.again(t, 80*time.Second); n != 0 {
		t.Errorf("%d jobs ran while every gateway wants quiet", n)
	}
	r.one.answer(nil)
	r.again(t, 10*time.Second)
	if now, took := r.one.counts(); tried != 1 || now != 2 || took != 1 {
		t.Errorf("tried %d times before and %d after its time, took %d", tried, now, took)
	}
}

// A channel without a gateway is refused before a code is made; what was queued before fails at once, and says why.
func TestNoGateway(t *testing.T) {
	r := newRig(t)
	for channel, want := range map[otp.Channel]error{otp.Voice: otp.ErrNoVoice, otp.Email: otp.ErrNoEmail} {
		if _, err := r.Codes.Send(t.Context(), r.app, r.ana, otp.Request{Channel: channel}); !errors.Is(err, want) {
			t.Errorf("by %s: %v", channel, err)
		}
	}
	if _, err := r.Codes.Send(t.Context(), r.app, r.ana, otp.Request{Channel: otp.SMS}); err != nil {
		t.Fatal(err)
	}
	r.Messages.Gateways = nil
	r.run(t, r.Jobs.Offered(job.Message)[0])
	r.want(t, "without gateways", message.Failed, "", "no gateway is set up", 0)
	if _, err := r.Devices.StartPhone(t.Context(), r.ana.Phone); !errors.Is(err, device.ErrNoSMS) {
		t.Errorf("enrolment by number: %v", err)
	}
}

// A gateway that hangs costs its patience once, and others nothing: the API's answer, other applications, and the next message go on.
func TestHangingGatewayHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.one.hang()
		began := time.Now()
		r.send(t)
		if took := time.Since(began); took != message.Patience {
			t.Errorf("the first message took %v", took)
		}
		r.want(t, "after a hang", message.Sent, "two", "", 2)
		began = time.Now()
		if _, err := r.Codes.Send(t.Context(), r.app, r.ana, otp.Request{Channel: otp.SMS}); err != nil || time.Since(began) > 0 {
			t.Errorf("asking took %v, %v", time.Since(began), err)
		}
		all := r.Jobs.Offered(job.Message)
		r.run(t, all[len(all)-1])
		if took := time.Since(began); took != 0 {
			t.Errorf("the second message took %v", took)
		}
		if c := r.Messages.Conditions()[0]; c.Well() || c.Reason != "no answer within 10 seconds" {
			t.Errorf("%+v", c)
		}
	})
}

// While a gateway is being tried whether it is back, all others go on.
// T-30: codes in their last moments, which anybody can ask to have sent again, take no gateway away from the others.
func TestCodeInItsLastMomentsBlamesNoGateway(t *testing.T) {
	r := newRig(t)
	r.one.answer(errors.New("busy"))
	r.two.answer(errors.New("busy"))
	j := r.send(t)
	r.one.hang()
	r.two.hang()
	r.Clock.Advance(otp.SentLife - 20*time.Millisecond)
	r.run(t, j)
	if tried, _ := r.one.counts(); tried != 2 {
		t.Fatalf("tried %d times", tried)
	}
	for _, c := range r.Messages.Conditions() {
		if !c.Well() {
			t.Errorf("%s is left alone: %s", c.Gateway, c.Reason)
		}
	}
}

func TestOneMessageTriesWhetherAGatewayIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.one.hang()
		r.send(t)
		r.Clock.Advance(time.Minute)
		var jobs []job.Job
		for range 4 {
			if _, err := r.Codes.Send(t.Context(), r.app, r.ana, otp.Request{Channel: otp.SMS}); err != nil {
				t.Fatal(err)
			}
		}
		jobs = r.Jobs.Offered(job.Message)[1:]
		began, took := time.Now(), make([]time.Duration, len(jobs))
		var wg sync.WaitGroup
		for i, j := range jobs {
			wg.Go(func() {
				r.run(t, j)
				took[i] = time.Since(began)
			})
		}
		wg.Wait()
		slices.Sort(took)
		if fmt.Sprint(took) != "[0s 0s 0s 10s]" {
			t.Errorf("the messages took %v", took)
		}
	})
}

// A job that is interrupted says nothing about the gateway, and stays.
func TestInterruptedDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.one.hang()
		if _, err := r.Codes.Send(t.Context(), r.app, r.ana, otp.Request{Channel: otp.SMS}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Messages.Deliver(ctx, r.Jobs.Offered(job.Message)[0]); err != nil {
			t.Error(err)
		}
		r.want(t, "interrupted", message.Queued, "", "", 0)
		if c := r.Messages.Conditions()[0]; !c.Well() || c.Failed != 0 {
			t.Errorf("%+v", c)
		}
		r.one.answer(nil)
		if n := r.again(t, job.Lease); n != 1 {
			t.Errorf("%d jobs due when the lease ends", n)
		}
		r.want(t, "once more", message.Sent, "one", "", 1)
	})
}

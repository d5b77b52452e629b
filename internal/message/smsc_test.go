// This file tests the gateway to message centres, from the job to the receipt in the record.

package message_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
	"countersign.dev/internal/message/smpp/smpptest"
	"countersign.dev/internal/otp"
)

// over makes the rig send text messages through one gateway, started.
func (r *rig) over(t *testing.T, address string) {
	t.Helper()
	gateways, err := message.ParseGateways(otp.SMS, []string{address})
	if err != nil {
		t.Fatal(err)
	}
	r.Messages.Gateways = map[otp.Channel][]message.Gateway{otp.SMS: gateways}
	r.Messages.Start()
	t.Cleanup(r.Messages.Close)
}

// A code goes out over TLS, and the receipt becomes its state.
func TestCodeOverSMPP(t *testing.T) {
	r, c := newRig(t), smpptest.New(t)
	secure := newReceiver(t, true) // for its certificate
	address := c.Listen(t, &tls.Config{Certificates: secure.TLS.Certificates})
	r.over(t, "smpps://bank:s3cretpw@"+address+"?from=Bank&ca-file="+secure.authority(t))
	name := "smpps://bank@" + address
	for i, want := range []struct {
		words  string
		status message.Status
		reason string
	}{
		{"id:00 stat:DELIVRD err:000", message.Delivered, ""},
		{"id:01 stat:UNDELIV err:01b", message.Failed, "UNDELIV 01b"},
		{"id:02 stat:ENROUTE err:000", message.Sent, ""},
	} {
		r.send(t)
		s := smpptest.Dissect(t, <-c.Took)
		if s.Destination != "12025550123" || !strings.Contains(string(s.Text), " is your Bank code.") || s.Validity != "000000001000000R" {
			t.Errorf("%+v", s)
		}
		r.want(t, "taken", message.Sent, name, "", 1)
		c.Push(smpptest.Receipt(uint32(i+1), want.words, ""))
		if ack := <-c.Acks; smpptest.Word(ack, 2) != 0 { // it comes when the receipt is kept
			t.Errorf("acknowledged with %x", ack)
		}
		r.want(t, want.words, want.status, name, want.reason, 1)
	}
}

func TestSMPPFailOver(t *testing.T) {
	r, c := newRig(t), smpptest.New(t)
	r.over(t, "smpp://bank:s3cretpw@"+c.Listen(t, nil)+"?from=+12025550100")
	r.Messages.Gateways[otp.SMS] = append(r.Messages.Gateways[otp.SMS], r.two)
	for _, row := range []struct {
		status uint32
		reason string
		rests  time.Duration // from the first failure on
	}{
		{0x58, "ESME_RTHROTTLED", time.Second},
		{0x0b, "ESME_RINVDSTADR", 0},
		{0x45, "ESME_RSUBMITFAIL", 0},
	} {
		c.With(func() { c.Answers = func(int) uint32 { return row.status } })
		r.two.answer(away)
		j := r.send(t)
		if s := smpptest.Dissect(t, <-c.Took); s.Source != "12025550100" || s.SourceTON != 1 || s.SourceNPI != 1 {
			t.Errorf("%+v", s)
		}
		if c := r.Messages.Conditions()[0]; max(0, c.Resting.Sub(r.Clock.Now())) != max(0, row.rests) && row.rests > 0 || !c.Well() && row.rests == 0 || row.status != 0x0b && !strings.Contains(c.Reason, row.reason) {
			t.Errorf("%s: %+v", row.reason, c)
		}
		r.two.answer(nil)
		r.Clock.Advance(time.Minute)
		j.RunAt = r.Clock.Now().Add(job.Lease)
		c.With(func() { c.Answers = nil })
		r.again(t, time.Second)
		if m := r.newest(t); m.Status != message.Sent {
			t.Errorf("%s: %+v", row.reason, m)
		}
		for len(c.Took) > 0 {
			<-c.Took
		}
	}
}

// Wrong credentials are told as such, by the check and by the first message.
func TestSMPPCredentials(t *testing.T) {
	r, c := newRig(t), smpptest.New(t)
	c.BindWith = 0x0e
	address := "smpp://bank:wrong@" + c.Listen(t, nil) + "?from=Bank"
	if _, err := gateway(t, address).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "ESME_RINVPASWD") || !strings.Contains(err.Error(), "password right") {
		t.Error(err)
	}
	r.over(t, address)
	r.send(t)
	if m := r.newest(t); m.Status != message.Queued || !strings.Contains(m.Reason, "ESME_RINVPASWD") || strings.Contains(m.Reason, "wrong") {
		t.Errorf("%+v", m)
	}
}

package message

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
)

// This file owns delivery: gateways in their order, another try while the message is good, and what became of it.

// Status is what became of a message.
type Status string

// States of a message. Delivered is told by gateways that report; with others Sent is the last that is known.
const (
	Queued    Status = "queued"
	Sent      Status = "sent"
	Delivered Status = "delivered"
	Failed    Status = "failed"
	Expired   Status = "expired" // its time was over before a gateway took it
)

// Statuses are all of them, in their order.
var Statuses = []Status{Queued, Sent, Delivered, Failed, Expired}

// Record is what is kept of a message: everything but its text.
type Record struct {
	ID, AppID string
	Channel   otp.Channel
	Address   string // masked
	Status    Status
	Gateway   string // the last that was tried
	Reason    string
	Tries     int
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Changed reports whether anything happened after it was asked for.
func (r Record) Changed() bool { return r.UpdatedAt.After(r.CreatedAt) }

// Outcome is how one run of a message's job ended.
type Outcome struct {
	Status  Status
	Gateway string
	Ref     string // how the gateway calls the message
	Reason  string
	Tries   int // gateways that were tried
	At      time.Time
}

// Report is a gateway's word on what became of a message that it took.
type Report struct {
	Gateway string
	Refs    []string // how the gateway may have called it, the likeliest first
	Status  Status   // Delivered or Failed
	Reason  string
}

// Reasons that no gateway gave.
const (
	noGateway  = "no gateway is set up for this channel"
	allResting = "every gateway is left alone for a while after failures"
)

// sooner bounds the wait before another try of a code: somebody is looking at a screen.
const sooner = 30 * time.Second

// Deliver is the job handler: every gateway that is well is tried in turn, until one takes the message.
func (s *Service) Deliver(ctx context.Context, j job.Job) error {
	m, err := s.open(j)
	if err != nil {
		return err
	}
	out := Outcome{Status: Queued, At: s.Now()}
	refused := true // by all that were tried
	for _, g := range s.Gateways[m.Channel] {
		if m.over(s.Now()) || !s.health.begin(g.Name(), s.Now()) {
			continue
		}
		out.Gateway = g.Name()
		out.Tries++
		ref, err := s.try(ctx, g, m)
		if err == nil {
			out.Status, out.Ref, out.Reason = Sent, ref, ""
			break
		}
		if ctx.Err() != nil {
			return nil // interrupted by shutdown, or its lease is over: whoever claims it next begins again
		}
		failure := asFailure(err)
		out.Reason, refused = failure.Reason, refused && failure.Refused
		s.Log.Warn("gateway did not take a message", "gateway", g.Name(), "message", m.ID, "reason", failure.Reason)
	}
	// What was learned is kept even when the job's time ends just now.
	return s.keep(context.WithoutCancel(ctx), j, m, out, refused)
}

// try hands the message to one gateway, within its patience, and notes how the gateway did.
func (s *Service) try(ctx context.Context, g Gateway, m Message) (ref string, err error) {
	limit := Patience
	if !m.ExpiresAt.IsZero() {
		m.Left = m.ExpiresAt.Sub(s.Now())
		limit = min(limit, m.Left)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ref, err = g.Send(within, m)
	// A try that was cut short, by shutdown or by the last moments of a code, says nothing of the gateway.
	if err != nil && (ctx.Err() != nil || limit < Patience && within.Err() != nil) {
		s.health.interrupted(g.Name())
		return "", err
	}
	s.health.note(g.Name(), err, s.Now())
	return ref, err
}

// asFailure says of any error what it means for the message.
func asFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return failed(err)
}

// keep writes down how the run ended, and when there will be another.
func (s *Service) keep(ctx context.Context, j job.Job, m Message, out Outcome, refused bool) error {
	now := s.Now()
	out.At = now
	var next time.Time // zero: over
	switch {
	case out.Status == Sent:
	case len(s.Gateways[m.Channel]) == 0:
		out.Status, out.Reason = Failed, noGateway
	case out.Tries > 0 && refused:
		out.Status = Failed
	default:
		next = s.nextTry(j, m, now)
		switch {
		case next.IsZero() && m.ExpiresAt.IsZero():
			out.Status = Failed
		case next.IsZero():
			out.Status = Expired
		case out.Tries == 0:
			out.Reason = allResting
		}
	}
	var then []job.Job
	if _, tells := s.gateway(m.Channel, out.Gateway).(teller); tells && out.Status == Sent && out.Ref != "" {
		then = append(then, reportJob(j, now))
	}
	if err := s.Store.KeepOutcome(ctx, j, out, next, then...); err != nil {
		return fmt.Errorf("keep what became of the message: %w", err)
	}
	if s.Kept != nil {
		s.Kept(m.Channel, out.Status)
	}
	if out.Status == Failed || out.Status == Expired {
		s.Log.Error("message was not sent", "message", m.ID, "application", j.AppID, "channel", string(m.Channel), "status", string(out.Status), "reason", out.Reason)
	}
	s.Live.Wake(live.MessagesTopic)
	return nil
}

// nextTry returns when the message is tried again, or the zero time when it would be good no longer. It is never later than a gateway's return.
func (s *Service) nextTry(j job.Job, m Message, now time.Time) time.Time {
	wait, again := j.Backoff(now)
	if !m.ExpiresAt.IsZero() {
		wait, again = min(wait, sooner), true
	}
	if back := s.health.soonest(s.Gateways[m.Channel], now); back > 0 {
		wait = max(wait, back)
	}
	next := now.Add(wait)
	if !again || m.over(next) {
		return time.Time{}
	}
	return next
}

// over reports whether the message is good no longer: a code that has expired is never sent.
func (m Message) over(now time.Time) bool { return !m.ExpiresAt.IsZero() && !now.Before(m.ExpiresAt) }

// Start has gateways that report connect, and keeps what they report.
func (s *Service) Start() {
	for _, r := range s.reporters() {
		r.Start(func(report Report) error {
			err := s.Store.KeepReport(context.Background(), report, s.Now())
			s.Live.Wake(live.MessagesTopic)
			return err
		}, s.Log)
	}
}

// Close ends the connections of gateways that report. Nothing is sent afterwards.
func (s *Service) Close() {
	for _, r := range s.reporters() {
		r.Close()
	}
}

func (s *Service) reporters() (all []reporter) {
	for _, gateways := range s.Gateways {
		for _, g := range gateways {
			if r, ok := g.(reporter); ok {
				all = append(all, r)
			}
		}
	}
	return all
}

// CanSend reports whether a gateway is set up for the channel.
func (s *Service) CanSend(c otp.Channel) bool { return len(s.Gateways[c]) > 0 }

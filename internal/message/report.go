package message

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
)

// This file owns asking gateways what became of messages that they took. Those that report by themselves, by SMPP, are not asked.

// How often a gateway is asked: first after askFirst, then each time when the message is twice as old, but at least every askMax, until it
// is askUntil old. Most text messages are delivered, or not, before the second time.
const (
	askFirst = 5 * time.Second
	askMax   = time.Hour
	askUntil = 24 * time.Hour
)

// reportJob is the job that asks what became of the message that j sent.
func reportJob(j job.Job, now time.Time) job.Job {
	ask := job.New(job.Report, j.AppID, j.ID, now)
	ask.Trace, ask.RunAt = j.Trace, now.Add(askFirst)
	return ask
}

// gateway returns the channel's gateway of that name, or nil.
func (s *Service) gateway(c otp.Channel, name string) Gateway {
	for _, g := range s.Gateways[c] {
		if g.Name() == name {
			return g
		}
	}
	return nil
}

// Follow is the handler of jobs of the kind job.Report: it asks once.
func (s *Service) Follow(ctx context.Context, j job.Job) error {
	sent, ref, err := s.Store.SentBy(ctx, j.Ref)
	if err != nil {
		return fmt.Errorf("read how the message was sent: %w", err)
	}
	g, tells := s.gateway(sent.Channel, sent.Gateway).(teller)
	if !tells { // it is known already what became of it, or the settings have changed
		return s.Store.EndJob(ctx, j.ID)
	}
	within, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	became, reason, err := g.Ask(within, sent.Channel, ref)
	if err != nil && ctx.Err() != nil {
		return nil // interrupted by shutdown: the lease ends by itself
	}
	ctx = context.WithoutCancel(ctx) // what was learned is kept even when the job's time ends just now
	if err == nil && became != Sent {
		err = s.Store.KeepReport(ctx, Report{Gateway: sent.Gateway, Refs: []string{ref}, Status: became, Reason: reason}, s.Now())
		if err != nil {
			return fmt.Errorf("keep what became of the message: %w", err)
		}
		s.Live.Wake(live.MessagesTopic)
		return s.Store.EndJob(ctx, j.ID)
	}
	next, again := s.nextAsk(j, err)
	if !again {
		return s.Store.EndJob(ctx, j.ID)
	}
	return s.Store.RetryJob(ctx, j, next)
}

// nextAsk returns when the gateway is asked again after it knew nothing, or failed with err; false is never. How it answers questions says
// nothing of how it takes messages, so its health is not touched.
func (s *Service) nextAsk(j job.Job, err error) (at time.Time, again bool) {
	now := s.Now()
	age := now.Sub(j.CreatedAt)
	wait := min(max(age, askFirst), askMax)
	if err != nil {
		failure := asFailure(err)
		s.Log.Info("gateway did not tell what became of a message", "message", j.Ref, "reason", failure.Reason)
		if failure.Refused {
			return at, false
		}
		wait = max(wait, failure.After)
	}
	return now.Add(wait), age < askUntil
}

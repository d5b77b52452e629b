package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
)

// This file owns the handler of push jobs: whether to send, sending, and what the push service's answer means.

const (
	// maxQuiet is how long a push service may ask to be left alone.
	maxQuiet = 24 * time.Hour
	// Patience is how long a push service may take to answer.
	Patience = 10 * time.Second
	// streamFirst is the head start of an open stream. A page that is awake reads what waits within milliseconds of its
	// wake-up, and then nothing is pushed; one that a phone has frozen looks connected for a while and reads nothing.
	streamFirst = 2 * time.Second
	// maxTTL is the longest that every known push service keeps a message.
	maxTTL = 28 * 24 * time.Hour
	// maxAnswer is how much of an answer is read, so that its connection can be used again.
	maxAnswer = 16 << 10
)

// JobFor returns the leased job that tells one device of an approval.
func JobFor(appID, uuid, deviceID string, now time.Time) job.Job {
	j := job.New(job.Push, appID, uuid, now)
	j.Payload = []byte(deviceID)
	return j
}

// Deliver is the job handler: one try.
func (s *Service) Deliver(ctx context.Context, j job.Job) error {
	now := s.Now()
	d, err := s.Store.PushDelivery(ctx, j.Ref, string(j.Payload), now)
	if errors.Is(err, ErrNothing) || err == nil && s.needless(j, d) {
		return s.Store.EndJob(ctx, j.ID)
	}
	if err != nil {
		return fmt.Errorf("read what to push: %w", err)
	}
	if wait := s.headStart(j, d); now.Before(wait) {
		return s.Store.RetryJob(ctx, j, wait)
	}
	if now.Before(d.QuietUntil) {
		return s.Store.PushDelayed(ctx, j, d.Subscription.ID, d.QuietUntil, within(d, d.QuietUntil))
	}
	sub, err := s.openSubscription(d.Subscription)
	if err != nil {
		return err
	}
	origin := sub.origin()
	if !s.pace.begin(origin) {
		wait, _ := pause(now.Sub(j.CreatedAt))
		return s.Store.RetryJob(ctx, j, within(d, now.Add(wait)))
	}
	res, err := s.post(ctx, d, sub)
	s.pace.end(origin, s.Now().Sub(now))
	if err != nil && ctx.Err() != nil {
		return nil // interrupted by shutdown: the lease ends by itself
	}
	// What was learned is kept even when the job's time ends just now.
	return s.conclude(context.WithoutCancel(ctx), j, d, sub, res, err)
}

// needless reports whether the device has read of the request by itself. A repetition that the application asked for is
// sent all the same: the person has not seen it, or not where he was looking.
func (s *Service) needless(j job.Job, d Delivery) bool {
	return s.Off || !again(j, d) && d.FetchedAt.After(d.CreatedAt)
}

// again reports whether the job repeats an earlier one. Rows keep milliseconds, a job that was just made keeps more.
func again(j job.Job, d Delivery) bool { return j.CreatedAt.UnixMilli() > d.CreatedAt.UnixMilli() }

// headStart returns until when a device with an open stream is left to that. Streams of other nodes are not known
// here: their devices are pushed to at once, which shows one notification too many and none too few.
func (s *Service) headStart(j job.Job, d Delivery) time.Time {
	if again(j, d) || s.Live.Listening(live.DeviceTopic(d.Subscription.DeviceID)) == 0 {
		return time.Time{}
	}
	return d.CreatedAt.Add(streamFirst)
}

// within returns next, or never when the request is over by then.
func within(d Delivery, next time.Time) time.Time {
	if !d.ExpiresAt.IsZero() && !next.Before(d.ExpiresAt) {
		return time.Time{}
	}
	return next
}

// pause is the wait before the next try of a job of that age, with up to a fifth of jitter: as long again as it is old, between a
// second and an hour. So who waits at a log-in hears within seconds of a push service that has come back, and one that is down for
// long is left alone. After a day it is false.
func pause(age time.Duration) (time.Duration, bool) {
	wait := min(max(age, time.Second), time.Hour)
	return wait + rand.N(wait/5+1), age < 24*time.Hour
}

// answer is what a push service said.
type answer struct {
	status     int
	retryAfter time.Duration
}

// conclude draws the consequences of a try.
func (s *Service) conclude(ctx context.Context, j job.Job, d Delivery, sub Subscription, res answer, err error) error {
	if err == nil && res.status/100 == 2 {
		return s.Store.EndJob(ctx, j.ID)
	}
	now := s.Now()
	s.Log.Info("push failed", "service", sub.origin(), "approval", d.UUID, "device", d.Subscription.DeviceID, "status", res.status, "error", err, "attempts", j.Attempts)
	switch {
	case res.status == http.StatusNotFound || res.status == http.StatusGone:
		rec := audit.New(now, "", "system", "push.gone", "device:"+d.Subscription.DeviceID).Noting(fmt.Sprint("status ", res.status))
		return s.Store.PushGone(ctx, j, d.Subscription, rec)
	case res.status == http.StatusRequestEntityTooLarge, errors.Is(err, ErrHost), errors.Is(err, ErrInvalid):
		return s.Store.EndJob(ctx, j.ID) // the same again would end the same
	}
	next := time.Time{}
	if wait, ok := pause(now.Sub(j.CreatedAt)); ok {
		next = within(d, now.Add(max(wait, res.retryAfter)))
	}
	quiet := time.Time{}
	if res.retryAfter > 0 {
		quiet = now.Add(res.retryAfter)
	}
	return s.Store.PushDelayed(ctx, j, d.Subscription.ID, quiet, next)
}

// post sends one message. The error names no address: an endpoint is a capability (INV-8).
func (s *Service) post(ctx context.Context, d Delivery, sub Subscription) (answer, error) {
	if err := s.mayReach(sub.Endpoint); err != nil { // the operator's list may be shorter today
		return answer{}, err
	}
	req, err := s.request(ctx, d, sub)
	if err != nil {
		return answer{}, err
	}
	res, err := s.Client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return answer{}, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // only its end matters
	return answer{res.StatusCode, egress.RetryAfter(res.Header, s.Now(), maxQuiet)}, nil
}

// request builds the message: RFC 8030 around RFC 8291, signed by RFC 8292.
func (s *Service) request(ctx context.Context, d Delivery, sub Subscription) (*http.Request, error) {
	now := s.Now()
	key, err := s.openKey(d.Key)
	if err != nil {
		return nil, err
	}
	token, err := authorization(key, sub.origin(), s.Contact, now)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(message{d.UUID, d.Application})
	if err != nil {
		return nil, err
	}
	body, err := encrypt(sub, plain)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sub.Endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, ErrInvalid
	}
	req.Header.Set("Authorization", token)
	req.Header.Set("Content-Encoding", "aes128gcm")
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("TTL", strconv.Itoa(ttl(d, now)))
	req.Header.Set("Topic", s.topic(d))
	req.Header.Set("Urgency", "high")
	req.Header.Set("User-Agent", "Countersign")
	return req, nil
}

// message is all that travels (T-11, T-18).
type message struct {
	ID          string `json:"id"`
	Application string `json:"application"`
}

// ttl is the request's remaining life in whole seconds: what comes later is of no use.
func ttl(d Delivery, now time.Time) int {
	if d.ExpiresAt.IsZero() {
		return int(maxTTL / time.Second)
	}
	return int(min(d.ExpiresAt.Sub(now), maxTTL) / time.Second)
}

// topic makes a newer message take the place of one that still waits for the device. It is another one for each user
// and device, so that a push service cannot tell which devices belong together.
func (s *Service) topic(d Delivery) string {
	return s.Ring.Hash("push topic", d.UserID+":"+d.Subscription.DeviceID)[:32]
}

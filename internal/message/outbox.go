package message

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
)

// This file owns the outbox, the gateway of `dev`: it keeps what would have gone out, and shows it.

// Stored is a message as the outbox keeps it.
type Stored struct {
	ID     string
	At     time.Time
	Sealed []byte
}

type outbox struct{ *Service }

// ToOutbox makes the outbox the only gateway of every channel.
func (s *Service) ToOutbox() {
	s.Gateways = map[otp.Channel][]Gateway{}
	for _, channel := range []otp.Channel{otp.SMS, otp.Voice, otp.Email} {
		s.Gateways[channel] = []Gateway{outbox{s}}
	}
}

func (o outbox) Name() string                             { return "outbox" }
func (o outbox) Check(context.Context) (time.Time, error) { return time.Time{}, nil }

func (o outbox) Send(ctx context.Context, m Message) (string, error) {
	plain, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encode message: %w", err)
	}
	if err := o.Store.KeepInOutbox(ctx, Stored{ID: m.ID, At: m.Time, Sealed: o.Ring.Seal(outboxContext(m.ID), plain)}); err != nil {
		return "", err
	}
	o.Live.Wake(live.MessagesTopic)
	return "", nil
}

// Keep puts a mail into the outbox that somebody else wrote: the sample application of `dev` has no gateway either.
func (s *Service) Keep(ctx context.Context, to, subject, body string) error {
	now := s.Now()
	_, err := outbox{s}.Send(ctx, Message{ID: ident.New(now), Time: now.UTC(), Channel: otp.Email, To: to, Subject: receipt.CleanText(subject), Body: body})
	return err
}

// OutboxSize is how many messages the outbox shows.
const OutboxSize = 500

// Outbox returns the newest messages, newest first; to "" means to anybody.
func (s *Service) Outbox(ctx context.Context, to string) ([]Message, error) {
	stored, err := s.Store.InOutbox(ctx, OutboxSize)
	if err != nil {
		return nil, err
	}
	out := []Message{}
	for _, kept := range stored {
		plain, err := s.Ring.Open(outboxContext(kept.ID), kept.Sealed)
		if err != nil {
			return nil, err
		}
		var m Message
		if err := json.Unmarshal(plain, &m); err != nil {
			return nil, fmt.Errorf("message %s: %w", kept.ID, err)
		}
		if to == "" || m.To == to {
			out = append(out, m)
		}
	}
	return out, nil
}

func outboxContext(id string) string { return "outbox.sealed:" + id }

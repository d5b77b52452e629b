package message

import (
	"context"
	"log/slog"
	"time"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/otp"
)

// This file owns what a gateway is, and how it says that it failed.

// Gateway carries messages out of the house. Implementations are safe for concurrent use.
type Gateway interface {
	// Name tells gateways apart in records and on pages. It is made of what the operator wrote, without secrets.
	Name() string
	// Send hands m over, and returns the id under which the gateway knows it, "" when it gave none. It gives up when ctx ends. An
	// error is a *Failure, or one that says nothing about the gateway.
	Send(ctx context.Context, m Message) (id string, err error)
	// Check says whether the gateway is there and takes our credentials, without sending anything. It returns the gateway's own time, in
	// whole seconds, or zero when it tells none.
	Check(ctx context.Context) (clock time.Time, err error)
}

// reporter is a gateway that tells later what became of messages.
type reporter interface {
	// Start connects and stays connected until Close, and calls hear for each report; one that could not be kept is told again.
	Start(hear func(Report) error, log *slog.Logger)
	Close()
}

// teller is a gateway that tells what became of a message when it is asked. Asking needs no address of ours that others could call.
type teller interface {
	// Ask returns Sent while nothing more is known. A Failure that is Refused says that it will never tell.
	Ask(ctx context.Context, c otp.Channel, ref string) (became Status, reason string, err error)
}

// Failure says why a gateway did not take a message. Its Reason is for records and pages: it holds no secret, code or address.
type Failure struct {
	Reason  string
	Refused bool          // it will never take this message; nothing is wrong with the gateway
	After   time.Duration // it asks to be left alone for so long; 0 says nothing
	Hung    bool          // it did not answer in time
}

func (f *Failure) Error() string { return f.Reason }

// failed makes a Failure of what went wrong on the way, before anything was answered.
func failed(err error) *Failure {
	return &Failure{Reason: egress.Reason(err, Patience), Hung: egress.TimedOut(err)}
}

// Patience is how long a gateway may take for one message.
const Patience = 10 * time.Second

// maxRef is how long an id of a gateway may be.
const maxRef = 200

// Package notify owns Web Push: waking the authenticators that no open stream
// reaches (step 4 of the journey).
//
//	approval ─ same transaction ─▶ a job for each subscribed device
//	                                  │ still pending, still granted? a stream open, or fetched meanwhile?
//	                                  ▼
//	            encrypt (RFC 8291), sign (RFC 8292), post (RFC 8030) ─▶ push service ─▶ service worker
//
// A message is a wake-up and nothing more: the request's id and the name of the
// application, encrypted for one device. What is asked, and the number to
// match, never travel this way (T-11, T-18). Everything works without it.
//
// A subscription's endpoint is text that a client chose, so it counts as
// hostile (T-40): https only, hosts from a list, private addresses refused when
// the connection is made, no redirects.
package notify

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/seal"
)

// Errors that this package reports.
var (
	ErrInvalid = fault.New(fault.Invalid, "invalid", "The subscription is not valid.")
	ErrHost    = fault.New(fault.Invalid, "push-host", "This server does not send to that push service.")
	ErrKey     = fault.New(fault.Conflict, "push-key", "The subscription was made with another key. Subscribe again with this server's.")
	ErrOff     = fault.New(fault.Conflict, "push-off", "This server sends no notifications.")
	// ErrNothing says that there is nothing to deliver any more: decided, over, taken back, or not subscribed.
	ErrNothing = fault.New(fault.NotFound, "push-nothing", "There is nothing to deliver.")
)

// Settings are what an operator decides.
type Settings struct {
	Off bool
	// Contact is where a push service's people can reach the operator: mailto: or https: (RFC 8292 section 2.1).
	Contact string
	// Hosts are push services beside the known ones: "push.example.com", "push.example.com:8443", "*.example.com".
	Hosts []string
	// Loopback allows push services on this machine, over http too. For tests.
	Loopback bool
}

// StoredKey is a VAPID key pair as it is kept.
type StoredKey struct {
	ID     int64
	Sealed []byte // the private scalar, bound to the id
}

// StoredSubscription is a device's subscription as it is kept.
type StoredSubscription struct {
	ID, DeviceID string
	KeyID        int64
	Sealed       []byte // bound to the device
	CreatedAt    time.Time
}

// Delivery is what there is to tell one device, and how.
type Delivery struct {
	UUID, AppID, UserID  string
	Application          string // its name
	CreatedAt, ExpiresAt time.Time
	Subscription         StoredSubscription
	Key                  StoredKey
	QuietUntil           time.Time
	FetchedAt            time.Time
}

// Store is what this package needs to keep.
type Store interface {
	// PushKey returns the newest key; first is asked for one when there is none yet.
	PushKey(ctx context.Context, now time.Time, first func(id int64) StoredKey) (StoredKey, error)
	// AddPushKey keeps a key with the next id, which becomes the newest.
	AddPushKey(ctx context.Context, now time.Time, make func(id int64) StoredKey, rec audit.Record) error

	Subscribe(ctx context.Context, s StoredSubscription, rec audit.Record) error         // in place of the device's older one
	Unsubscribe(ctx context.Context, deviceID string, rec audit.Record) error            // also when there is none
	Subscription(ctx context.Context, deviceID string) (StoredSubscription, bool, error) // false when there is none
	Fetched(ctx context.Context, deviceID string, now time.Time) error                   // the device has read what waits for it

	// PushDelivery returns what the job is about while the approval waits and the device may answer it, or ErrNothing.
	PushDelivery(ctx context.Context, uuid, deviceID string, now time.Time) (Delivery, error)
	EndJob(ctx context.Context, id string) error
	RetryJob(ctx context.Context, j job.Job, at time.Time) error
	// PushDelayed gives the job up until next, or for good when that is zero, and leaves the subscription alone until quiet.
	PushDelayed(ctx context.Context, j job.Job, subscriptionID string, quiet, next time.Time) error
	// PushGone removes the subscription, unless there is a newer one, and ends the job.
	PushGone(ctx context.Context, j job.Job, s StoredSubscription, rec audit.Record) error
}

// Service is the entrance to this package.
type Service struct {
	Store Store
	Ring  *seal.Ring
	Live  *live.Hub
	// Client must be guarded against private addresses and follow no redirects.
	Client *http.Client
	Settings
	Now func() time.Time
	Log *slog.Logger

	pace pace
}

// State is what a device is told about its notifications.
type State struct {
	Off          bool
	Key          string // to subscribe with: base64url of the uncompressed point
	EndpointHash string // of the subscription that is kept, "" when there is none
}

// State returns how things stand for a device.
func (s *Service) State(ctx context.Context, d device.Device) (State, error) {
	if s.Off {
		return State{Off: true}, nil
	}
	stored, err := s.newestKey(ctx)
	if err != nil {
		return State{}, err
	}
	key, err := s.openKey(stored)
	if err != nil {
		return State{}, err
	}
	out := State{Key: publicKey(key)}
	kept, ok, err := s.Store.Subscription(ctx, d.ID)
	if err != nil || !ok || kept.KeyID != stored.ID {
		return out, err
	}
	sub, err := s.openSubscription(kept)
	if err != nil {
		return State{}, err
	}
	out.EndpointHash = sub.hash()
	return out, nil
}

// Fetched notes that the device has read what waits for it, so that nothing of it need be pushed.
func (s *Service) Fetched(ctx context.Context, d device.Device) error {
	if s.Off {
		return nil
	}
	return s.Store.Fetched(ctx, d.ID, s.Now())
}

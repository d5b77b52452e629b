package deviceapi

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/live"
	"countersign.dev/internal/web"
)

// This file owns the event stream of a device: hints that something should be read again.

const (
	maxStreams = 8               // of one device: tabs, and connections that died unnoticed
	recheck    = 3 * time.Minute // how old a stream's knowledge of its session may get
)

var errStreams = fault.New(fault.Limited, "limited", "This device has too many open streams.").After(10 * time.Second)

// streams counts the open streams of each device.
type streams struct {
	mu   sync.Mutex // guards open
	open map[string]int
}

func newStreams() *streams { return &streams{open: map[string]int{}} }

// enter counts one more stream, and reports false when the device has too many.
func (s *streams) enter(deviceID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[deviceID] >= maxStreams {
		return false
	}
	s.open[deviceID]++
	return true
}

func (s *streams) leave(deviceID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[deviceID]--; s.open[deviceID] == 0 {
		delete(s.open, deviceID)
	}
}

func (s *surface) events(w http.ResponseWriter, r *http.Request, d device.Device) error {
	if !s.streams.enter(d.ID) {
		return errStreams
	}
	defer s.streams.leave(d.ID)
	sub, err := s.subscribe(r.Context(), d)
	if err != nil {
		return err
	}
	f := &follower{surface: s, session: cookie(r), device: d, sub: sub, checked: s.Now()}
	defer func() { f.sub.Close() }()
	if r.Method == http.MethodHead {
		return nil
	}
	// The answer begins after subscribing: who has seen it begin and then reads has missed nothing.
	stream, err := web.OpenStream(w, r)
	for err == nil {
		err = f.step(r.Context(), stream)
	}
	stream.Close()
	web.Note(r, slog.String("ended", err.Error()))
	return nil
}

// subscribe starts to wait for news of the device and of every user that it acts for now.
func (s *surface) subscribe(ctx context.Context, d device.Device) (*live.Subscription, error) {
	sub := s.Live.Subscribe(live.DeviceTopic(d.ID)) // first subscribe, then read: nothing falls between
	grants, err := s.Devices.Store.Grants(ctx, d.ID)
	if err != nil {
		sub.Close()
		return nil, err
	}
	for _, g := range grants {
		sub.Add(live.UserTopic(g.UserID))
	}
	return sub, nil
}

// wakeStreams makes the device's streams ask whether their session is still there.
func (s *surface) wakeStreams(d device.Device) { s.Live.Wake(live.DeviceTopic(d.ID)) }

// follower is one open stream.
type follower struct {
	*surface
	session string
	device  device.Device
	sub     *live.Subscription
	checked time.Time // when the session was last found to be there
}

// step waits for the next thing to happen and tells it. An error ends the stream.
func (f *follower) step(ctx context.Context, stream *web.Stream) error {
	woken, err := stream.Next(ctx, f.sub)
	if err != nil {
		return err
	}
	changed := slices.Contains(woken, live.DeviceTopic(f.device.ID))
	if now := f.Now(); changed || now.Sub(f.checked) >= recheck {
		switch err := f.check(ctx); {
		case err == nil:
			f.checked = now
		case fault.KindOf(err) != fault.Unavailable: // else it is asked again next time; a hint tells nobody anything
			return err
		}
	}
	if changed {
		if err := f.resubscribe(ctx); err != nil {
			return err
		}
		if err := stream.Event("grants"); err != nil {
			return err
		}
	}
	if len(woken) == 0 {
		return nil
	}
	return stream.Event("approvals")
}

// check ends the stream when its session has ended: signed out, or too old.
func (f *follower) check(ctx context.Context) error {
	d, err := f.Devices.Session(ctx, f.session)
	if err != nil {
		return err
	}
	return f.Devices.Seen(ctx, d)
}

// resubscribe waits for the users that the device acts for now, and no longer for others. What is woken between the
// two subscriptions needs no telling: both hints follow.
func (f *follower) resubscribe(ctx context.Context) error {
	sub, err := f.subscribe(ctx, f.device)
	if err != nil {
		return err
	}
	f.sub.Close()
	f.sub = sub
	return nil
}

package deviceapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/live"
)

// This file owns the event stream of a device: hints that something should be read again.

const (
	maxStreams = 8               // of one device: tabs, and connections that died unnoticed
	recheck    = 3 * time.Minute // how old a stream's knowledge of its session may get
)

var errStreams = fault.New(fault.Limited, "limited", "This device has too many open streams.").After(10 * time.Second)

func (s *surface) events(w http.ResponseWriter, r *http.Request, d device.Device) error {
	f := &follower{
		surface: s, session: strings.Clone(cookie(r)), device: d.ID, sub: s.Live.Subscribe(live.DeviceTopic(d.ID)),
		checked: s.Now().Add(-rand.N(recheck)), // those that were opened at once are not looked at again at once
	}
	var err error = errStreams
	if s.Live.Listening(live.DeviceTopic(d.ID)) <= maxStreams {
		err = f.subscribe(r.Context())
	}
	if err != nil {
		f.End()
		return err
	}
	return s.Streams.Serve(w, r, f)
}

// wakeStreams makes the device's streams ask whether their session is still there.
func (s *surface) wakeStreams(d device.Device) { s.Live.Wake(live.DeviceTopic(d.ID)) }

// follower is one open stream. There are very many: it keeps no more than this.
type follower struct {
	*surface
	session string
	device  string // id
	sub     *live.Subscription
	checked time.Time // when the session was last found to be there
	changed bool      // there is news of the device that was not looked at
}

// Subscription is what wakes the stream.
func (f *follower) Subscription() *live.Subscription { return f.sub }

var (
	toldGrants    = []string{"grants", "approvals"}
	toldApprovals = []string{"approvals"}
)

// Step tells what to read again, and looks at the session when it may have ended, and now and then.
func (f *follower) Step(woken []live.Topic, turn func(func(context.Context) error) error) ([]string, error) {
	changed := slices.Contains(woken, live.DeviceTopic(f.device))
	f.changed = f.changed || changed
	if f.changed || f.Now().Sub(f.checked) >= recheck {
		// What cannot be asked now is asked at the next heartbeat; a hint tells nobody anything.
		if err := turn(f.check); err != nil && fault.KindOf(err) != fault.Unavailable {
			return nil, err
		}
	}
	switch {
	case changed:
		return toldGrants, nil
	case len(woken) > 0:
		return toldApprovals, nil
	}
	return nil, nil
}

// check ends the stream when its session has ended: signed out, or too old. After news of the device it also waits for those for whom the
// device acts now.
func (f *follower) check(ctx context.Context) error {
	now := f.Now()
	d, err := f.Devices.Session(ctx, f.session)
	if err == nil {
		err = f.Devices.Seen(ctx, d)
	}
	if err == nil && f.changed {
		err = f.subscribe(ctx)
	}
	if err != nil {
		return err
	}
	f.checked, f.changed = now, false
	return nil
}

// subscribe waits for news of the device and of every user that it acts for now. It is subscribed to the device before it reads:
// nothing falls between.
func (f *follower) subscribe(ctx context.Context) error {
	grants, err := f.Devices.Store.Grants(ctx, f.device)
	if err != nil {
		return err
	}
	topics := []live.Topic{live.DeviceTopic(f.device)}
	for _, g := range grants {
		topics = append(topics, live.UserTopic(g.UserID))
	}
	f.sub.Set(topics...)
	return nil
}

// End makes room for another stream of the device.
func (f *follower) End() { f.sub.Close() }

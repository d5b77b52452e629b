package tenant

import (
	"context"
	"net/url"
	"strings"

	"countersign.dev/internal/audit"
)

// This file owns where an application's callback goes and how it is called.

// SetCallback gives the application's callback a new address ("" turns it off), which also enables it again and releases what was
// held. It is called as before.
func (s *Service) SetCallback(ctx context.Context, accountID, appID, address, actor string) error {
	return s.setCallback(ctx, accountID, appID, address, actor, func(set Settings) bool { return set.CallbackGet })
}

// SetCallbackAndMethod is SetCallback that also says how the address is called: by GET, with everything in the query, or by POST.
func (s *Service) SetCallbackAndMethod(ctx context.Context, accountID, appID, address string, get bool, actor string) error {
	if strings.TrimSpace(address) == "" {
		return ErrCallbackURL
	}
	return s.setCallback(ctx, accountID, appID, address, actor, func(Settings) bool { return get })
}

func (s *Service) setCallback(ctx context.Context, accountID, appID, address, actor string, byGet func(Settings) bool) error {
	address = strings.TrimSpace(address)
	if _, ok := ParseReceiver(address); address != "" && !ok {
		return ErrCallbackURL
	}
	change := func(set *Settings) (note string, err error) {
		get := byGet(*set)
		if get && strings.Contains(address, "?") {
			return "", ErrCallbackQuery
		}
		if note = address; get != set.CallbackGet {
			note += " by " + map[bool]string{true: "GET", false: "POST"}[get]
		}
		set.CallbackGet = get
		return note, nil
	}
	now := s.Now()
	rec := audit.New(now, appID, actor, "callback.set", "application:"+appID)
	released, err := s.Store.ChangeCallback(ctx, accountID, appID, address, change, now, rec)
	if err != nil {
		return err
	}
	s.Offer(released...)
	return nil
}

// ParseReceiver reads the address of somebody who is told something: http or https, absolute, without user name and fragment, at most 500 bytes.
func ParseReceiver(address string) (*url.URL, bool) {
	u, err := url.Parse(address)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.Fragment == "" && len(address) <= 500
}

package notify

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/ident"
)

// This file owns subscriptions: reading what a client claims to be one, and keeping it sealed.

// knownHosts are the push services of today's browsers.
var knownHosts = []string{
	"fcm.googleapis.com", "android.googleapis.com", "jmt17.google.com", // Chrome, Edge on Android, Opera, Samsung, Brave
	"*.push.services.mozilla.com", // Firefox
	"*.push.apple.com",            // Safari
	"*.notify.windows.com",        // Edge on Windows
}

// maxEndpoint bounds an endpoint's length; the longest known ones have about 500 characters.
const maxEndpoint = 2048

// Subscription is where and how to reach one browser (RFC 8030, RFC 8291).
type Subscription struct {
	Endpoint string `json:"endpoint"`
	P256dh   []byte `json:"p256dh"` // uncompressed point
	Auth     []byte `json:"auth"`   // 16 bytes
}

// ParseSubscription reads what PushSubscription.toJSON gives: keys are base64url without padding.
func ParseSubscription(endpoint, p256dh, auth string) (sub Subscription, err error) {
	sub.Endpoint = endpoint
	if _, err := parseEndpoint(endpoint); err != nil {
		return sub, err
	}
	if sub.P256dh, err = base64url.DecodeString(p256dh); err == nil {
		_, err = ecdh.P256().NewPublicKey(sub.P256dh)
	}
	if err != nil || len(sub.P256dh) != 65 || len(p256dh) != base64url.EncodedLen(65) {
		return sub, ErrInvalid.Saying("p256dh is not an uncompressed P-256 point in base64url.")
	}
	if sub.Auth, err = base64url.DecodeString(auth); err != nil || len(sub.Auth) != 16 || len(auth) != base64url.EncodedLen(16) {
		return sub, ErrInvalid.Saying("auth is not 16 bytes in base64url.")
	}
	return sub, nil
}

// base64url is strict; but it skips line breaks, so lengths of texts are checked as well.
var base64url = base64.RawURLEncoding.Strict()

func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil || len(endpoint) > maxEndpoint || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, ErrInvalid.Saying("The endpoint is not an absolute https address of at most 2048 characters.")
	}
	return u, nil
}

// mayReach says whether messages may go to the endpoint (T-40). Where its host's name leads is checked again when the connection is made.
func (set Settings) mayReach(endpoint string) error {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return err
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if set.Loopback && egress.IsLoopback(host) {
		return nil
	}
	if u.Scheme != "https" {
		return ErrInvalid.Saying("The endpoint is not an https address.")
	}
	if port != "" && port != "443" {
		host = net.JoinHostPort(host, port)
	}
	matches := func(pattern string) bool {
		pattern = strings.ToLower(pattern)
		if parent, ok := strings.CutPrefix(pattern, "*"); ok {
			return len(host) > len(parent) && strings.HasSuffix(host, parent)
		}
		return host == pattern
	}
	if slices.ContainsFunc(knownHosts, matches) || slices.ContainsFunc(set.Hosts, matches) {
		return nil
	}
	return ErrHost
}

// CheckHost says what is wrong with an operator's entry for Settings.Hosts.
func CheckHost(pattern string) error {
	name, port, found := strings.Cut(strings.TrimPrefix(pattern, "*."), ":")
	u, err := url.Parse("https://" + pattern)
	if err != nil || strings.ContainsAny(name, "*/@?#: ") || !strings.Contains(name, ".") || strings.HasPrefix(name, ".") || found && (port == "" || u.Port() != port) {
		return fmt.Errorf("%q is not a push host: write push.example.com, push.example.com:8443 or *.example.com", pattern)
	}
	return nil
}

// CheckContact says what is wrong with an operator's Settings.Contact.
func CheckContact(contact string) error {
	u, err := url.Parse(contact)
	if err == nil && (u.Scheme == "mailto" && strings.Contains(u.Opaque, "@") || u.Scheme == "https" && u.Host != "") {
		return nil
	}
	return fmt.Errorf("%q is not a contact for push services: write mailto:you@example.com or an https address", contact)
}

// origin is what a VAPID token is for (RFC 8292 section 2).
func (sub Subscription) origin() string {
	u, err := url.Parse(sub.Endpoint)
	if err != nil {
		return "" // it was parsed before it was kept
	}
	host := strings.ToLower(u.Host)
	return u.Scheme + "://" + strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme])
}

// hash names a subscription to its own device without repeating its address, which is a capability.
func (sub Subscription) hash() string {
	sum := sha256.Sum256([]byte(sub.Endpoint))
	return base64url.EncodeToString(sum[:])
}

// Subscribe keeps a device's subscription, made with the key that State gave, in place of an older one. The one that is kept already is not
// written, nor recorded, again.
func (s *Service) Subscribe(ctx context.Context, d device.Device, sub Subscription, key string) error {
	if s.Off {
		return ErrOff
	}
	if err := s.mayReach(sub.Endpoint); err != nil {
		return err
	}
	newest, err := s.newestKey(ctx)
	if err != nil {
		return err
	}
	pair, err := s.openKey(newest)
	if err != nil {
		return err
	}
	if key != publicKey(pair) {
		return ErrKey
	}
	if same, err := s.kept(ctx, d, sub, newest.ID); same || err != nil {
		return err
	}
	plain, err := json.Marshal(sub)
	if err != nil {
		return err
	}
	now := s.Now()
	return s.Store.Subscribe(ctx, StoredSubscription{
		ID: ident.New(now), DeviceID: d.ID, KeyID: newest.ID, Sealed: s.Ring.Seal(subscriptionContext(d.ID), plain), CreatedAt: now,
	}, audit.New(now, "", "device:"+d.ID, "push.subscribed", "device:"+d.ID))
}

// kept reports whether that is the device's subscription already.
func (s *Service) kept(ctx context.Context, d device.Device, sub Subscription, keyID int64) (bool, error) {
	stored, ok, err := s.Store.Subscription(ctx, d.ID)
	if err != nil || !ok || stored.KeyID != keyID {
		return false, err
	}
	now, err := s.openSubscription(stored)
	return err == nil && now.Endpoint == sub.Endpoint && bytes.Equal(now.P256dh, sub.P256dh) && bytes.Equal(now.Auth, sub.Auth), err
}

// Unsubscribe forgets a device's subscription. Doing it twice is fine.
func (s *Service) Unsubscribe(ctx context.Context, d device.Device) error {
	return s.Store.Unsubscribe(ctx, d.ID, audit.New(s.Now(), "", "device:"+d.ID, "push.unsubscribed", "device:"+d.ID))
}

func (s *Service) openSubscription(kept StoredSubscription) (sub Subscription, err error) {
	plain, err := s.Ring.Open(subscriptionContext(kept.DeviceID), kept.Sealed)
	if err == nil {
		err = json.Unmarshal(plain, &sub)
	}
	return sub, err
}

func subscriptionContext(deviceID string) string { return "push_subscriptions.sealed:" + deviceID }

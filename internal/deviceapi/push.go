package deviceapi

import (
	"net/http"

	"countersign.dev/internal/device"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/web"
)

// This file owns a device's push subscription.

// showPush tells a device what it needs to subscribe, and what is kept of it.
func (s *surface) showPush(w http.ResponseWriter, r *http.Request, d device.Device) error {
	state, err := s.Push.State(r.Context(), d)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct {
		Enabled      bool   `json:"enabled"`
		Key          string `json:"key"`           // the applicationServerKey: base64url of the uncompressed point
		EndpointHash string `json:"endpoint_hash"` // base64url SHA-256 of the endpoint that is kept, "" for none
	}{!state.Off, state.Key, state.EndpointHash})
}

// subscribePush keeps the device's subscription in place of an older one.
func (s *surface) subscribePush(w http.ResponseWriter, r *http.Request, d device.Device) error {
	var in struct {
		Endpoint string `json:"endpoint"`
		P256dh   string `json:"p256dh"`
		Auth     string `json:"auth"`
		Key      string `json:"key"` // that it was made with
	}
	if err := web.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	sub, err := notify.ParseSubscription(in.Endpoint, in.P256dh, in.Auth)
	if err != nil {
		return err
	}
	if err := s.Push.Subscribe(r.Context(), d, sub, in.Key); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *surface) unsubscribePush(w http.ResponseWriter, r *http.Request, d device.Device) error {
	if err := s.Push.Unsubscribe(r.Context(), d); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

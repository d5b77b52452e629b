package server

import (
	"countersign.dev/internal/authyapi"
	"countersign.dev/internal/console"
	"countersign.dev/internal/device"
	"countersign.dev/internal/deviceapi"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/web"
	"countersign.dev/ui"
)

// This file owns the mounting: which surface answers on which listener.

func (s *Server) mount(devices *device.Service, codes *otp.Service, messages *message.Service) {
	cfg := s.cfg
	resets := &reset.Service{
		Store: s.db, Devices: devices, Live: s.live, Now: cfg.Now,
		NewMessage: messages.CodeJob, CanSend: messages.CanSend, Alert: messages.SendingPausedJob, Offer: s.jobs.Offer,
	}
	api := &authyapi.API{Tenants: s.Tenants, Devices: devices, Resets: resets, Codes: codes, Approvals: s.approvals, Now: cfg.Now, Log: cfg.Log}
	api.Reports, api.Webhooks, api.URL = s.reports, s.Webhooks, cfg.APIURL
	s.API = web.Log(cfg.Log, cfg.Now, api.Refuse, api.Handler())
	s.Authenticator = (&deviceapi.API{
		Devices: devices, Approvals: s.approvals, Resets: resets, Push: s.Push, Live: s.live, Streams: s.streams, Logos: s.db.Logo, App: ui.Authenticator(), Shared: ui.Shared(),
		PublicURL: cfg.AuthenticatorURL, Now: cfg.Now, Logger: cfg.Log,
		Proxies: cfg.Proxies, StrangerRate: cfg.StrangerRate, StrangerBurst: cfg.StrangerBurst,
	}).Handler()
	operators := console.Config{
		Tenants: s.Tenants, Approvals: s.approvals, Devices: devices, Resets: resets, Operators: s.Operators, Webhooks: s.Webhooks, Lists: s.db, Live: s.live, Gateways: messages.Conditions, Again: s.callbacks.Again,
		URL: cfg.ConsoleURL, APIURL: cfg.APIURL, Shared: ui.Shared(), Proxies: cfg.Proxies, Now: cfg.Now, Log: cfg.Log,
	}
	if cfg.Outbox {
		operators.Outbox, operators.Streams = messages, s.streams
	}
	s.Console = console.New(operators)
	s.API, s.Authenticator, s.Console = s.observed("api", true, s.API), s.observed("authenticator", false, s.Authenticator), s.observed("console", false, s.Console)
}

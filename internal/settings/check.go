package settings

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
)

// This file owns what depends on more than one setting.

// Check returns everything that is wrong with the settings of a command that opens the database, as Problems, or nil.
func (s *Storage) Check() error { return s.problems().err() }

// Given returns what is wrong with the values that were given, for a command that needs no master key.
func (s *Storage) Given() error { return s.given.problems.err() }

func (s *Storage) problems() Problems {
	found := slices.Clone(s.given.problems)
	if len(s.MasterKey) == 0 && !found.about("master-key", "master-key-file") {
		found = append(found, Problem{"master-key-file", "", "there is no master key: make one with: countersign keys new FILE, and name it here"})
	}
	return found
}

// about reports whether one of the settings has a problem already.
func (p Problems) about(names ...string) bool {
	return slices.ContainsFunc(p, func(one Problem) bool { return slices.Contains(names, one.Setting) })
}

// Check returns everything that is wrong with the settings of `serve`, as Problems, or nil.
func (s *Serve) Check() error {
	found := s.problems()
	add := func(setting, why string) {
		if !found.about(setting) {
			source := s.given.source(setting)
			if source.rank == byDefault {
				source.text = ""
			}
			found = append(found, Problem{setting, source.text, why})
		}
	}
	if s.OwnerEmail == "" {
		add("owner-email", "is missing: name who hears when a callback is disabled, like owner@example.com")
	}
	surfaces := s.Surfaces()
	for i, surface := range surfaces {
		if surface.URL == "" {
			add(surface.Name+"-url", "is missing: name the public address, like https://"+surface.Name+".example.com, because nothing is derived from requests")
			continue
		}
		for _, other := range surfaces[:i] {
			if other.URL == surface.URL {
				add(surface.Name+"-url", "is the same as "+other.Name+"-url: give each surface a host or port of its own")
			}
		}
		s.checkTLS(surface, add)
	}
	for _, c := range s.carried() {
		if _, err := message.ParseGateways(c.channel, texts(c.gateways)); err != nil {
			add(c.setting, err.Error())
		}
	}
	if s.WakeUps != "" && !s.Database.Postgres() {
		add("wake-ups", "is for several nodes on one PostgreSQL: leave it out, or name a PostgreSQL database with --database")
	}
	if s.OpsAddr != "" && slices.ContainsFunc(surfaces, func(other Surface) bool { return sameAddr(other.Addr, s.OpsAddr) }) {
		add("ops-addr", "is the address of another listener: choose a port of its own")
	}
	for i, surface := range surfaces {
		if slices.ContainsFunc(surfaces[:i], func(other Surface) bool { return sameAddr(other.Addr, surface.Addr) }) {
			add(surface.Name+"-addr", "is the address of another listener: choose a port of its own")
		}
	}
	return found.err()
}

// carried are the gateways of one channel.
type carried struct {
	setting  string
	channel  otp.Channel
	gateways []Gateway
}

func (o *Outgoing) carried() []carried {
	return []carried{{"sms-gateway", otp.SMS, o.SMSGateway}, {"voice-gateway", otp.Voice, o.VoiceGateway}, {"mail-gateway", otp.Email, o.MailGateway}}
}

func texts(gateways []Gateway) []string {
	all := make([]string, len(gateways))
	for i, g := range gateways {
		all[i] = string(g)
	}
	return all
}

// Gateways makes the gateways of all channels.
func (o *Outgoing) Gateways() (map[otp.Channel][]message.Gateway, error) {
	all := map[otp.Channel][]message.Gateway{}
	for _, c := range o.carried() {
		gateways, err := message.ParseGateways(c.channel, texts(c.gateways))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.setting, err)
		}
		all[c.channel] = gateways
	}
	return all, nil
}

// sameAddr reports whether two listeners would be in each other's way. Port 0 never is.
func sameAddr(a, b Addr) bool {
	_, port, _ := net.SplitHostPort(string(a))
	return a == b && port != "0"
}

// checkTLS sees to it that nothing secret crosses a network in plain text.
func (s *Serve) checkTLS(surface Surface, add func(setting, why string)) {
	cert, key := surface.certName, surface.keyName
	switch {
	case surface.Cert != "" && surface.Key == "":
		add(key, "is missing: name the private key to "+cert)
	case surface.Cert == "" && surface.Key != "":
		add(cert, "is missing: name the certificate to "+key)
	case surface.Cert != "":
		if _, err := readPrivate(string(surface.Key)); err != nil {
			add(key, err.Error())
		} else if _, err := tls.LoadX509KeyPair(string(surface.Cert), string(surface.Key)); err != nil {
			add(cert, "is not a certificate to "+key+" ("+err.Error()+"): name PEM files that belong together")
		} else if !surface.URL.HTTPS() {
			add(surface.Name+"-url", "begins with http, but the listener has a certificate: write https")
		}
	case surface.URL.HTTPS() && len(s.TrustedProxy) == 0:
		add(surface.Name+"-url", "begins with https, but the listener has neither a certificate nor a proxy in front: set tls-cert and tls-key, or trusted-proxy")
	case !surface.URL.HTTPS() && !loopbackAddr(surface.Addr):
		add(surface.Name+"-addr", "can be reached from other machines in plain text: listen on 127.0.0.1, or set tls-cert and tls-key")
	}
}

func loopbackAddr(a Addr) bool {
	host, _, _ := net.SplitHostPort(string(a))
	return isLoopback(host)
}

// Surface is one of the three listeners that the world knows.
type Surface struct {
	Name              string // as in the names of its settings
	Addr              Addr
	URL               URL
	Cert, Key         File
	certName, keyName string
}

// Surfaces returns api, authenticator and console, each with the certificate that counts for it.
func (l *Listeners) Surfaces() []Surface {
	all := []Surface{
		{Name: "api", Addr: l.APIAddr, URL: l.APIURL, Cert: l.APITLSCert, Key: l.APITLSKey},
		{Name: "authenticator", Addr: l.AuthenticatorAddr, URL: l.AuthenticatorURL, Cert: l.AuthenticatorTLSCert, Key: l.AuthenticatorTLSKey},
		{Name: "console", Addr: l.ConsoleAddr, URL: l.ConsoleURL, Cert: l.ConsoleTLSCert, Key: l.ConsoleTLSKey},
	}
	for i := range all {
		surface := &all[i]
		surface.certName, surface.keyName = surface.Name+"-tls-cert", surface.Name+"-tls-key"
		if surface.Cert == "" && surface.Key == "" {
			surface.Cert, surface.Key = l.TLSCert, l.TLSKey
			surface.certName, surface.keyName = "tls-cert", "tls-key"
		}
	}
	return all
}

// Proxies returns the networks of trusted-proxy.
func (l *Listeners) Proxies() []netip.Prefix {
	out := make([]netip.Prefix, len(l.TrustedProxy))
	for i, n := range l.TrustedProxy {
		out[i] = n.Prefix
	}
	return out
}

// Egress returns where requests to addresses that others choose may go.
func (o *Outgoing) Egress() egress.Policy {
	p := egress.Policy{Loopback: o.PrivateCallbacks, Private: o.PrivateCallbacks}
	for _, n := range o.EgressAllow {
		p.Networks = append(p.Networks, n.Prefix)
	}
	return p
}

package settings

import "countersign.dev/internal/notify"

// This file owns the settings of Web Push.

// Push says how phones hear of requests while the authenticator is closed.
type Push struct {
	PushOff     bool        `name:"push-off" group:"Push" help:"Send no push messages: phones see requests when the authenticator is opened."`
	PushContact PushContact `name:"push-contact" group:"Push" placeholder:"CONTACT" help:"Where the people of push services can reach you: mailto:… or https://… (default: mailto: and owner-email)."`
	PushHost    []PushHost  `name:"push-host" group:"Push" placeholder:"HOST" help:"Push service beside those of the known browsers: push.example.com, push.example.com:8443 or *.example.com. One in a private network needs egress-allow too."`
}

// PushContact is an address for people.
type PushContact string

// UnmarshalText takes what push services take.
func (c *PushContact) UnmarshalText(text []byte) error {
	*c = PushContact(text)
	return notify.CheckContact(string(text))
}

// PushHost is the host of a push service.
type PushHost string

// UnmarshalText refuses what would let messages go anywhere (T-40).
func (h *PushHost) UnmarshalText(text []byte) error {
	*h = PushHost(text)
	return notify.CheckHost(string(text))
}

// Settings returns them as the sender takes them; owner is who is named when nobody else is.
func (p Push) Settings(owner Email) notify.Settings {
	out := notify.Settings{Off: p.PushOff, Contact: string(p.PushContact)}
	if out.Contact == "" {
		out.Contact = "mailto:" + string(owner)
	}
	for _, host := range p.PushHost {
		out.Hosts = append(out.Hosts, string(host))
	}
	return out
}

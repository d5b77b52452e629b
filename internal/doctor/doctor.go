// Package doctor owns `countersign doctor`: it looks at an installation as it stands and says of each part whether it is well, and what to do
// where it is not. It changes nothing.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/store"
)

// Level says how bad a finding is.
type Level string

// Levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // works now
	Fail Level = "fail" // does not work
)

// Finding is the outcome of one check: a sentence that says what to do unless all is well.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Says  string `json:"says"`
}

// Gateway sends messages.
type Gateway interface {
	Name() string
	// Check reports why nothing could be sent by it now, and its time in whole seconds, or zero.
	Check(ctx context.Context) (clock time.Time, err error)
}

// Config is what is looked at.
type Config struct {
	DB       *store.Store
	Master   []byte
	Former   [][]byte
	Private  map[string]string // what only its owner may read: path by what it is
	URLs     map[string]string // public addresses by surface
	Retain   store.Retention   // how long what is over stays
	Egress   egress.Policy     // where requests to addresses that others choose may go
	Gateways []Gateway
	Client   *http.Client // for the public addresses
	Now      func() time.Time
}

const (
	patience    = 10 * time.Second    // for one check
	clockMax    = 2 * time.Second     // between our clock and another
	certWarn    = 21 * 24 * time.Hour // before a certificate ends
	overdueWarn = time.Minute         // of the oldest due job
	overdueFail = 15 * time.Minute
	staysWarn   = 24 * time.Hour // beyond what the settings say
)

// Examine runs every check.
func Examine(ctx context.Context, c Config) []Finding {
	x := &examination{Config: c, ctx: ctx, found: []Finding{}}
	x.database()
	x.keys()
	x.files()
	x.addresses()
	x.gateways()
	x.say("egress", OK, "Callbacks, logos and push messages may go to %s.", x.Egress)
	x.callbacks()
	x.jobs()
	x.retention()
	return x.found
}

// Worst returns the worst level of findings.
func Worst(found []Finding) Level {
	worst := OK
	for _, f := range found {
		if f.Level == Fail || f.Level == Warn && worst == OK {
			worst = f.Level
		}
	}
	return worst
}

type examination struct {
	Config
	ctx   context.Context
	found []Finding
}

func (x *examination) say(check string, level Level, format string, args ...any) {
	x.found = append(x.found, Finding{check, level, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")})
}

func (x *examination) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(x.ctx, patience)
}

func (x *examination) database() {
	ctx, cancel := x.within()
	defer cancel()
	f, err := x.DB.Diagnose(ctx)
	if err != nil {
		x.say("database", Fail, "It does not answer (%v): start it, or correct its address in database.", err)
		return
	}
	x.say("database", OK, "%s %s answers; it has %d MiB.", f.Engine, f.Version, f.Bytes>>20)
	for _, unsafe := range f.Unsafe {
		x.say("durability", Fail, "%s.", unsafe)
	}
	if len(f.Unsafe) == 0 {
		x.say("durability", OK, "What is acknowledged is on the disk.")
	}
	if !f.Clock.IsZero() {
		x.clock("the database", f.Clock, Fail, 0)
	}
}

// clock compares ours with another one, which is known but for slack.
func (x *examination) clock(whose string, theirs time.Time, level Level, slack time.Duration) {
	if d := x.Now().Sub(theirs).Abs(); d > clockMax+slack {
		x.say("clock", level, "It is %s away from that of %s: run a time service on both, because codes are bound to the time.", d.Round(time.Second), whose)
		return
	}
	x.say("clock", OK, "It agrees with that of %s.", whose)
}

// keys opens the data keys, and one value of every column.
func (x *examination) keys() {
	ctx, cancel := x.within()
	defer cancel()
	stored, err := x.DB.StoredKeys(ctx)
	if err != nil {
		x.say("keys", Fail, "The data keys cannot be read (%v): see the check of the database.", err)
		return
	}
	ring, err := seal.Open(x.Master, stored, x.Former...)
	if err != nil {
		x.say("keys", Fail, "%v.", err)
		return
	}
	if _, err := seal.Open(x.Master, stored); err != nil {
		x.say("keys", Warn, "Some data keys still need the former master key: finish with countersign keys rotate-master.")
	}
	for _, column := range x.DB.SealedColumns() {
		values, err := x.DB.SealedValues(ctx, column, nil, 1)
		for _, v := range values {
			if err == nil && len(v.Sealed) > 0 {
				_, err = ring.Open(v.Context, v.Sealed)
			}
		}
		if err != nil {
			x.say("keys", Fail, "%v: restore a backup of the database that belongs to this master key.", err)
			return
		}
	}
	inUse := 0
	for _, k := range stored {
		if k.Purpose == seal.PurposeSeal && k.RetiredAt.IsZero() {
			inUse++
		}
	}
	if inUse > 1 {
		x.say("keys", Warn, "A rotation was begun and not ended: run countersign keys rotate again.")
		return
	}
	x.say("keys", OK, "The master key opens the data keys, and they open what is sealed.")
}

func (x *examination) files() {
	for _, what := range slices.Sorted(maps.Keys(x.Private)) {
		path := x.Private[what]
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			x.say("files", Fail, "The %s %s is not there: correct the setting that names it.", what, path)
		case err != nil:
			x.say("files", Fail, "The %s cannot be looked at (%v): run doctor as the user that serve runs as.", what, err)
		case !private(info):
			x.say("files", Fail, "The %s %s may be read by everybody on this machine: run chmod o-rwx %s.", what, path, path)
		default:
			x.say("files", OK, "The %s is private.", what)
		}
	}
}

// addresses asks each public address from here, as a person's browser would.
func (x *examination) addresses() {
	for _, surface := range slices.Sorted(maps.Keys(x.URLs)) {
		ctx, cancel := x.within()
		x.address(ctx, surface, x.URLs[surface])
		cancel()
	}
}

func (x *examination) address(ctx context.Context, surface, url string) {
	check := surface + "-url"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		x.say(check, Fail, "%s is not an address: correct it.", url)
		return
	}
	res, err := x.Client.Do(req)
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		x.say(check, Fail, "%s has a certificate that is not good (%v): renew it, or name the right one in tls-cert.", url, certificate.Err)
		return
	case err != nil:
		x.say(check, Fail, "%s cannot be reached from here (%v): start serve, or look at the proxy and the name's address.", url, err)
		return
	}
	res.Body.Close()
	if res.StatusCode >= 500 {
		x.say(check, Fail, "%s answers %s: look at the log of serve, or of the proxy in front.", url, res.Status)
		return
	}
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		if left := res.TLS.PeerCertificates[0].NotAfter.Sub(x.Now()); left < certWarn {
			x.say(check, Warn, "The certificate of %s ends in %d days: renew it; serve reads it again by itself.", url, int(left.Hours()/24))
			return
		}
	}
	x.say(check, OK, "%s answers.", url)
}

func (x *examination) gateways() {
	for _, g := range x.Gateways {
		ctx, cancel := x.within()
		began := x.Now()
		clock, err := g.Check(ctx)
		cancel()
		if err != nil {
			x.say("gateway", Fail, "%s takes no messages (%v): look at its address and credentials, and at the provider's status.", g.Name(), err)
			continue
		}
		x.say("gateway", OK, "%s takes messages.", g.Name())
		if !clock.IsZero() {
			// Its answer was made while we asked, and tells no part of a second. Which of the two is wrong nobody can know from here.
			x.clock(g.Name(), clock, Warn, x.Now().Sub(began)+time.Second)
		}
	}
}

func (x *examination) callbacks() {
	ctx, cancel := x.within()
	defer cancel()
	struck, err := x.DB.StruckCallbacks(ctx)
	if err != nil {
		x.say("callbacks", Fail, "They cannot be read (%v): see the check of the database.", err)
		return
	}
	for _, k := range struck {
		if !k.DisabledAt.IsZero() {
			x.say("callbacks", Warn, "The callback of %q was disabled at %s: set its address again with countersign app callback, within 24 hours nothing is lost.", k.Name, k.DisabledAt.Format(time.RFC3339))
		} else {
			x.say("callbacks", Warn, "The callback of %q has %d of 3 strikes: look at its tries in the console before it is disabled.", k.Name, k.Strikes)
		}
	}
	if len(struck) == 0 {
		x.say("callbacks", OK, "None is disabled or has strikes.")
	}
}

func (x *examination) jobs() {
	ctx, cancel := x.within()
	defer cancel()
	now := x.Now()
	b, err := x.DB.Backlog(ctx, now)
	if err != nil {
		x.say("jobs", Fail, "They cannot be read (%v): see the check of the database.", err)
		return
	}
	var overdue time.Duration
	if !b.Oldest.IsZero() {
		overdue = now.Sub(b.Oldest)
	}
	switch {
	case overdue > overdueFail:
		x.say("jobs", Fail, "The oldest has been due for %s: start serve, or look at its log.", overdue.Round(time.Second))
	case overdue > overdueWarn:
		x.say("jobs", Warn, "The oldest has been due for %s: look whether serve has enough processor time.", overdue.Round(time.Second))
	default:
		x.say("jobs", OK, "%d wait, %d are held for a callback address.", b.Waiting, b.Held)
	}
}

// retention looks whether something is still there that should have left long ago. A callback that is being tried holds its approval for some days.
func (x *examination) retention() {
	ctx, cancel := x.within()
	defer cancel()
	oldest, err := x.DB.Oldest(ctx)
	if err != nil {
		x.say("retention", Fail, "What has stayed longest cannot be read (%v): see the check of the database.", err)
		return
	}
	well := true
	for _, kind := range []struct {
		setting string
		keep    time.Duration
		oldest  time.Time
	}{
		{"retain-approvals", x.Retain.Approvals, oldest.Approvals},
		{"retain-codes", x.Retain.Codes, oldest.Codes},
		{"retain-messages", x.Retain.Messages, oldest.Messages},
		{"retain-activities", x.Retain.Activities, oldest.Activities},
		{"retain-audit", x.Retain.Audit, oldest.Audit},
	} {
		if kind.keep == 0 || kind.oldest.IsZero() {
			continue
		}
		if late := x.Now().Sub(kind.oldest) - kind.keep; late > staysWarn {
			well = false
			x.say("retention", Warn, "%s lags %d days behind: start serve, which removes what is over in small batches, and look again tomorrow; if the days do not become fewer, look for \"forget\" and \"shorten\" in its log.",
				kind.setting, int(late.Hours()/24))
		}
	}
	if well {
		x.say("retention", OK, "Nothing has stayed a day longer than the settings say.")
	}
}

func private(info os.FileInfo) bool {
	return info.Mode().Perm()&0o007 == 0 || info.IsDir() && info.Mode().Perm()&0o002 == 0
}

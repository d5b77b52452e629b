// Package terminal is the authenticator as a command: it enrols this machine as a device, shows what is asked, signs the
// answers and shows one-time codes.
//
// It owns the state file (state.go), the client of the device API (client.go), and the actions on both: enrolment
// (enrol.go), approvals (approval.go, watch.go) and codes (code.go). Printing is left to cmd/countersign.
//
// The device's key never leaves the state file. What is signed is built here from what the person is shown, never taken
// from the server as bytes, and always for the one authenticator that the state file names.
package terminal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"countersign.dev/client/receipt"
)

// Config says how to make a Terminal.
type Config struct {
	StateFile     string           // required
	Authenticator string           // address of the authenticator; "" means the one in the state file
	HTTPClient    *http.Client     // nil means http.DefaultClient; redirects are never followed
	Now           func() time.Time // nil means time.Now
}

// Terminal is one device. It is used by one goroutine at a time; several processes may share a state file.
type Terminal struct {
	file  stateFile
	asked string // the authenticator asked for, "" for the one in the state
	http  http.Client
	now   func() time.Time
	wait  func(context.Context, time.Duration) error
	idle  time.Duration // after this silence a stream counts as lost

	base    string // the authenticator in use
	state   state  // as last read or written
	session string // cookie last received
}

// New returns a Terminal. It reads nothing yet. The error is a sentence about the address.
func New(c Config) (*Terminal, error) {
	if c.Authenticator != "" {
		if _, err := parseOrigin(c.Authenticator); err != nil {
			return nil, err
		}
	}
	t := &Terminal{
		file:  stateFile(c.StateFile),
		asked: c.Authenticator,
		http:  *cmp.Or(c.HTTPClient, http.DefaultClient),
		now:   c.Now,
		wait:  wait,
		idle:  time.Minute, // three of the server's heartbeats
	}
	t.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if t.now == nil {
		t.now = time.Now
	}
	return t, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// ServerTime returns the time by the authenticator's clock, as far as it is known.
func (t *Terminal) ServerTime() time.Time {
	return t.now().Add(time.Duration(t.state.ClockOffset) * time.Millisecond)
}

// open reads the state of an enrolled device and checks that it belongs to the authenticator asked for.
func (t *Terminal) open() error {
	if err := t.read(); err != nil {
		return err
	}
	if t.state.Device == "" {
		return errors.New("this terminal is not enrolled yet; see: countersign device enroll --help")
	}
	return t.choose(t.asked)
}

// choose settles which authenticator to talk to. wanted is "" when the person named none.
func (t *Terminal) choose(wanted string) error {
	kept := t.state.Authenticator
	switch {
	case wanted == "" && kept == "":
		return errors.New("which authenticator? Add --authenticator URL, for example --authenticator http://localhost:8302")
	case wanted == "" || kept != "" && sameServer(wanted, kept):
		t.base = kept
	case t.state.Device == "": // nothing is bound to the old one
		t.base = wanted
	default:
		return fmt.Errorf("%s holds a device of %s, not of %s; name another file with --state", t.file, kept, wanted)
	}
	return nil
}

func (t *Terminal) read() (err error) {
	t.state, err = t.file.load()
	return err
}

// update changes the state file under its lock, starting from what the file holds now: another process may have
// written since it was read.
func (t *Terminal) update(change func(*state) error) (err error) {
	t.state, err = t.file.update(change)
	return err
}

// challenge fetches a challenge and checks that the server is the one it was taken for. Under loopback names the
// server's own spelling is adopted, because that is what must be signed.
func (t *Terminal) challenge(ctx context.Context) (string, error) {
	var out struct{ Challenge, Origin string }
	if err := t.call(ctx, http.MethodGet, "/challenge", nil, &out); err != nil {
		return "", err
	}
	if !sameServer(t.base, out.Origin) {
		return "", fmt.Errorf("%s says that its address is %q; nothing was signed. If that address is right, use it: --authenticator URL",
			t.base, receipt.CleanText(out.Origin))
	}
	t.base = out.Origin
	return out.Challenge, nil
}

// signIn opens a new session with a proof of the device's key.
func (t *Terminal) signIn(ctx context.Context) error {
	challenge, err := t.challenge(ctx)
	if err != nil {
		return err
	}
	device := t.state.Device
	proof, err := t.state.sign(receipt.SessionProof{Challenge: challenge, Device: device, Origin: t.base}.Canonical())
	if err != nil {
		return err
	}
	in := map[string]string{"device": device, "challenge": challenge, "proof": proof}
	if err := t.call(ctx, http.MethodPost, "/sessions", in, nil); err != nil {
		return err
	}
	return t.update(func(s *state) error {
		if s.Device != device {
			return fmt.Errorf("%s was enrolled anew by another process; try again", t.file)
		}
		s.Authenticator, s.Session = t.base, t.session
		return nil
	})
}

// callSignedIn is call for a signed-in device. A session that the server no longer knows is renewed once.
func (t *Terminal) callSignedIn(ctx context.Context, method, path string, in, out any) error {
	return t.renewing(ctx, func() error { return t.call(ctx, method, path, in, out) })
}

// renewing runs request again after a new session, once, when the first run was not signed in.
func (t *Terminal) renewing(ctx context.Context, request func() error) error {
	err := request()
	if !hasCode(err, "not-signed-in") {
		return err
	}
	if err := t.signIn(ctx); err != nil {
		return err
	}
	return request()
}

// observe learns the clock offset from a server time in Unix milliseconds, taken as the middle of the request.
func (t *Terminal) observe(serverTime int64, start, end time.Time) error {
	if serverTime == 0 {
		return nil
	}
	offset := serverTime - (start.UnixMilli()+end.UnixMilli())/2
	if change := offset - t.state.ClockOffset; -500 < change && change < 500 {
		return nil // not worth a write
	}
	return t.update(func(s *state) error {
		s.ClockOffset = offset
		return nil
	})
}

package deviceapi

import (
	"encoding/base32"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/web"
)

// This file owns what a device does before it is signed in: enrolment, and signing in.

var errInvalid = fault.New(fault.Invalid, "invalid", "The request is not valid.")

// maxID bounds the ids that are looked up; ours are shorter.
const maxID = 64

// isID reports whether text could be one of our ids: a database is not asked for what no id can be.
func isID(text string) bool {
	other := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
	}
	return text != "" && len(text) <= maxID && strings.IndexFunc(text, other) < 0
}

func (s *surface) challenge(w http.ResponseWriter, _ *http.Request) error {
	return web.JSON(w, http.StatusOK, struct {
		Challenge string `json:"challenge"`
		Origin    string `json:"origin"`
	}{s.Devices.Challenge(), s.PublicURL})
}

// startEnrollment answers alike for every number that could exist (INV-9).
func (s *surface) startEnrollment(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Phone string `json:"phone"`
	}
	if err := web.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	e, err := s.Devices.StartPhone(r.Context(), in.Phone)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusAccepted, struct {
		Enrollment string `json:"enrollment"`
		ExpiresAt  int64  `json:"expires_at"`
	}{e.ID, e.ExpiresAt.Unix()})
}

// lookTicket tells a ticket's holder what it would add. The account is masked: a link can be seen by others before it is used.
func (s *surface) lookTicket(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Ticket string `json:"ticket"`
	}
	if err := web.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	info, err := s.Devices.LookTicket(r.Context(), in.Ticket)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct {
		Application string `json:"application"`
		Account     string `json:"account"`
		ExpiresAt   int64  `json:"expires_at"`
	}{info.Application, mask(info.Account), info.ExpiresAt.Unix()})
}

// mask keeps the first letter and the domain of a mail address: a•••@example.com.
func mask(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return "•••"
	}
	_, first := utf8.DecodeRuneInString(address)
	return address[:first] + "•••" + address[at:]
}

// confirmRequest is what an enrolment ends with.
type confirmRequest struct {
	Ticket     string `json:"ticket"`
	Enrollment string `json:"enrollment"`
	Code       string `json:"code"`
	Challenge  string `json:"challenge"`
	Device     struct {
		Name      string `json:"name"`
		Platform  string `json:"platform"`
		PublicKey string `json:"public_key"`
	} `json:"device"`
	Proof string `json:"proof"`
}

func (in confirmRequest) check() error {
	switch {
	case in.Ticket != "" && (in.Enrollment != "" || in.Code != ""), in.Ticket == "" && (in.Enrollment == "" || in.Code == ""):
		return errInvalid.Saying("Give either a ticket, or an enrollment and its code.")
	case in.Ticket == "" && !isID(in.Enrollment):
		return device.ErrCodeExpired
	}
	return nil
}

func (s *surface) confirmEnrollment(w http.ResponseWriter, r *http.Request) error {
	var in confirmRequest
	if err := web.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	enrolled, err := s.Devices.Confirm(r.Context(), device.Confirmation{
		Ticket: in.Ticket, Enrollment: in.Enrollment, Code: in.Code, Challenge: in.Challenge, Proof: in.Proof,
		Device: device.NewDevice{Name: in.Device.Name, Platform: in.Device.Platform, PublicKey: in.Device.PublicKey},
	})
	if err != nil {
		return err
	}
	type newGrant struct {
		grantView
		Secret string `json:"secret"` // base32 without padding, told this once
	}
	out := struct {
		Device string     `json:"device"`
		Grants []newGrant `json:"grants"`
	}{Device: enrolled.Device.ID, Grants: []newGrant{}}
	for _, g := range enrolled.Grants {
		out.Grants = append(out.Grants, newGrant{viewGrant(g), base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(g.Secret)})
	}
	s.setCookie(w, enrolled.Session)
	return web.JSON(w, http.StatusCreated, out)
}

func (s *surface) signIn(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Device    string `json:"device"`
		Challenge string `json:"challenge"`
		Proof     string `json:"proof"`
	}
	if err := web.Decode(w, r, maxBody, &in); err != nil {
		return err
	}
	if !isID(in.Device) {
		return device.ErrNotSignedIn
	}
	session, err := s.Devices.OpenSession(r.Context(), in.Device, in.Challenge, in.Proof)
	if err != nil {
		return err
	}
	s.setCookie(w, session)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// signOut ends the session here and its event streams. Who is signed out already gets the same answer.
func (s *surface) signOut(w http.ResponseWriter, r *http.Request) error {
	d, err := s.Devices.Session(r.Context(), cookie(r))
	if err == nil {
		err = s.Devices.CloseSession(r.Context(), cookie(r))
		s.wakeStreams(d)
	}
	if err != nil && !errors.Is(err, device.ErrNotSignedIn) {
		return err
	}
	s.setCookie(w, "")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// register leads who opens an application's registration token to the page that enrols by a ticket. A token that is worth nothing leads
// people there too, where they are told what to do.
func (s *surface) register(w http.ResponseWriter, r *http.Request) error {
	t, err := s.Devices.Register(r.Context(), r.URL.Query().Get("token"))
	to := "/enroll#" + t.Words
	switch {
	case err != nil && fault.KindOf(err) != fault.Internal && fault.KindOf(err) != fault.Unavailable && strings.Contains(r.Header.Get("Accept"), "text/html"):
		to = "/enroll#used"
	case err != nil:
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// This file owns enrolment: a device is added, proved once, and only then the account is protected and the person signed in. Until
// then the person is a secondfactor.Enrolling, which opens these pages and no others.

package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// patience is how long a page waits for the provider.
const patience = 4 * time.Second

// enrolPage is what the page shows.
type enrolPage struct {
	Email, Phone string
	CountryCode  string
	Countries    []country
	Unreachable  bool   // the provider did not answer
	BadPhone     string // what is wrong with the number
	Proving      bool   // a code is to show that the number is theirs, before anything else
	Texted       bool   // it is on its way
	NotTexted    string // why it could not be sent
	BadCode      string // what is wrong with the one that was typed
	Registered   bool   // the provider knows the number
	Ready        bool   // a device is there already; it can be asked
	Words        []string
	Link         string
	QR           template.HTML
	Minutes      int // the ticket is good for
}

// startEnrolment begins to set up the factor, or begins again: with the proof of the number, and after that with a ticket for a device. What does
// not work out is shown by the page, with a way to try again; the account is kept in any case.
func (a *App) startEnrolment(w http.ResponseWriter, r *http.Request, u user, next string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	if !u.Proved {
		if !a.texted(u) {
			_ = a.textCode(ctx, r, u) // the page says that none is on its way
		}
		u.AuthyID = 0 // nothing is asked of a number, and nothing told of it, before it is proved
		a.guard.Enrol(w, r, person(u), next)
		return
	}
	if u.AuthyID == 0 {
		id, err := a.config.Provider.AddUser(ctx, client.NewUser{Email: u.Email, CountryCode: u.CountryCode, Phone: u.Phone})
		if err == nil {
			if err := a.users.register(ctx, u.ID, id); err != nil {
				a.fail(w, r, err)
				return
			}
			u.AuthyID = id
		} else {
			a.warn(r, "number not registered", u, err)
		}
	}
	if u.AuthyID != 0 {
		if err := a.together(u, "enrol", func() error { return a.makeTicket(ctx, u) }); err != nil {
			a.warn(r, "no ticket made", u, err)
		}
	}
	a.guard.Enrol(w, r, person(u), next)
}

// makeTicket gets a ticket by which one device can be added, unless there is one already, which can be asked. A ticket proves no phone number,
// so it is made only after the number is proved: otherwise somebody could put a device of theirs beside another person's, just by signing up with that
// person's number.
func (a *App) makeTicket(ctx context.Context, u user) error {
	status, err := a.config.Provider.User(ctx, u.AuthyID)
	if err != nil || len(status.Devices) > 0 {
		return err
	}
	ticket, err := a.config.Provider.CreateEnrollmentTicket(ctx, u.AuthyID)
	if err != nil {
		return err
	}
	a.keepTicket(u.ID, ticket)
	return nil
}

// together does what gets a ticket, once for all who ask for the same at the same time. With each ticket the provider ends the one before, and of two answers
// that are on their way nobody could tell which is newer: so whoever clicks twice waits for what the first click gets.
func (a *App) together(u user, what string, get func() error) error {
	_, err, _ := a.getting.Do(fmt.Sprint(what, " ", u.ID, " ", u.AuthyID), func() (any, error) { return nil, get() })
	return err
}

// keepTicket keeps a ticket in memory only: whoever has it can become the second factor.
func (a *App) keepTicket(userID string, ticket client.Ticket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, t := range a.tickets {
		if !a.config.Clock().Before(t.ExpiresAt) {
			delete(a.tickets, id)
		}
	}
	a.tickets[userID] = ticket
}

// ticket returns a user's ticket, if it is still good.
func (a *App) ticket(userID string) (client.Ticket, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, found := a.tickets[userID]
	return t, found && a.config.Clock().Before(t.ExpiresAt)
}

func (a *App) forgetTicket(userID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tickets, userID)
}

// enrolling loads the account of whoever sets up a factor. One that is protected by now must log in instead.
func (a *App) enrolling(w http.ResponseWriter, r *http.Request, who secondfactor.Enrolling) (user, bool) {
	u, err := a.users.byID(r.Context(), who.User())
	switch {
	case err != nil:
		a.fail(w, r, err)
		return user{}, false
	case u.Protected:
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return user{}, false
	}
	return u, true
}

func (a *App) showEnrol(w http.ResponseWriter, r *http.Request, who secondfactor.Enrolling) {
	if u, ok := a.enrolling(w, r, who); ok {
		a.renderEnrol(w, r, u, enrolPage{})
	}
}

// renderEnrol fills in the page: a ticket, or a device that is there already, or what is in the way of both.
func (a *App) renderEnrol(w http.ResponseWriter, r *http.Request, u user, page enrolPage) {
	page.Email, page.Phone, page.Registered = u.Email, u.ShownPhone(), u.AuthyID != 0
	page.Countries = countries()
	if page.CountryCode == "" {
		page.CountryCode = u.CountryCode
	}
	if t, found := a.ticket(u.ID); found {
		page.Link, page.Words = t.Link, strings.Split(t.Words, "-")
		page.Minutes = int((t.ExpiresAt.Sub(a.config.Clock()) + time.Minute - 1) / time.Minute)
		var err error
		if page.QR, err = drawQR(t.Link); err != nil {
			a.fail(w, r, err)
			return
		}
	} else if !u.Proved {
		page.Proving, page.Texted = true, a.texted(u)
	} else if page.Registered {
		has, err := a.hasDevice(r.Context(), u)
		page.Ready, page.Unreachable = has, err != nil
	} else {
		page.Unreachable = true
	}
	code := http.StatusOK
	if page.BadPhone != "" || page.BadCode != "" || page.NotTexted != "" {
		code = http.StatusUnprocessableEntity
	}
	if page.Proving && !page.Texted && page.NotTexted == "" {
		page.NotTexted = "We could not send a code to " + page.Phone + ". Your account is kept. Check the number, and try again."
		if !u.TextedAt.IsZero() {
			page.NotTexted = "The code that we sent to " + page.Phone + " has run out."
		}
	}
	a.render(w, r, code, "enrol", page)
}

// hasDevice asks the provider whether a device can be asked.
func (a *App) hasDevice(ctx context.Context, u user) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, err := a.config.Provider.User(ctx, u.AuthyID)
	return err == nil && len(status.Devices) > 0, err
}

// enrolAgain tries again: with a new code or a new ticket, and with another number if one was typed.
func (a *App) enrolAgain(w http.ResponseWriter, r *http.Request, who secondfactor.Enrolling) {
	u, ok := a.enrolling(w, r, who)
	if !ok {
		return
	}
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	if typed := form.Get("phone"); typed != "" {
		code, phone, sound := readPhone(form.Get("country_code"), typed)
		if !sound {
			a.renderEnrol(w, r, u, enrolPage{BadPhone: "Enter a phone number with its country.", CountryCode: form.Get("country_code")})
			return
		}
		switch err := a.users.setPhone(r.Context(), u.ID, code, phone); {
		case errors.Is(err, errMoved):
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		case err != nil:
			a.fail(w, r, err)
			return
		}
		u.CountryCode, u.Phone, u.AuthyID, u.Proved, u.TextedAt = code, phone, 0, false, time.Time{}
		a.forgetTicket(u.ID)
	}
	if !u.Proved {
		if err := a.textCode(r.Context(), r, u); err != nil {
			a.renderEnrol(w, r, u, enrolPage{NotTexted: whyNotTexted(err)})
			return
		}
		u.TextedAt = a.config.Clock()
	}
	a.startEnrolment(w, r, u, "/account")
}

// enrolStatus tells the page whether a device has been added. The page then asks it for the proof.
func (a *App) enrolStatus(w http.ResponseWriter, r *http.Request, who secondfactor.Enrolling) {
	u, ok := a.enrolling(w, r, who)
	if !ok {
		return
	}
	_, ticket := a.ticket(u.ID)
	var device bool
	if u.AuthyID != 0 && (u.Proved || ticket) {
		var err error
		if device, err = a.hasDevice(r.Context(), u); err != nil {
			http.Error(w, "The provider did not answer.", http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]bool{"device": device, "ticket": ticket})
}

package console

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"rsc.io/qr"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/tenant/operator"
)

// This file owns the two pages on which an operator is set up.

// setupForm is the data of template "setup".
type setupForm struct {
	Link, Email                                 string
	LinkError, EmailError, PasswordError, Error string
}

// setupCode is the data of template "setup_code".
type setupCode struct {
	operator.Draft
	Groups []string // the secret in fours, for people who type it
	QR     qrCode
	Error  string
}

func (c *console) setupPage(w http.ResponseWriter, _ *http.Request) error {
	return c.renderSetup(w, http.StatusOK, setupForm{})
}

func (c *console) renderSetup(w http.ResponseWriter, status int, f setupForm) error {
	return c.render(w, status, "setup", view{Title: "Set up an operator", Page: f})
}

func (c *console) setupBegin(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, "link", "email", "password")
	if err != nil {
		return err
	}
	if err := c.allow(r); err != nil {
		return err
	}
	draft, err := c.Operators.Begin(r.Context(), form["link"], form["email"], form["password"])
	again := setupForm{Link: form["link"], Email: form["email"]}
	switch {
	case err == nil:
		return c.renderSetupCode(w, http.StatusOK, draft, "")
	case errors.Is(err, operator.ErrSetup):
		again.LinkError = operator.ErrSetup.Detail
		return c.renderSetup(w, http.StatusGone, again)
	case errors.Is(err, operator.ErrEmail):
		again.EmailError = operator.ErrEmail.Detail
	case errors.Is(err, operator.ErrInvited):
		again.EmailError = operator.ErrInvited.Detail
	case errors.Is(err, operator.ErrPassword):
		again.PasswordError = operator.ErrPassword.Detail
	default:
		return err
	}
	return c.renderSetup(w, http.StatusUnprocessableEntity, again)
}

func (c *console) renderSetupCode(w http.ResponseWriter, status int, d operator.Draft, problem string) error {
	code, err := newQR(d.URI)
	if err != nil {
		return err
	}
	page := setupCode{Draft: d, QR: code, Error: problem}
	for secret := d.Secret; secret != ""; {
		n := min(4, len(secret))
		page.Groups = append(page.Groups, secret[:n])
		secret = secret[n:]
	}
	return c.render(w, status, "setup_code", view{Title: "Add the app", Page: page})
}

func (c *console) setupConfirm(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, "sealed", "code")
	if err != nil {
		return err
	}
	if err := c.allow(r); err != nil {
		return err
	}
	token, err := c.Operators.Finish(r.Context(), form["sealed"], form["code"])
	switch {
	case err == nil:
		return c.enter(w, r, token, "/")
	case errors.Is(err, operator.ErrSetupCode):
		draft, err := c.Operators.Resume(form["sealed"])
		if err != nil {
			return err
		}
		return c.renderSetupCode(w, http.StatusUnprocessableEntity, draft, operator.ErrSetupCode.Detail)
	case fault.KindOf(err) == fault.Internal, fault.KindOf(err) == fault.Unavailable:
		return err
	}
	// The link was spent or ended meanwhile, or somebody else has the address.
	return c.renderSetup(w, http.StatusGone, setupForm{Error: fault.DetailOf(err)})
}

// qrCode is a QR code as one path of an SVG, with the quiet zone that readers want (ISO/IEC 18004 section 6.3.8).
type qrCode struct {
	Size int
	Path string
}

const quietZone = 4 // modules

func newQR(text string) (qrCode, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return qrCode{}, fmt.Errorf("draw QR code: %w", err)
	}
	var path strings.Builder
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			from := x
			for code.Black(x, y) {
				x++
			}
			if x > from {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", from+quietZone, y+quietZone, x-from, x-from)
			}
		}
	}
	return qrCode{Size: code.Size + 2*quietZone, Path: path.String()}, nil
}

package authyapi

import (
	"fmt"
	"strconv"

	"countersign.dev/internal/tenant"
)

// This file owns what an application tells and asks about a user's data: contract sections 3.4 to 3.7.

func (a *API) updateUser(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	if err := a.Tenants.SetEmail(c.ctx, c.app, u, c.params.String("email")); err != nil {
		return nil, err
	}
	return done{"User was updated successfully", true}, nil
}

func (a *API) registerActivity(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	activity := tenant.Activity{Type: c.params.String("type"), Data: c.params.JSON("data"), IP: c.userIP()}
	if err := a.Tenants.RegisterActivity(c.ctx, c.app, u, activity); err != nil {
		return nil, err
	}
	return done{"Activity was created.", true}, nil
}

// userIP is the end user's address as the application tells it; older libraries call it ip.
func (c call) userIP() string {
	if ip := c.params.String("user_ip"); ip != "" {
		return ip
	}
	return c.params.String("ip")
}

// qrSize is a QR code's width in pixels.
const qrSize, qrSizeMin, qrSizeMax = 300, 100, 1000

func (a *API) createSecret(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	size, err := c.integer("qr_size", qrSize)
	if err != nil {
		return nil, err
	}
	if size < qrSizeMin || size > qrSizeMax {
		return nil, errParameter.Saying(fmt.Sprintf("Invalid parameter: qr_size - %d to %d are expected", qrSizeMin, qrSizeMax))
	}
	made, err := a.Codes.NewGeneric(c.ctx, c.app, u, c.params.String("label"))
	if err != nil {
		return nil, err
	}
	code, err := qrPNG(made.URI, int(size))
	if err != nil {
		return nil, err
	}
	return struct {
		Label   string `json:"label"`
		Issuer  string `json:"issuer"`
		QRCode  string `json:"qr_code"`
		Message string `json:"message"`
		Success bool   `json:"success"`
	}{made.Label, made.Issuer, code, "Secret was created.", true}, nil
}

func (a *API) exportSecret(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	secret, code, err := a.Codes.ExportGeneric(c.ctx, c.app, u)
	if err != nil {
		return nil, err
	}
	return struct {
		Secret  string `json:"secret"`
		OTP     string `json:"otp"`
		Success bool   `json:"success"`
	}{secret, code, true}, nil
}

func (a *API) exportPhone(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	if err := a.Tenants.ExportPhone(c.ctx, c.app, u); err != nil {
		return nil, err
	}
	return struct {
		PhoneNumber string `json:"phone_number"`
		CountryCode string `json:"country_code"` // a text here, and only here
		E164        string `json:"e164"`
		UpdatedAt   string `json:"updated_at"`
	}{tenant.Grouped(u.National()), strconv.Itoa(u.CountryCode), u.Phone, isoTime(u.CreatedAt)}, nil
}

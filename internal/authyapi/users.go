package authyapi

import (
	"errors"
	"strconv"

	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/tenant"
)

// This file owns users: contract sections 3.1 to 3.3, 3.8 and 3.9, and enrolment tickets.

func (a *API) addUser(c call) (any, error) {
	u, err := a.Tenants.AddUser(c.ctx, c.app, tenant.NewUser{
		Email: c.params.String("user", "email"), CountryCode: c.params.String("user", "country_code"), Phone: c.params.String("user", "cellphone"),
	})
	if err != nil {
		return nil, err
	}
	// Exactly one number in the whole answer: one client greps it (contract section 1.6).
	type user struct {
		ID int64 `json:"id"`
	}
	return struct {
		Message string `json:"message"`
		User    user   `json:"user"`
		Success bool   `json:"success"`
	}{"User created successfully.", user{u.AuthyID}, true}, nil
}

func (a *API) userStatus(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	grants, err := a.Devices.OfUser(c.ctx, u.ID)
	if err != nil {
		return nil, err
	}
	removed, err := a.Devices.RemovedOfUser(c.ctx, u.ID)
	if err != nil {
		return nil, err
	}
	reset, err := a.resetOf(c, u)
	if err != nil {
		return nil, err
	}
	return statusAnswer(u, grants, removed, reset), nil
}

func (a *API) removeUser(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	if err := a.Tenants.RemoveUser(c.ctx, c.app, u.AuthyID); err != nil {
		return nil, err
	}
	return done{"User removed from application", true}, nil
}

// errDevice is a device that no user of the application has.
var errDevice = fault.New(fault.NotFound, "device-unknown", "Device not found")

func (a *API) removeDevice(c call) (any, error) {
	id, err := strconv.ParseInt(c.r.PathValue("device"), 10, 64)
	if err != nil {
		return nil, errDevice
	}
	err = a.Devices.RemoveGrantOf(c.ctx, c.app, id)
	if errors.Is(err, device.ErrGrant) {
		return nil, errDevice
	}
	if err != nil {
		return nil, err
	}
	return done{"Device was deleted", true}, nil
}

func (a *API) createTicket(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	t, err := a.Devices.NewTicket(c.ctx, c.app, u)
	if err != nil {
		return nil, err
	}
	return ticketAnswer(t, "Enrollment ticket was created."), nil
}

func ticketAnswer(t device.Ticket, message string) any {
	type ticket struct {
		Link      string `json:"link"`
		Words     string `json:"words"`
		ExpiresAt string `json:"expires_at"`
	}
	return struct {
		Ticket  ticket `json:"enrollment_ticket"`
		Message string `json:"message"`
		Success bool   `json:"success"`
	}{ticket{t.Link, t.Words, isoTime(t.ExpiresAt)}, message, true}
}

// deviceName is how Authy clients know a platform (contract section 3.2).
func deviceName(platform string) string {
	switch platform {
	case "android", "iphone", "ipad":
		return platform
	default:
		return "authy_chrome"
	}
}

// osType is the same in the longer descriptions of a device.
func osType(platform string) string {
	switch platform {
	case "android", "iphone", "ipad":
		return platform
	default:
		return "desktop"
	}
}

// registrationMethod is how a grant was proved, in the contract's words; a ticket has none there.
func registrationMethod(method string) *string {
	if method == device.MethodSMS {
		return &method
	}
	return nil
}

// registrationStatus tells what became of a registration by token (contract section 3.8).
func (a *API) registrationStatus(c call) (any, error) {
	name, err := c.required("custom_user_id")
	if err != nil {
		return nil, err
	}
	found, err := a.Devices.Registration(c.ctx, c.app, name)
	if err != nil {
		return nil, err
	}
	type registration struct {
		AuthyID      int64  `json:"authy_id"`
		CustomUserID string `json:"custom_user_id"`
		Status       string `json:"status"`
	}
	status := "pending"
	if found.Completed {
		status = "completed"
	}
	return struct {
		Registration registration `json:"registration"`
		Message      string       `json:"message"`
		Success      bool         `json:"success"`
	}{registration{found.AuthyID, name, status}, "Registration status.", true}, nil
}

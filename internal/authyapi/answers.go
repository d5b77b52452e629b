package authyapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// This file owns answers: the JSON shapes of contract sections 3 to 5 in the order that some clients rely on.

// done is an answer that only says so.
type done struct {
	Message string `json:"message"`
	Success bool   `json:"success"`
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := encodeJSON(v)
	if err != nil {
		panic(err) // our own types always encode
	}
	h := w.Header()
	h.Set("Content-Type", "application/json;charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone is told nothing
}

// encodeJSON encodes without white space. The vertical bar is escaped, because one client splits answers at it (contract section 1.6).
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(bytes.TrimSuffix(b.Bytes(), []byte("\n")), []byte("|"), []byte(`\u007c`)), nil
}

// isoTime is ISO 8601 in UTC with whole seconds.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func isoTimeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := isoTime(t)
	return &s
}

// hash encodes fields as an object in their order; nil is null.
type hash []receipt.Field

// MarshalJSON implements json.Marshaler.
func (h hash) MarshalJSON() ([]byte, error) {
	if h == nil {
		return []byte("null"), nil
	}
	b := []byte{'{'}
	for i, f := range h {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := encodeJSON(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := encodeJSON(f.Value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

type detailedDevice struct {
	DeviceType           string  `json:"device_type"`
	OSType               string  `json:"os_type"`
	RegistrationDeviceID *int64  `json:"registration_device_id"`
	RegistrationMethod   *string `json:"registration_method"`
	DeviceID             int64   `json:"device_id"`
	LastSyncDate         int64   `json:"last_sync_date"`
	CreationDate         int64   `json:"creation_date"`
	PublicKey            string  `json:"public_key"` // ours: so that the application can pin it
	Name                 string  `json:"name"`       // ours: what its owner calls it, for "approve on …"
}

type status struct {
	AuthyID         int64            `json:"authy_id"`
	Confirmed       bool             `json:"confirmed"`
	Registered      bool             `json:"registered"`
	CountryCode     int              `json:"country_code"`
	PhoneNumber     string           `json:"phone_number"`
	Email           string           `json:"email"`
	Devices         []string         `json:"devices"`
	HasHardToken    bool             `json:"has_hard_token"`
	AccountDisabled bool             `json:"account_disabled"`
	DetailedDevices []detailedDevice `json:"detailed_devices"`
	DeletedDevices  []detailedDevice `json:"deleted_devices"`
	Reset           *resetAnswer     `json:"reset,omitempty"` // ours: the user lost everything and starts anew, unless it is stopped
}

func statusAnswer(u tenant.User, grants, removed []device.Grant, reset *resetAnswer) any {
	s := status{
		AuthyID: u.AuthyID, Confirmed: u.Confirmed, Registered: len(grants) > 0, CountryCode: u.CountryCode, PhoneNumber: u.MaskedPhone(), Email: u.Email,
		Devices: []string{}, DetailedDevices: []detailedDevice{}, DeletedDevices: []detailedDevice{}, Reset: reset,
	}
	for _, g := range grants {
		s.Devices = append(s.Devices, deviceName(g.Device.Platform))
		s.DetailedDevices = append(s.DetailedDevices, detailedDeviceOf(g))
	}
	for _, g := range removed {
		s.DeletedDevices = append(s.DeletedDevices, detailedDeviceOf(g))
	}
	return struct {
		Status  status `json:"status"`
		Message string `json:"message"`
		Success bool   `json:"success"`
	}{s, "User status.", true}
}

func detailedDeviceOf(g device.Grant) detailedDevice {
	return detailedDevice{
		DeviceType: "authy", OSType: osType(g.Device.Platform), RegistrationMethod: registrationMethod(g.Method), DeviceID: g.ID,
		LastSyncDate: g.Device.SeenAt.Unix(), CreationDate: g.CreatedAt.Unix(), PublicKey: g.Device.PublicKey, Name: g.Device.Name,
	}
}

// verifyDevice describes the device whose code matched (contract section 4.1); for a sent code everything but os_type is null.
type verifyDevice struct {
	City                  *string `json:"city"`
	Country               *string `json:"country"`
	ID                    *int64  `json:"id"`
	IP                    *string `json:"ip"`
	LastAccountRecoveryAt *int64  `json:"last_account_recovery_at"`
	LastSyncDate          *int64  `json:"last_sync_date"`
	OSType                string  `json:"os_type"`
	Region                *string `json:"region"`
	RegistrationCity      *string `json:"registration_city"`
	RegistrationCountry   *string `json:"registration_country"`
	RegistrationDate      *int64  `json:"registration_date"`
	RegistrationDeviceID  *int64  `json:"registration_device_id"`
	RegistrationIP        *string `json:"registration_ip"`
	RegistrationMethod    *string `json:"registration_method"`
	RegistrationRegion    *string `json:"registration_region"`
}

func verifyDeviceOf(grantID int64, d otp.Device) verifyDevice {
	seen, created := d.LastSeenAt.Unix(), d.CreatedAt.Unix()
	return verifyDevice{
		ID: &grantID, LastSyncDate: &seen, OSType: osType(d.Platform), RegistrationDate: &created, RegistrationMethod: registrationMethod(d.Method),
	}
}

type matchAnswer struct {
	Mode  tenant.MatchMode `json:"mode"`
	Value string           `json:"value"`
}

// matchOf returns the number for the application to show; nil when none is asked for.
func matchOf(a approval.Approval) *matchAnswer {
	if a.Match.Mode == tenant.MatchOff {
		return nil
	}
	return &matchAnswer{a.Match.Mode, a.Match.Value}
}

type approvalAnswer struct {
	AppName         string           `json:"_app_name"`
	AppSerialID     int64            `json:"_app_serial_id"`
	AuthyID         int64            `json:"_authy_id"`
	ID              string           `json:"_id"`
	UserEmail       string           `json:"_user_email"`
	AppID           string           `json:"app_id"`
	CreatedAt       string           `json:"created_at"`
	Notified        bool             `json:"notified"`
	ProcessedAt     *string          `json:"processed_at"`
	SecondsToExpire int64            `json:"seconds_to_expire"`
	Status          string           `json:"status"`
	UpdatedAt       string           `json:"updated_at"`
	UserID          string           `json:"user_id"`
	UUID            string           `json:"uuid"`
	HiddenDetails   *hash            `json:"hidden_details,omitempty"` // once answered
	Device          *answerDevice    `json:"device,omitempty"`         // once answered
	Cancelled       bool             `json:"cancelled,omitempty"`      // ours
	Match           *matchAnswer     `json:"match,omitempty"`          // ours
	Reason          string           `json:"reason,omitempty"`         // ours: why it was denied, as in the callback
	Receipt         *receipt.Receipt `json:"receipt,omitempty"`        // ours
}

// wireStatus is the word that old clients know: they have none for cancelled.
func wireStatus(s approval.Status) string {
	if s == approval.Cancelled {
		s = approval.Expired
	}
	return string(s)
}

func approvalAnswerOf(a approval.Approval) approvalAnswer {
	out := approvalAnswer{
		AppName: a.Content.Application, AppSerialID: a.AppSerial, AuthyID: a.AuthyID, ID: a.ID, UserEmail: a.UserEmail, AppID: a.AppID,
		CreatedAt: isoTime(a.CreatedAt), ProcessedAt: isoTimeOrNull(a.ProcessedAt), SecondsToExpire: a.Life, Status: wireStatus(a.Status),
		UpdatedAt: isoTime(a.UpdatedAt), UserID: a.UserID, UUID: a.UUID, Cancelled: a.Status == approval.Cancelled, Match: matchOf(a), Reason: a.Reason, Receipt: a.Receipt(),
	}
	if a.Answer != nil {
		hidden := hash(a.Hidden)
		out.HiddenDetails = &hidden
		out.Device = answerDeviceOf(a.Answer.Grant)
	}
	return out
}

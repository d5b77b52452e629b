package authyapi

import (
	"errors"
	"strconv"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/tenant"
)

// This file owns what a callback carries: contract section 6.2, and our receipt.

type callbackBody struct {
	AuthyID    int64            `json:"authy_id"`
	DeviceUUID string           `json:"device_uuid"` // a string: one client accepts nothing else
	Action     string           `json:"callback_action"`
	UUID       string           `json:"uuid"`
	Status     string           `json:"status"`
	Request    callbackRequest  `json:"approval_request"`
	Signature  string           `json:"signature"`
	Device     *answerDevice    `json:"device"`
	Receipt    *receipt.Receipt `json:"receipt"`
}

type callbackRequest struct {
	Transaction         transaction     `json:"transaction"`
	ExpirationTimestamp int64           `json:"expiration_timestamp"` // 0 = never
	Logos               []approval.Logo `json:"logos"`
	AppID               string          `json:"app_id"`
}

type transaction struct {
	Details           hash     `json:"details"`
	DeviceDetails     struct{} `json:"device_details"`
	DeviceGeolocation string   `json:"device_geolocation"`
	DeviceSigningTime int64    `json:"device_signing_time"`
	Encrypted         bool     `json:"encrypted"`
	Flagged           bool     `json:"flagged"`
	HiddenDetails     hash     `json:"hidden_details"`
	Message           string   `json:"message"`
	Reason            string   `json:"reason"`
	RequesterDetails  *string  `json:"requester_details"`
	Status            string   `json:"status"`
	UUID              string   `json:"uuid"`
	CreatedAtTime     int64    `json:"created_at_time"`
	CustomerUUID      string   `json:"customer_uuid"`
}

// answerDevice describes who answered, in callbacks and in the status of an answered request.
type answerDevice struct {
	City                  *string `json:"city"`
	Country               *string `json:"country"`
	ID                    int64   `json:"id"`
	IP                    *string `json:"ip"`
	Region                *string `json:"region"`
	EnabledUnlockMethods  string  `json:"enabled_unlock_methods"`
	LastUnlockMethodUsed  *string `json:"last_unlock_method_used"`
	LastUnlockDate        *int64  `json:"last_unlock_date"`
	LastAccountRecoveryAt *int64  `json:"last_account_recovery_at"`
	LastSyncDate          int64   `json:"last_sync_date"`
	MultideviceEnabled    bool    `json:"multidevice_enabled"`
	MultideviceUpdatedAt  *int64  `json:"multidevice_updated_at"`
	OSType                string  `json:"os_type"`
	RegistrationCity      *string `json:"registration_city"`
	RegistrationCountry   *string `json:"registration_country"`
	RegistrationDate      int64   `json:"registration_date"`
	RegistrationDeviceID  *int64  `json:"registration_device_id"`
	RegistrationIP        *string `json:"registration_ip"`
	RegistrationMethod    *string `json:"registration_method"`
	RegistrationRegion    *string `json:"registration_region"`
}

func answerDeviceOf(g device.Grant) *answerDevice {
	return &answerDevice{
		ID: g.ID, EnabledUnlockMethods: "none", LastSyncDate: g.Device.SeenAt.Unix(), MultideviceEnabled: true, OSType: osType(g.Device.Platform),
		RegistrationDate: g.CreatedAt.Unix(), RegistrationMethod: registrationMethod(g.Method),
	}
}

// CallbackBody returns the JSON that tells an application of a decision.
func CallbackBody(app tenant.Application, a approval.Approval) ([]byte, error) {
	if a.Answer == nil {
		return nil, errors.New("callback for an approval that nobody answered")
	}
	details := hash(a.Content.Details)
	if details == nil {
		details = hash{}
	}
	var expires int64
	if !a.ExpiresAt.IsZero() {
		expires = a.ExpiresAt.Unix()
	}
	return encodeJSON(callbackBody{
		AuthyID: a.AuthyID, DeviceUUID: strconv.FormatInt(a.Answer.Grant.ID, 10), Action: "approval_request_status", UUID: a.UUID, Status: string(a.Status),
		Request: callbackRequest{
			Transaction: transaction{
				Details: details, DeviceSigningTime: a.ProcessedAt.Unix(), HiddenDetails: hash(a.Hidden), Message: a.Content.Message,
				Reason: a.Reason, Flagged: a.Reason == approval.NotMe, Status: string(a.Status), UUID: a.UUID, CreatedAtTime: a.CreatedAt.Unix(), CustomerUUID: app.AccountID,
			},
			ExpirationTimestamp: expires, Logos: a.Logos, AppID: a.AppID,
		},
		Signature: a.Answer.Signature, Device: answerDeviceOf(a.Answer.Grant), Receipt: a.Receipt(),
	})
}

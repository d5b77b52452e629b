// This file owns what a callback says: reading it from a body or from a query.

package callback

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"countersign.dev/client/internal/details"
	"countersign.dev/client/receipt"
)

// The two statuses that mean something. Ignore any other.
const (
	Approved = "approved"
	Denied   = "denied"
)

// Event is a verified callback.
type Event struct {
	UUID     string           // of the approval: the key to match on
	Status   string           // [Approved] or [Denied]; any other text as it came, to be ignored and logged
	Action   string           // "approval_request_status"
	AuthyID  int64            // compare it with the user of your own record of the approval
	DeviceID string           // the device that answered: its id in the user's status, as decimal text
	Reason   string           // why it was denied, as in client.Approval
	Message  string           // what was asked
	Details  []receipt.Field  // what was shown, in the order of the callback: as created in a POST, sorted in a GET
	Hidden   []receipt.Field  // hidden details
	Receipt  *receipt.Receipt // proof of the decision, see [receipt.Receipt.Verify]; nil in a GET and from other senders
	Body     json.RawMessage  // the whole body of a POST, nil for a GET

	settle func(handled bool)
}

// Done ends the handling of an event that [Verifier.Verify] returned: with nil the callback is remembered and a copy of it
// is refused as [ErrReplayed]; with an error it is forgotten, so that the same request may come again. Until then a
// copy is refused as [ErrBusy]. [Verifier.Handler] calls it.
func (e Event) Done(err error) {
	if e.settle != nil {
		e.settle(err == nil)
	}
}

// eventFromBody reads the JSON of a POST.
func eventFromBody(body []byte) (Event, error) {
	var message struct {
		UUID       details.Text `json:"uuid"`
		Status     details.Text `json:"status"`
		Action     details.Text `json:"callback_action"`
		AuthyID    details.Text `json:"authy_id"`
		DeviceUUID details.Text `json:"device_uuid"`
		Request    struct {
			Transaction struct {
				Reason  details.Text   `json:"reason"`
				Message details.Text   `json:"message"`
				Details details.Object `json:"details"`
				Hidden  details.Object `json:"hidden_details"`
			} `json:"transaction"`
		} `json:"approval_request"`
		Receipt *receipt.Receipt `json:"receipt"`
	}
	if err := json.Unmarshal(body, &message); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	transaction := message.Request.Transaction
	event := Event{
		UUID: string(message.UUID), Status: string(message.Status), Action: string(message.Action), DeviceID: string(message.DeviceUUID),
		Reason: string(transaction.Reason), Message: string(transaction.Message), Details: transaction.Details, Hidden: transaction.Hidden,
		Receipt: message.Receipt, Body: body,
	}
	return event.identified(string(message.AuthyID))
}

// eventFromQuery reads the flattened form of a GET.
func eventFromQuery(query string) (Event, error) {
	const transaction = "approval_request[transaction]"
	event := Event{}
	var authyID string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		switch name {
		case "uuid":
			event.UUID = value
		case "status":
			event.Status = value
		case "callback_action":
			event.Action = value
		case "authy_id":
			authyID = value
		case "device_uuid":
			event.DeviceID = value
		case transaction + "[reason]":
			event.Reason = value
		case transaction + "[message]":
			event.Message = value
		default:
			event.Details = appendMember(event.Details, name, value, transaction+"[details][")
			event.Hidden = appendMember(event.Hidden, name, value, transaction+"[hidden_details][")
		}
	}
	return event.identified(authyID)
}

// appendMember appends a flattened member of a hash, when the name is one.
func appendMember(fields []receipt.Field, name, value, prefix string) []receipt.Field {
	name, found := strings.CutPrefix(name, prefix)
	if !found {
		return fields
	}
	return append(fields, receipt.Field{Name: strings.TrimSuffix(name, "]"), Value: value})
}

// identified fills in the authy_id. A callback that names no approval or no user could be matched with nothing.
func (e Event) identified(authyID string) (Event, error) {
	id, err := strconv.ParseInt(authyID, 10, 64)
	if err != nil || id <= 0 || e.UUID == "" {
		return Event{}, fmt.Errorf("%w: no uuid or authy_id", ErrMalformed)
	}
	e.AuthyID = id
	return e, nil
}

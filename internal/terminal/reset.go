// This file owns resets: somebody said that everything is lost and wants a new start without this device, which can stop that.

package terminal

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"countersign.dev/client/receipt"
)

// Reset is one that is under way for an account of this device.
type Reset struct {
	GrantID              int64
	Application, Account string
	AskedAt              time.Time
	DueAt                time.Time // zero before an operator allowed it
}

// Resets returns those that are under way.
func (t *Terminal) Resets(ctx context.Context) ([]Reset, error) {
	if err := t.open(); err != nil {
		return nil, err
	}
	var out struct {
		Resets []struct {
			Grant                int64
			Application, Account string
			AskedAt              int64 `json:"asked_at"`
			DueAt                int64 `json:"due_at"`
		}
	}
	if err := t.callSignedIn(ctx, http.MethodGet, "/grants", nil, &out); err != nil {
		return nil, err
	}
	var list []Reset
	for _, w := range out.Resets {
		r := Reset{GrantID: w.Grant, Application: receipt.CleanText(w.Application), Account: receipt.CleanText(w.Account), AskedAt: time.Unix(w.AskedAt, 0)}
		if w.DueAt != 0 {
			r.DueAt = time.Unix(w.DueAt, 0)
		}
		list = append(list, r)
	}
	return list, nil
}

// StopReset ends one, by its grant.
func (t *Terminal) StopReset(ctx context.Context, grantID int64) error {
	if err := t.open(); err != nil {
		return err
	}
	return t.callSignedIn(ctx, http.MethodDelete, "/grants/"+strconv.FormatInt(grantID, 10)+"/reset", nil, nil)
}

package client

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReset(t *testing.T) {
	c, requests := answering(t, 200, `{"reset":{"state":"allowed","asked_at":"2026-05-04T10:00:00Z","due_at":"2026-05-06T10:00:00Z"},"message":"Reset was asked for.","success":true}`)
	got, err := c.AskReset(t.Context(), 1635)
	want := Reset{State: ResetAllowed, AskedAt: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), DueAt: time.Date(2026, 5, 6, 10, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/onetouch/json/users/1635/reset"})
	c, requests = answering(t, 200, `{"message":"Reset was stopped.","success":true}`)
	if err := c.StopReset(t.Context(), 1635); err != nil {
		t.Error(err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/onetouch/json/users/1635/reset/stop"})
	c, requests = answering(t, 200, `{"enrollment_ticket":{"link":"http://localhost:8302/enroll#lusab-babad","words":"lusab-babad","expires_at":"2026-11-22T20:00:00Z"},"message":"User starts anew.","success":true}`)
	if ticket, err := c.FinishReset(t.Context(), 1635); err != nil || ticket.Words != "lusab-babad" {
		t.Errorf("%+v, %v", ticket, err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/onetouch/json/users/1635/reset/finish"})
	c, requests = answering(t, 200, `{"message":"Notice was sent.","success":true}`)
	if err := c.SendNotice(t.Context(), 1635, NoticeNumberChanged); err != nil {
		t.Error(err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/onetouch/json/users/1635/notices", ContentType: "application/json", Body: `{"notice":"number-changed"}`})
	for code, want := range map[string]error{"60901": ErrNoReset, "60902": ErrResetNotDue} {
		c, _ := answering(t, 409, `{"message":"No.","success":false,"errors":{"message":"No."},"error_code":"`+code+`"}`)
		if _, err := c.FinishReset(t.Context(), 1635); !errors.Is(err, want) || errors.Is(err, ErrNoSecret) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

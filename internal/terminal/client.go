// This file owns the HTTP client of the device API: one request, and the errors that come back.

package terminal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"countersign.dev/client/receipt"
)

const (
	cookieName     = "countersign_device"
	requestTimeout = 15 * time.Second
	maxResponse    = 1 << 20 // bytes
)

// Problem is an error that the authenticator told in its own words (RFC 9457).
type Problem struct {
	Code       string // last part of the problem's type, for example "code-wrong"
	Status     int    // HTTP status
	Detail     string // a sentence
	RetryAfter time.Duration
}

// advice says what to do next, where the server cannot know which program asked.
var advice = map[string]string{
	"code-wrong":    "Try again: countersign device enroll --code CODE",
	"code-expired":  "Have a new one sent: countersign device enroll --phone NUMBER",
	"second-device": "Ask the application for an enrolment link and run: countersign device enroll --ticket LINK",
	"not-signed-in": "The authenticator no longer knows this device. Enrol again: countersign device enroll --help",
	"bad-signature": "Nothing was decided. Update countersign, or answer on another device.",
	"key-in-use":    "Name a new file with --state and enrol again.",
}

func (p *Problem) Error() string {
	sentence := cmp.Or(p.Detail, http.StatusText(p.Status), "error")
	if !strings.ContainsAny(sentence[len(sentence)-1:], ".!?") {
		sentence += "."
	}
	if p.RetryAfter > 0 {
		sentence += fmt.Sprintf(" Try again in %d s.", int(p.RetryAfter.Seconds()))
	}
	return strings.TrimSpace(sentence + " " + advice[p.Code])
}

// hasCode reports whether err is a Problem of that code.
func hasCode(err error, code string) bool {
	var p *Problem
	return errors.As(err, &p) && p.Code == code
}

// Unreachable says that the authenticator gave no answer, or not a whole one.
type Unreachable struct {
	Address string
	Err     error
}

func (u *Unreachable) Error() string {
	reason := u.Err
	var wrapped *url.Error
	if errors.As(reason, &wrapped) {
		reason = wrapped.Err
	}
	if errors.Is(reason, context.DeadlineExceeded) {
		reason = fmt.Errorf("no answer within %d s", int(requestTimeout.Seconds()))
	}
	return fmt.Sprintf("cannot reach the authenticator at %s (%v); is it running, and is the address right?", u.Address, reason)
}

func (u *Unreachable) Unwrap() error { return u.Err }

// call makes one request of the device API and decodes a 2xx answer into out, unless out is nil. Errors are *Problem,
// *Unreachable, or the context's own.
func (t *Terminal) call(ctx context.Context, method, path string, in, out any) error {
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := t.send(limited, method, path, in)
	if err != nil {
		return t.unlessCanceled(ctx, err)
	}
	defer response.Body.Close()
	for _, cookie := range response.Cookies() {
		if cookie.Name == cookieName {
			t.session = cookie.Value
		}
	}
	if out == nil {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return t.unlessCanceled(ctx, &Unreachable{t.base, err})
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return t.foreign(response)
	}
	return nil
}

// unlessCanceled prefers the reason that the caller gave up to the error that followed from it.
func (t *Terminal) unlessCanceled(ctx context.Context, err error) error {
	return cmp.Or(ctx.Err(), err)
}

// send sends one request with the session's cookie. Only a 2xx answer comes back as a response.
func (t *Terminal) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(t.base, "/")+"/device/v1"+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, text/event-stream")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if session := t.state.Session; session != "" {
		request.AddCookie(&http.Cookie{Name: cookieName, Value: session})
	}
	response, err := t.http.Do(request)
	if err != nil {
		return nil, &Unreachable{t.base, err}
	}
	if response.StatusCode/100 != 2 {
		defer response.Body.Close()
		return nil, t.problem(response)
	}
	return response, nil
}

// problem reads an error answer.
func (t *Terminal) problem(response *http.Response) error {
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	var told struct {
		Type, Title, Detail string
		RetryAfter          int `json:"retry_after"`
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil || mediaType != "application/problem+json" || json.Unmarshal(raw, &told) != nil {
		return t.foreign(response)
	}
	header, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return &Problem{
		Code:       told.Type[strings.LastIndexByte(told.Type, '/')+1:],
		Status:     response.StatusCode,
		Detail:     receipt.CleanText(cmp.Or(told.Detail, told.Title)),
		RetryAfter: time.Duration(cmp.Or(told.RetryAfter, header)) * time.Second,
	}
}

// foreign is the error for an answer that an authenticator would not give: a proxy's page, or another server.
func (t *Terminal) foreign(response *http.Response) error {
	return &Unreachable{t.base, fmt.Errorf("it answered %s, but not as an authenticator does", response.Status)}
}

// This file owns the checks of an incoming callback and the HTTP handler around them.

package callback

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Errors of [Verifier.Verify], beside [ErrMalformed] and [ErrTooLarge], with the status a handler answers.
var (
	ErrMethod    = errors.New("callback: neither POST nor GET")                                                                                                                                   // 405
	ErrSignature = errors.New("callback: signature does not match (check that Keys holds the application API key and URL the address configured at the provider, or Secrets the webhook secret)") // 401
	ErrStale     = errors.New("callback: signed at no time near now")                                                                                                                             // 401
	ErrReplayed  = errors.New("callback: already handled")                                                                                                                                        // 200, nothing to do
	ErrBusy      = errors.New("callback: a copy is being handled")                                                                                                                                // 503
)

// DefaultWindow is how far a callback's time may be from now, either way, when a [Verifier] does not say.
const DefaultWindow = 5 * time.Minute

// Verifier checks callbacks. Fill in URL and Keys, or Secrets, share one Verifier for all requests, and do not copy it. It remembers handled
// callbacks in memory, one process for itself: behind several processes, let the handling be harmless when repeated, keyed by UUID.
type Verifier struct {
	// URL is this callback's address exactly as configured at the provider. It is never derived from the request, whose
	// headers anybody can send and whose scheme and host a proxy changes. Its query takes no part.
	URL string
	// Keys are the application API keys that may have signed: usually one, two while a key is being replaced. An empty
	// key is never used; without keys nothing verifies.
	Keys []string
	// Secrets are the application's webhook secrets (whsec_) or public keys (whpk_), usually one, two while they are being replaced. With any, a POST
	// is checked by its Standard Webhooks signature ([VerifyWebhook]), and Keys count for a GET only, which has none.
	Secrets []string
	// Window is how far the time in the nonce may be from now, either way; 0 means [DefaultWindow]. With a negative Window any nonce is
	// accepted, for senders whose nonce is no time; copies are then noticed for twice the default window only.
	Window time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives what [Verifier.Handler] refused and why; nil means nothing is logged. No key and no body is logged.
	Log *slog.Logger

	seen memory
}

// Verify checks a request's method, size, signature, freshness and novelty, in this order, and reads its event. The caller
// must call [Event.Done] when it has handled the event. An error (test with errors.Is) means that nothing is to be done.
func (v *Verifier) Verify(r *http.Request) (Event, error) {
	params, body, err := read(r)
	if err != nil {
		return Event{}, err
	}
	now := v.now()
	id, err := v.authentic(r, params, body, now)
	if err != nil {
		return Event{}, err
	}
	var event Event
	if r.Method == http.MethodGet {
		event, err = eventFromQuery(params)
	} else {
		event, err = eventFromBody(body)
	}
	if err != nil {
		return Event{}, err
	}
	if err := v.seen.reserve(id, now, 2*v.window()); err != nil {
		return Event{}, err
	}
	event.settle = func(handled bool) { v.seen.settle(id, handled) }
	return event, nil
}

// authentic returns what names a request that is signed and fresh. With Secrets a POST is named by the id of its event, so that another try is a
// copy of the first. Its other signature is not looked at then: the same request would have a second name, and be handled twice.
func (v *Verifier) authentic(r *http.Request, params string, body []byte, now time.Time) (callbackID, error) {
	if len(v.Secrets) > 0 && r.Method == http.MethodPost {
		id, err := VerifyWebhook(v.Secrets, r.Header, body, now, v.window())
		return identify(HeaderWebhookID, []byte(id)), err
	}
	nonce, sum, err := v.authenticate(r, params)
	if err != nil {
		return callbackID{}, err
	}
	if !v.fresh(nonce, now) {
		return callbackID{}, ErrStale
	}
	return identify(nonce, sum), nil
}

// read returns the signed parameters and, for a POST, the body.
func read(r *http.Request) (params string, body []byte, err error) {
	switch r.Method {
	case http.MethodGet:
		if len(r.URL.RawQuery) > maxBody {
			return "", nil, ErrTooLarge
		}
		return r.URL.RawQuery, nil, nil
	case http.MethodPost:
		if r.ContentLength > maxBody {
			return "", nil, ErrTooLarge
		}
		// One byte more than allowed, so that Canonical sees what is too large.
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			return "", nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		params, err = Canonical(body)
		return params, body, err
	default:
		return "", nil, ErrMethod
	}
}

// authenticate returns the nonce and the HMAC of a request that one of the keys signed. All keys are tried, whatever the
// outcome, and comparison takes the same time wherever the first difference is.
func (v *Verifier) authenticate(r *http.Request, params string) (nonce string, sum []byte, err error) {
	nonces, signatures := r.Header.Values(HeaderNonce), r.Header.Values(HeaderSignature)
	if len(nonces) != 1 || len(signatures) != 1 || nonces[0] == "" || len(nonces[0]) > 255 || strings.Contains(nonces[0], "|") {
		return "", nil, ErrSignature
	}
	sum, err = base64.StdEncoding.Strict().DecodeString(signatures[0])
	if err != nil {
		return "", nil, ErrSignature
	}
	matches := false
	for _, key := range v.Keys {
		if key != "" && hmac.Equal(mac(key, nonces[0], r.Method, signedURL(v.URL), params), sum) {
			matches = true
		}
	}
	if !matches {
		return "", nil, ErrSignature
	}
	return nonces[0], sum, nil
}

// fresh reports whether a nonce, "<unix seconds>" or "<unix seconds>.<digits>", is near enough to now.
func (v *Verifier) fresh(nonce string, now time.Time) bool {
	if v.Window < 0 {
		return true
	}
	seconds, digits, _ := strings.Cut(nonce, ".")
	if strings.Trim(seconds+digits, "0123456789") != "" || len(seconds) > 12 {
		return false
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && now.Sub(time.Unix(unix, 0)).Abs() <= v.window()
}

func (v *Verifier) window() time.Duration {
	if v.Window <= 0 {
		return DefaultWindow
	}
	return v.Window
}

func (v *Verifier) now() time.Time {
	if v.Now == nil {
		return time.Now()
	}
	return v.Now()
}

// Handler answers callbacks: it verifies each, hands its event to the function, and answers 200 when that returns nil. When
// the function returns an error the answer is 500, and the callback is forgotten, so that a next try is handled; a panic goes on to the HTTP server.
// After three answers in a row that are not 2xx the provider switches the callback off: return an error only
// for what a retry can mend, and nil for an event that concerns nothing you know. A copy of a handled callback gets 200 and is not
// handled again. Refusals are 400, 401, 405, 413 and 503 without detail; the detail goes to Log.
func (v *Verifier) Handler(handle func(context.Context, Event) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event, err := v.Verify(r)
		if err == nil {
			err = v.handle(r.Context(), event, handle)
		}
		status := statusOf(err)
		if err != nil && v.Log != nil {
			v.Log.LogAttrs(r.Context(), slog.LevelWarn, "callback not handled",
				slog.Int("status", status), slog.String("uuid", event.UUID), slog.Any("error", err))
		}
		switch status {
		case http.StatusOK:
			w.WriteHeader(status)
			return
		case http.StatusMethodNotAllowed:
			w.Header().Set("Allow", "POST, GET")
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, http.StatusText(status), status)
	})
}

// handle runs the caller's function and settles the event, also when the function panics.
func (v *Verifier) handle(ctx context.Context, event Event, handle func(context.Context, Event) error) error {
	err := errors.New("callback: handler panicked")
	defer func() { event.Done(err) }()
	err = handle(ctx, event)
	if err != nil {
		err = handlerError{err}
	}
	return err
}

// handlerError keeps an error of the caller's function from being taken for one of ours, which may mean another status.
type handlerError struct{ err error }

func (e handlerError) Error() string { return e.err.Error() }

// statusOf is the one place where errors become statuses.
func statusOf(err error) int {
	switch {
	case err == nil, errors.Is(err, ErrReplayed):
		return http.StatusOK
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest
	case errors.Is(err, ErrSignature), errors.Is(err, ErrStale):
		return http.StatusUnauthorized
	case errors.Is(err, ErrMethod):
		return http.StatusMethodNotAllowed
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrBusy):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

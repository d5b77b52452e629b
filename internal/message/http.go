package message

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// This file owns what gateways over HTTP share: the client, and what a status says.

// maxAnswer is how much of a gateway's answer is read.
const maxAnswer = 64 << 10

// newHTTPClient returns a client for an address that the operator chose: private ones are fine, redirects are not followed.
func newHTTPClient(cfg *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: cfg, TLSHandshakeTimeout: Patience,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: 60 * time.Second, MaxResponseHeaderBytes: 32 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange sends r and returns the status, the header and at most maxAnswer of the body.
func exchange(client *http.Client, r *http.Request) (int, http.Header, []byte, error) {
	res, err := client.Do(r)
	if err != nil {
		return 0, nil, nil, failed(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, nil, nil, failed(err)
	}
	return res.StatusCode, res.Header, body, nil
}

// statusFailure says what a status outside 2xx means; more is the gateway's own error number, or "".
func statusFailure(status int, header http.Header, more string) *Failure {
	f := &Failure{Reason: strings.TrimSpace(fmt.Sprint("HTTP status ", status, " ", http.StatusText(status))) + more}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.Reason += ": are the credentials right?"
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		f.Refused = true
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.After = retryAfter(header)
	}
	return f
}

// neverTells says of the status of an answer to a question whether asking again is of no use.
func neverTells(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
		return true
	}
	return false
}

// maxPause bounds what a gateway may ask for; it is asked again after that.
const maxPause = 10 * time.Minute

// retryAfter reads the header of that name, in seconds or as a date (RFC 9110 section 10.2.3). Without it the gateway is left alone for a second.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	wait := time.Second
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		if sent, err := http.ParseTime(header.Get("Date")); err == nil {
			wait = at.Sub(sent) // by the gateway's own clock
		}
	}
	return min(max(wait, time.Second), maxPause)
}

// clockOf is the sender's time, or zero.
func clockOf(header http.Header) time.Time {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at
}

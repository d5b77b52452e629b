// This file owns the configuration and the one way in which requests are sent, tried again and read.

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxAnswer  = 1 << 20                // bytes of an answer
	tryTimeout = 10 * time.Second       // of one try, without the time that a long poll asks for
	backOff    = 100 * time.Millisecond // before the first repetition; doubles
	pollEvery  = time.Second            // at most, where a server does not hold a long poll
	pollFor    = 50 * time.Second       // less than the minute after which many proxies give up
)

// Config says which server to call, and as whom.
type Config struct {
	// BaseURL is the address of the server's API, such as https://2fa.example.com. Use https unless the network between is your own.
	BaseURL string
	// APIKey is the application's key. It goes into a header, never into an address.
	APIKey string
	// HTTPClient sends the requests; nil means one of the client's own. It is copied, and the copy follows no redirects. A Timeout
	// in it cuts long polls short; each try has a time-out of its own anyway.
	HTTPClient *http.Client
	// Retries is how many times a call that may be repeated is repeated; 0 means 2, a negative number means never.
	Retries int
	// UserAgent is sent as it is; "" means "countersign-go".
	UserAgent string
}

// Client calls one server as one application. It may be used by many goroutines at once.
type Client struct {
	base      string
	apiKey    string
	http      *http.Client
	retries   int
	userAgent string
}

// New checks the configuration and returns a client. It sends nothing.
func New(config Config) (*Client, error) {
	base, err := url.Parse(config.BaseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("countersign: BaseURL must be http:// or https://, a host and perhaps a path")
	}
	if config.APIKey == "" {
		return nil, errors.New("countersign: APIKey is empty")
	}
	c := &Client{
		base:      strings.TrimRight(config.BaseURL, "/"),
		apiKey:    config.APIKey,
		http:      &http.Client{},
		retries:   config.Retries,
		userAgent: config.UserAgent,
	}
	if config.HTTPClient != nil {
		*c.http = *config.HTTPClient
	}
	// A redirect would carry the key to wherever an answer points.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.retries == 0 {
		c.retries = 2
	}
	if c.userAgent == "" {
		c.userAgent = "countersign-go"
	}
	return c, nil
}

// call is one request to make.
type call struct {
	name   string // for error texts
	method string
	path   string
	query  url.Values
	body   any // sent as JSON, nil for none

	repeatable bool          // sending it twice does no harm
	key        string        // Idempotency-Key
	wait       time.Duration // how long the server may hold the request
	bare       bool          // a success does not say so
}

// do sends a call, repeats it where that is safe, and decodes a success into out (nil when it says nothing). A failure that the
// server told is an [*Error].
func (c *Client) do(ctx context.Context, call call, out any) error {
	var payload []byte
	if call.body != nil {
		var err error
		if payload, err = json.Marshal(call.body); err != nil {
			return fmt.Errorf("countersign: %s: %w", call.name, err)
		}
	}
	deadline := time.Now().Add(call.wait)
	for try := 0; ; try++ {
		call.wait = max(0, time.Until(deadline)) // a repeated long poll waits for the rest
		again, err := c.try(ctx, call, payload, out)
		if err == nil {
			return nil
		}
		if !again || try >= c.retries || !sleep(ctx, try) {
			return fmt.Errorf("countersign: %s: %w", call.name, err)
		}
	}
}

// sleep waits before the next try, longer each time and never as long as other clients. It reports false when ctx ends first.
func sleep(ctx context.Context, try int) bool {
	longest := backOff << min(try, 6)
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// try sends a call once. It reports whether the call may be sent again after the error.
func (c *Client) try(ctx context.Context, call call, payload []byte, out any) (again bool, err error) {
	var connected atomic.Bool
	trying := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	trying, cancel := context.WithTimeout(trying, tryTimeout+call.wait)
	defer cancel()
	r, err := c.request(trying, call, payload)
	if err != nil {
		return false, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return call.repeatable || !connected.Load(), withoutURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return call.repeatable, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxAnswer {
		return false, errors.New("answer over 1 MiB")
	}
	if resp.StatusCode != http.StatusOK {
		failure, told := readError(resp, body)
		gateway := resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable
		return call.repeatable && gateway && !told, failure
	}
	return false, decode(body, out, call.bare)
}

// request builds one HTTP request.
func (c *Client) request(ctx context.Context, call call, payload []byte) (*http.Request, error) {
	address := c.base + call.path
	query := call.query
	if call.wait > 0 {
		query = url.Values{"wait": {strconv.Itoa(wholeSeconds(call.wait))}}
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, call.method, address, bytes.NewReader(payload))
	if err != nil {
		return nil, withoutURL(err)
	}
	if call.method == http.MethodGet && !call.repeatable {
		// net/http repeats a GET by itself on a broken connection unless it has a body that cannot be read again. An empty one
		// of unknown length is such a body, and nothing of it is sent. It never repeats a POST without an idempotency key.
		r.Body, r.GetBody = io.NopCloser(strings.NewReader("")), nil
	}
	r.Header.Set("X-Authy-API-Key", c.apiKey)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.userAgent)
	if payload != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if call.key != "" {
		r.Header.Set("Idempotency-Key", call.key)
	}
	return r, nil
}

// withoutURL takes the address out of an error of net/http, because addresses carry codes.
func withoutURL(err error) error {
	var failure *url.Error
	if errors.As(err, &failure) {
		return failure.Err
	}
	return err
}

// decode reads an answer of status 200. Success may be true or "true"; anything else is a failure, whatever the status says. A bare
// answer says nothing of it.
func decode(body []byte, out any, bare bool) error {
	var envelope struct {
		Success json.RawMessage `json:"success"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Errorf("answer is not JSON of the expected form: %w", err)
	}
	if success := string(envelope.Success); !bare && success != `true` && success != `"true"` {
		return errors.New("answer of status 200 does not say success")
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("answer is not JSON of the expected form: %w", err)
	}
	return nil
}

// wholeSeconds rounds a positive duration up, so that a short one never becomes 0, which means something else.
func wholeSeconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}

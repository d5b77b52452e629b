// This file owns phones without a browser, users made through the API, and the outbox.

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/internal/terminal"
)

// numbers gives each user of this run a phone number of his own. They are valid and belong to nobody.
var numbers atomic.Int64

func newNumber() string { return fmt.Sprintf("201555%04d", numbers.Add(1)%10000) }

// client is an application that holds key.
func (d *dev) client(key string) *client.Client {
	d.t.Helper()
	c, err := client.New(client.Config{BaseURL: d.APIURL, APIKey: key})
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// user is somebody at the provider.
type user struct {
	id            int64
	email, number string
}

// addUser registers somebody new.
func (d *dev) addUser(c *client.Client) user {
	d.t.Helper()
	u := user{number: newNumber()}
	u.email = "user" + u.number + "@example.com"
	var err error
	if u.id, err = c.AddUser(d.t.Context(), client.NewUser{Email: u.email, CountryCode: "1", Phone: u.number}); err != nil {
		d.t.Fatalf("add user: %v", err)
	}
	return u
}

// phone is a device without a browser: the terminal authenticator as a library.
type phone struct {
	*terminal.Terminal
	t    *testing.T
	file string // its state
}

// newPhone is a phone that is not enrolled yet.
func (d *dev) newPhone() *phone {
	d.t.Helper()
	file := filepath.Join(d.t.TempDir(), "device.json")
	t, err := terminal.New(terminal.Config{StateFile: file, Authenticator: d.AuthenticatorURL})
	if err != nil {
		d.t.Fatal(err)
	}
	return &phone{t, d.t, file}
}

// enrol adds a user to the phone by a ticket.
func (p *phone) enrol(c *client.Client, u user) terminal.Enrolment {
	p.t.Helper()
	ticket, err := c.CreateEnrollmentTicket(p.t.Context(), u.id)
	if err != nil {
		p.t.Fatalf("ticket: %v", err)
	}
	enrolment, err := p.RedeemTicket(p.t.Context(), ticket.Words, "test phone")
	if err != nil {
		p.t.Fatalf("redeem the ticket: %v", err)
	}
	return enrolment
}

// answer decides a request.
func (p *phone) answer(uuid, decision string) {
	p.t.Helper()
	if err := p.tryAnswer(p.t.Context(), uuid, decision); err != nil {
		p.t.Fatalf("%s: %v", decision, err)
	}
}

func (p *phone) tryAnswer(ctx context.Context, uuid, decision string) error {
	a, err := p.Approval(ctx, uuid)
	if err == nil {
		_, _, err = p.Answer(ctx, a, decision, "")
	}
	return err
}

// code is the app code of one account.
func (p *phone) code(account string) string {
	p.t.Helper()
	codes, err := p.Codes()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range codes {
		if c.Account == account {
			return c.Code
		}
	}
	p.t.Fatalf("no code for %s among %+v", account, codes)
	return ""
}

// message is one of the outbox.
type message struct {
	Time    time.Time `json:"time"`
	Channel string    `json:"channel"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	Body    string    `json:"body"`
	Code    string    `json:"code"`
}

// outbox returns what went out to an address, newest first.
func (d *dev) outbox(to string) ([]message, error) {
	r, err := http.NewRequestWithContext(d.t.Context(), "GET", d.OutboxURL+"?to="+url.QueryEscape(to), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		return nil, fmt.Errorf("the outbox answered %s", answer.Status)
	}
	var messages []message
	return messages, json.NewDecoder(answer.Body).Decode(&messages)
}

// sentCode waits until n messages went out to an American number, and returns the newest one's code.
func (d *dev) sentCode(number string, n int) (code string) {
	d.t.Helper()
	eventually(d.t, waitWithin, fmt.Sprintf("message %d to %s", n, number), func() error {
		messages, err := d.outbox("+1" + number)
		if err != nil {
			return err
		}
		if len(messages) < n {
			return fmt.Errorf("only %d messages", len(messages))
		}
		if code = messages[0].Code; code == "" {
			return errors.New("the message has no code")
		}
		return nil
	})
	return code
}

// reply is an answer of the API, as it came.
type reply struct {
	status int
	body   string
	json   map[string]any
}

// code is the error_code of the answer, "" for none.
func (r reply) code() string {
	code, _ := r.json["error_code"].(string)
	return code
}

// call makes one call of the API without the client library. Parameters go as a form for POST, else into the query.
func (d *dev) call(ctx context.Context, key, method, path string, parameters url.Values) (reply, error) {
	address, body := d.APIURL+path, io.Reader(nil)
	if method == http.MethodPost {
		body = strings.NewReader(parameters.Encode())
	} else if len(parameters) > 0 {
		address += "?" + parameters.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("X-Authy-API-Key", key)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return reply{}, err
	}
	got := reply{status: answer.StatusCode, body: string(text)}
	return got, json.Unmarshal(text, &got.json)
}

// mustCall is call for calls that must get an answer.
func (d *dev) mustCall(key, method, path string, parameters url.Values) reply {
	d.t.Helper()
	got, err := d.call(d.t.Context(), key, method, path, parameters)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// id writes an authy_id for a path.
func id(n int64) string { return strconv.FormatInt(n, 10) }

// Package secondfactortest is a provider in memory, for tests of applications that use package secondfactor. It speaks the
// wire contract to a real [client.Client], and a test plays the person: it approves, denies, reads text messages, and switches things off.
package secondfactortest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/receipt"
)

// What the provider knows of itself, as receipts name it.
const (
	APIKey        = "0123456789abcdefghijklmnopqrstuv"
	Origin        = "http://authenticator.test"
	Application   = "Owlgate"
	ApplicationID = "5833393871fc61111c76d84f"
)

// AppCode is the code that every enrolled device shows.
const AppCode = "7654321"

// GenericCode is the code of another authenticator app, for users who have one.
const GenericCode = "424242"

// Provider is a provider in memory. It is safe for concurrent use.
type Provider struct {
	mu        sync.Mutex // guards all below
	now       func() time.Time
	users     map[int64]*user
	approvals map[string]*Approval
	order     []string      // of approvals, by creation
	changed   chan struct{} // closed and replaced at each change
	keys      map[string]string
	down      bool
	refuse    map[string]string // operation -> error code
	match     string
	notMe     time.Duration // how long approvals are refused, 0 for not at all
	calls     map[string]int
	numbers   map[string]*number // by country code, a space and the number
	tickets   uint16             // drawn so far
}

type user struct {
	id                        int64
	email, phone, countryCode string
	devices                   []*Device
	generic                   bool   // has another authenticator app
	code                      string // sent by text message, for action
	action                    string
	sent                      int
	used                      map[string]bool
	reset                     *reset // nil when none is under way
	begun                     bool   // one was finished, and nothing was proved since
	ticket                    string // the words of the one that is good
}

// number is one that was to be proved.
type number struct {
	code string // that was texted; "" once it came back
	sent int
}

// reset is one that was asked for, and is due when an operator allowed it.
type reset struct{ asked, due time.Time }

// Device is an authenticator with a grant for one user.
type Device struct {
	ID        string
	Grant     int64
	Name      string // "" unless NameDevice gave one
	PublicKey string
	key       *ecdsa.PrivateKey
}

// Approval is an approval request as the provider has it. Read it only through [Provider.Approval].
type Approval struct {
	UUID    string
	AuthyID int64
	Message string
	Details []client.Field
	Hidden  []client.Field
	Logo    string
	Context receipt.Context
	Status  string // as in package client
	Match   string
	Created time.Time
	Life    time.Duration // 0 for ever

	Reason string // why it was denied, as in package client

	processed time.Time
	receipt   *receipt.Receipt
}

// New returns a provider without users.
func New() *Provider {
	return &Provider{
		now: time.Now, users: map[int64]*user{}, approvals: map[string]*Approval{}, changed: make(chan struct{}),
		keys: map[string]string{}, refuse: map[string]string{}, calls: map[string]int{}, numbers: map[string]*number{},
	}
}

// Client returns a client of this provider, without a network between.
func (p *Provider) Client(t testing.TB) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: "http://provider.test", APIKey: APIKey, HTTPClient: &http.Client{Transport: p}, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// RoundTrip serves a request of a client in the same process.
func (p *Provider) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// SetDown makes the provider hang on every request, as a dead network does, or answer again.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	p.wake()
}

// Refuse makes an operation ("create", "read", "verify", "sms", "ticket", "add") answer with an error code, "" for no longer.
func (p *Provider) Refuse(operation, code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse[operation] = code
}

// SetMatch makes every new approval carry a number to be typed, "" for none.
func (p *Provider) SetMatch(number string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match = number
}

// Calls is how often an operation was called.
func (p *Provider) Calls(operation string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[operation]
}

// AddUser registers a user.
func (p *Provider) AddUser(email, countryCode, phone string) (authyID int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.users {
		if u.phone == phone && u.countryCode == countryCode {
			return u.id
		}
	}
	u := &user{id: int64(1000 + len(p.users)), email: email, phone: phone, countryCode: countryCode, used: map[string]bool{}}
	p.users[u.id] = u
	return u.id
}

// RefuseNotMe makes the provider refuse approvals because the person said "not me", and say how long.
func (p *Provider) RefuseNotMe(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notMe = wait
}

// Exists reports whether the provider has a user.
func (p *Provider) Exists(authyID int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users[authyID] != nil
}

// AddDevice gives a user an authenticator.
func (p *Provider) AddDevice(authyID int64) *Device {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &Device{ID: rand.Text(), Grant: int64(2_000_000 + len(p.keys) + 1), PublicKey: receipt.EncodePublicKey(key.Public().(*ecdsa.PublicKey)), key: key}
	p.keys[d.ID] = d.PublicKey
	u := p.users[authyID]
	u.devices, u.begun, u.ticket = append(u.devices, d), false, ""
	p.wake()
	return d
}

// Ticket returns the words of the ticket that can make a user's next device, "" for none: a newer one ends it, and so does the device.
func (p *Provider) Ticket(authyID int64) (words string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users[authyID].ticket
}

// AllowReset plays the operator who allows a user a new start, which is due at a time.
func (p *Provider) AllowReset(authyID int64, due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[authyID].reset = &reset{asked: p.now(), due: due}
}

// NameDevice gives a user's first device a name.
func (p *Provider) NameDevice(authyID int64, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[authyID].devices[0].Name = name
}

// AddGeneric gives a user another authenticator app, which shows [GenericCode].
func (p *Provider) AddGeneric(authyID int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[authyID].generic = true
}

// Sent returns the last code sent to a user by text message, and how many were sent.
func (p *Provider) Sent(authyID int64) (code string, count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users[authyID].code, p.users[authyID].sent
}

// Texted returns the code that was last sent to prove a number, and how many were.
func (p *Provider) Texted(countryCode, phone string) (code string, count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.numbers[countryCode+" "+phone]; n != nil {
		return n.code, n.sent
	}
	return "", 0
}

// Last returns the newest approval of all users. It fails the test when there is none.
func (p *Provider) Last(t testing.TB) Approval {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		t.Fatal("no approval was requested")
	}
	return *p.at(p.order[len(p.order)-1])
}

// Approval returns an approval as it is now.
func (p *Provider) Approval(uuid string) Approval {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.at(uuid)
}

// Count is how many approvals were requested.
func (p *Provider) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.order)
}

// Approve answers a pending approval with yes, on the user's first device.
func (p *Provider) Approve(uuid string) { p.answer(uuid, client.StatusApproved, nil, nil) }

// ApproveAll answers every pending approval with yes.
func (p *Provider) ApproveAll() {
	p.mu.Lock()
	all := slices.Clone(p.order)
	p.mu.Unlock()
	for _, uuid := range all {
		p.Approve(uuid)
	}
}

// Deny answers a pending approval with no.
func (p *Provider) Deny(uuid string) { p.answer(uuid, client.StatusDenied, nil, nil) }

// DenyBecause answers with no for a reason: secondfactor.ReasonNotMe, say.
func (p *Provider) DenyBecause(uuid, reason string) {
	p.mu.Lock()
	p.approvals[uuid].Reason = reason
	p.mu.Unlock()
	p.Deny(uuid)
}

// Expire lets a pending approval run out.
func (p *Provider) Expire(uuid string) { p.answer(uuid, client.StatusExpired, nil, nil) }

// ApproveAs answers with yes from a device, after a change to what is signed: what a dishonest server could bring.
func (p *Provider) ApproveAs(uuid string, device *Device, change func(*receipt.Answer)) {
	p.answer(uuid, client.StatusApproved, device, change)
}

// ApproveWithoutReceipt answers with yes as an old server does.
func (p *Provider) ApproveWithoutReceipt(uuid string) {
	p.answer(uuid, client.StatusApproved, &Device{}, nil)
}

func (p *Provider) answer(uuid, status string, device *Device, change func(*receipt.Answer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.at(uuid)
	if a.Status != client.StatusPending {
		return
	}
	a.Status, a.processed = status, p.now()
	if devices := p.users[a.AuthyID].devices; device == nil && len(devices) > 0 {
		device = devices[0]
	}
	if device != nil && device.key != nil && status != client.StatusExpired {
		a.receipt = device.sign(a, change)
	}
	p.wake()
}

// sign makes the receipt that a device's answer leads to.
func (d *Device) sign(a *Approval, change func(*receipt.Answer)) *receipt.Receipt {
	decision := receipt.Approve
	if a.Status == client.StatusDenied {
		decision = receipt.Deny
	}
	content := receipt.Content{Application: Application, Message: a.Message, Details: a.Details, Context: a.Context}.Clean()
	answer := receipt.Answer{
		Origin: Origin, Application: ApplicationID, User: a.AuthyID, Device: d.ID, Approval: a.UUID,
		Shown: content.Digest(), Hidden: receipt.HiddenDigest(a.Hidden), Match: a.Match, Decision: decision,
		Nonce: base64.RawURLEncoding.EncodeToString(make([]byte, 16)), IssuedAt: a.Created.Unix(), ExpiresAt: a.Created.Add(a.Life).Unix(),
	}
	if decision == receipt.Deny {
		answer.Match = ""
	}
	if change != nil {
		change(&answer)
	}
	signature, err := receipt.Sign(d.key, answer.Canonical())
	if err != nil {
		panic(err)
	}
	return &receipt.Receipt{
		Answer: base64.RawURLEncoding.EncodeToString(answer.Canonical()), Signature: signature,
		Enrollment: receipt.Enrollment{Device: d.ID, Grant: d.Grant, PublicKey: d.PublicKey, Method: "ticket", EnrolledAt: a.Created.Unix()},
	}
}

// at is an approval as it stands. The caller holds the lock.
func (p *Provider) at(uuid string) *Approval {
	a := p.approvals[uuid]
	if a != nil && a.Status == client.StatusPending && a.Life > 0 && !p.now().Before(a.Created.Add(a.Life)) {
		a.Status, a.processed = client.StatusExpired, a.Created.Add(a.Life)
	}
	return a
}

// wake wakes the long polls. The caller holds the lock.
func (p *Provider) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// newUUID returns a random UUID.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

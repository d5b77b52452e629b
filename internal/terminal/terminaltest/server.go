// Package terminaltest is an authenticator in memory for tests of the terminal: it speaks the device API and checks every
// signature, and can be told to misbehave.
package terminaltest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/client/receipt"
)

const (
	// Code is the one code that every enrolment accepts.
	Code = "1234567"
	// Secret is the TOTP secret of every grant, that of RFC 6238 appendix B, in base32.
	Secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
)

// Server is the authenticator. Fields may be set before the first request.
type Server struct {
	URL    string // where it listens: http://127.0.0.1:PORT
	Origin string // what it says its address is: http://localhost:PORT
	Now    func() time.Time

	// Lie, when set, changes an approval before it is sent.
	Lie func(*Approval)
	// Refuse, when set, may answer a request itself, by returning true.
	Refuse func(http.ResponseWriter, *http.Request) bool

	mu         sync.Mutex
	challenges map[string]bool
	pending    map[string]int    // enrolment → tries left
	tickets    map[string]string // words → account
	keys       map[string]string // public key → device
	sessions   map[string]string // cookie → device
	grants     []grant
	resets     []reset
	approvals  []*Approval
	streams    map[chan string]bool
	requests   map[string]int
}

// Approval is one request for a decision, as sent.
type Approval struct {
	UUID        string          `json:"uuid"`
	Application application     `json:"application"`
	Account     string          `json:"account"`
	Logo        string          `json:"logo"`
	Message     string          `json:"message"`
	Details     []receipt.Field `json:"details"`
	CreatedAt   int64           `json:"created_at"`
	ExpiresAt   int64           `json:"expires_at"`
	Status      string          `json:"status"`
	Match       match           `json:"match"`
	Sign        terms           `json:"sign"`

	number string // to be typed
	answer string // decision and number of the accepted answer
}

type application struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type match struct {
	Mode   string `json:"mode"`
	Digits int    `json:"digits"`
}

type terms struct {
	Origin   string `json:"origin"`
	Device   string `json:"device"`
	User     int64  `json:"user"`
	Hidden   string `json:"hidden"`
	Nonce    string `json:"nonce"`
	IssuedAt int64  `json:"issued_at"`
}

type grant struct {
	ID          int64       `json:"id"`
	Application application `json:"application"`
	Account     string      `json:"account"`
	Digits      int         `json:"digits"`
	Period      int         `json:"period"`
	EnrolledAt  int64       `json:"enrolled_at"`
	Secret      string      `json:"secret,omitempty"`
}

type reset struct {
	Grant       int64  `json:"grant"`
	Application string `json:"application"`
	Account     string `json:"account"`
	AskedAt     int64  `json:"asked_at"`
	DueAt       int64  `json:"due_at"`
}

var shop = application{"5833393871fc61111c76d84f", "Example Shop"}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{
		Now: time.Now, challenges: map[string]bool{}, pending: map[string]int{}, tickets: map[string]string{}, keys: map[string]string{},
		sessions: map[string]string{}, streams: map[chan string]bool{}, requests: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /device/v1/challenge", s.challenge)
	mux.HandleFunc("POST /device/v1/enrollments", s.enrol)
	mux.HandleFunc("POST /device/v1/enrollments/confirm", s.confirm)
	mux.HandleFunc("POST /device/v1/sessions", s.signIn)
	mux.HandleFunc("GET /device/v1/grants", s.signedIn(s.listGrants))
	mux.HandleFunc("DELETE /device/v1/grants/{id}/reset", s.signedIn(s.stopReset))
	mux.HandleFunc("GET /device/v1/approvals", s.signedIn(s.list))
	mux.HandleFunc("GET /device/v1/approvals/{uuid}", s.signedIn(s.read))
	mux.HandleFunc("POST /device/v1/approvals/{uuid}/answer", s.signedIn(s.decide))
	mux.HandleFunc("GET /device/v1/events", s.signedIn(s.events))
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/device/v1")]++
		refuse := s.Refuse
		s.mu.Unlock()
		if refuse == nil || !refuse(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	s.URL = listener.URL
	s.Origin = strings.Replace(listener.URL, "127.0.0.1", "localhost", 1)
	t.Cleanup(func() {
		s.EndStreams("bye")
		listener.Close()
	})
	return s
}

// Ticket makes an enrolment ticket for an account and returns its words.
func (s *Server) Ticket(account string) string {
	const letters = "bdfghjklmnprstvz"
	raw := []byte(random(40))
	words := make([]string, 8)
	for i := range words {
		for _, b := range raw[i*5 : i*5+5] {
			words[i] += string(letters[b%16])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ticket := strings.Join(words, "-")
	s.tickets[ticket] = account
	return ticket
}

// Ask makes a pending approval for the enrolled device, tells its streams, and returns the uuid. number is the number to be
// typed, "" for none; change may be nil.
func (s *Server) Ask(message, number string, change func(*Approval)) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now().Unix()
	a := &Approval{
		UUID: newUUID(), Application: shop, Account: "ana@example.com", Message: message,
		Details: []receipt.Field{{Name: "Zone", Value: "a"}, {Name: "IP", Value: "192.0.2.7"}}, CreatedAt: now, ExpiresAt: now + 120,
		Status: "pending", Match: match{"off", 0}, number: number,
		Sign: terms{Origin: s.Origin, User: 1635, Hidden: receipt.HiddenDigest(nil), Nonce: random(16), IssuedAt: now},
	}
	for _, device := range s.keys {
		a.Sign.Device = device
	}
	if number != "" {
		a.Match = match{"type", len(number)}
	}
	if change != nil {
		change(a)
	}
	s.approvals = append([]*Approval{a}, s.approvals...)
	s.tell("approvals")
	return a.UUID
}

// Status returns the status of an approval.
func (s *Server) Status(uuid string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(uuid).Status
}

// Requests returns how many requests came, for example to "POST /sessions".
func (s *Server) Requests(route string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[route]
}

// SignOut forgets every session, as a restarted server may.
func (s *Server) SignOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// RemoveDevices forgets every device, as when each was removed elsewhere.
func (s *Server) RemoveDevices() {
	s.SignOut()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
}

// RemoveGrant takes a grant away and tells the streams.
func (s *Server) RemoveGrant(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, g := range s.grants {
		if g.Account == account {
			s.grants = append(s.grants[:i:i], s.grants[i+1:]...)
			break
		}
	}
	s.tell("grants")
}

// SetRefuse sets Refuse while the server runs.
func (s *Server) SetRefuse(refuse func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Refuse = refuse
}

// EndStreams ends every stream: with the event "bye", or, with "", by breaking the connection.
func (s *Server) EndStreams(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.streams {
		stream <- event
		delete(s.streams, stream)
	}
}

// tell sends an event to every stream. The caller holds mu.
func (s *Server) tell(event string) {
	for stream := range s.streams {
		stream <- event
	}
}

// find returns an approval, nil when there is none, after looking at the clock. The caller holds mu.
func (s *Server) find(uuid string) *Approval {
	for _, a := range s.approvals {
		if a.UUID == uuid {
			if a.Status == "pending" && a.ExpiresAt != 0 && s.Now().Unix() >= a.ExpiresAt {
				a.Status = "expired"
			}
			return a
		}
	}
	return nil
}

// Problem answers as the device API does when it refuses.
func Problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	writeJSON(w, map[string]any{"type": "/problems/" + code, "title": code, "status": status, "detail": detail})
}

func writeJSON(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// decode reads a body strictly, as the real server does.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil || r.Header.Get("Content-Type") != "application/json" {
		Problem(w, http.StatusBadRequest, "invalid", "The body is not what it should be")
		return false
	}
	return true
}

func newUUID() string {
	raw := make([]byte, 16)
	rand.Read(raw)
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

func random(size int) string {
	raw := make([]byte, size)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

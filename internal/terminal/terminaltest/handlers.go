// This file holds the handlers of the device API.

package terminaltest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"countersign.dev/client/receipt"
)

const cookieName = "countersign_device"

func (s *Server) challenge(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	challenge := random(16)
	s.challenges[challenge] = true
	writeJSON(w, map[string]string{"challenge": challenge, "origin": s.Origin})
}

// take uses a challenge up. The caller holds mu.
func (s *Server) take(challenge string) bool {
	known := s.challenges[challenge]
	delete(s.challenges, challenge)
	return known
}

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) {
	var in struct{ Phone string }
	if !decode(w, r, &in) {
		return
	}
	if !strings.HasPrefix(in.Phone, "+") || len(in.Phone) < 8 {
		Problem(w, http.StatusBadRequest, "invalid", "That is not a phone number in international form")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := random(12)
	s.pending[id] = 3
	w.WriteHeader(http.StatusAccepted)
	writeJSON(w, map[string]any{"enrollment": id, "expires_at": s.Now().Unix() + 600})
}

func (s *Server) confirm(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Enrollment, Code, Ticket, Challenge, Proof string
		Device                                     struct {
			Name, Platform string
			PublicKey      string `json:"public_key"`
		}
	}
	if !decode(w, r, &in) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := receipt.ParsePublicKey(in.Device.PublicKey)
	proof := receipt.EnrollmentProof{Challenge: in.Challenge, Origin: s.Origin, PublicKey: in.Device.PublicKey, Token: in.Enrollment + in.Ticket}
	if err != nil || !s.take(in.Challenge) || in.Device.Platform != "terminal" || in.Device.Name == "" ||
		receipt.VerifySignature(key, proof.Canonical(), in.Proof) != nil {
		Problem(w, http.StatusUnauthorized, "bad-signature", "The proof does not fit")
		return
	}
	account, ok := s.redeem(w, in.Enrollment, in.Code, in.Ticket)
	if !ok {
		return
	}
	device := s.keys[in.Device.PublicKey]
	if device == "" {
		device = random(9)
		s.keys[in.Device.PublicKey] = device
	}
	g := grant{ID: int64(len(s.grants) + 1), Application: shop, Account: account, Digits: 8, Period: 30, EnrolledAt: s.Now().Unix()}
	s.grants = append(s.grants, g)
	g.Secret = Secret
	s.newSession(w, device)
	w.WriteHeader(http.StatusCreated)
	writeJSON(w, map[string]any{"device": device, "grants": []grant{g}})
}

// redeem uses up a ticket or an enrolment's try, and answers by itself when it may not be used.
func (s *Server) redeem(w http.ResponseWriter, enrollment, code, ticket string) (account string, ok bool) {
	if ticket != "" {
		if account, ok = s.tickets[ticket]; !ok {
			Problem(w, http.StatusGone, "ticket-invalid", "This ticket cannot be used (any more)")
		}
		delete(s.tickets, ticket)
		return account, ok
	}
	switch {
	case s.pending[enrollment] == 0:
		Problem(w, http.StatusGone, "code-expired", "This code is not valid any more")
		return "", false
	case code != Code:
		s.pending[enrollment]--
		Problem(w, http.StatusUnauthorized, "code-wrong", "The code is wrong")
		return "", false
	}
	delete(s.pending, enrollment)
	return "ana@example.com", true
}

func (s *Server) newSession(w http.ResponseWriter, device string) {
	session := random(16)
	s.sessions[session] = device
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: session, Path: "/device/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	var in struct{ Device, Challenge, Proof string }
	if !decode(w, r, &in) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	proof := receipt.SessionProof{Challenge: in.Challenge, Device: in.Device, Origin: s.Origin}.Canonical()
	taken := s.take(in.Challenge)
	for public, device := range s.keys {
		key, err := receipt.ParsePublicKey(public)
		if taken && err == nil && device == in.Device && receipt.VerifySignature(key, proof, in.Proof) == nil {
			s.newSession(w, device)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	Problem(w, http.StatusUnauthorized, "not-signed-in", "This device is not signed in")
}

// signedIn lets only requests with a session through.
func (s *Server) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie(cookieName)
		s.mu.Lock()
		known := err == nil && s.sessions[cookie.Value] != ""
		s.mu.Unlock()
		if !known {
			Problem(w, http.StatusUnauthorized, "not-signed-in", "This device is not signed in")
			return
		}
		next(w, r)
	}
}

func (s *Server) listGrants(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	writeJSON(w, map[string]any{"grants": s.grants, "resets": s.resets, "device": map[string]string{}, "server_time": s.Now().UnixMilli()})
}

// AskReset lets somebody ask for a new start of the newest grant's account, and an operator allow it when due is not zero.
func (s *Server) AskReset(due int64) (grantID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grants[len(s.grants)-1]
	s.resets = append(s.resets, reset{g.ID, g.Application.Name, g.Account, s.Now().Unix(), due})
	return g.ID
}

func (s *Server) stopReset(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.resets, func(x reset) bool { return strconv.FormatInt(x.Grant, 10) == r.PathValue("id") })
	if at < 0 {
		Problem(w, http.StatusNotFound, "unknown", "No reset is under way for this user.")
		return
	}
	s.resets = slices.Delete(s.resets, at, at+1)
	w.WriteHeader(http.StatusNoContent)
}

// sent is the approval as it goes out.
func (s *Server) sent(a *Approval) Approval {
	sent := *a
	if s.Lie != nil {
		s.Lie(&sent)
	}
	return sent
}

func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := []Approval{}
	for _, a := range s.approvals {
		if s.find(a.UUID).Status == "pending" {
			pending = append(pending, s.sent(a))
		}
	}
	writeJSON(w, map[string]any{"approvals": pending, "server_time": s.Now().UnixMilli()})
}

func (s *Server) read(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(r.PathValue("uuid"))
	if a == nil {
		Problem(w, http.StatusNotFound, "unknown", "There is no such approval")
		return
	}
	writeJSON(w, s.sent(a))
}

func (s *Server) decide(w http.ResponseWriter, r *http.Request) {
	var in struct{ Decision, Match, Signature string }
	if !decode(w, r, &in) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(r.PathValue("uuid"))
	switch {
	case a == nil:
		Problem(w, http.StatusNotFound, "unknown", "There is no such approval")
	case !s.signedBy(a, in.Decision, in.Match, in.Signature):
		Problem(w, http.StatusUnauthorized, "bad-signature", "The signature does not fit")
	case a.Status == "expired":
		Problem(w, http.StatusGone, "expired", "This request has expired")
	case a.answer != "" && a.answer != in.Decision+in.Match:
		Problem(w, http.StatusConflict, "already-decided", "This request was decided already")
	case in.Decision == receipt.Approve && in.Match != a.number:
		a.Status, a.answer = "denied", "mismatch"
		Problem(w, http.StatusConflict, "number-mismatch", "The number does not match; the request is denied now")
	default:
		a.Status, a.answer = map[string]string{receipt.Approve: "approved", receipt.Deny: "denied", receipt.NotMe: "denied"}[in.Decision], in.Decision+in.Match
		writeJSON(w, map[string]any{"status": a.Status, "processed_at": s.Now().Unix()})
	}
}

// signedBy builds the signed bytes from the server's own row and checks the signature of the approval's device.
func (s *Server) signedBy(a *Approval, decision, match, signature string) bool {
	content := receipt.Content{Application: a.Application.Name, Message: a.Message, Details: a.Details, Logo: a.Logo}
	signed := receipt.Answer{
		Origin: a.Sign.Origin, Application: a.Application.ID, User: a.Sign.User, Device: a.Sign.Device, Approval: a.UUID,
		Shown: content.Digest(), Hidden: a.Sign.Hidden, Match: match, Decision: decision, Nonce: a.Sign.Nonce,
		IssuedAt: a.Sign.IssuedAt, ExpiresAt: a.ExpiresAt,
	}.Canonical()
	for public, device := range s.keys {
		key, err := receipt.ParsePublicKey(public)
		if err == nil && device == a.Sign.Device {
			return receipt.VerifySignature(key, signed, signature) == nil
		}
	}
	return false
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	stream := make(chan string, 64)
	s.mu.Lock()
	s.streams[stream] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, stream)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 1000\n\n: hello\n\n")
	flush := http.NewResponseController(w).Flush
	for flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case event := <-stream:
			if event == "" {
				panic(http.ErrAbortHandler)
			}
			fmt.Fprintf(w, "event: %s\ndata: {}\n\n", event)
			if event == "bye" {
				_ = flush()
				return
			}
		}
	}
}

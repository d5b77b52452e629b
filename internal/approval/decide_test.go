package approval

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

func TestDecide(t *testing.T) {
	off, typed := Match{Mode: tenant.MatchOff}, Match{Mode: tenant.MatchType, Value: "042"}
	for _, row := range []struct {
		match  Match
		answer Answer
		status Status
		reason string
	}{
		{off, Answer{Decision: Approve}, Approved, ""},
		{off, Answer{Decision: Deny}, Denied, ""},
		{typed, Answer{Decision: Approve, Match: "042"}, Approved, ""},
		{typed, Answer{Decision: Deny}, Denied, ""}, // nobody types a number to deny
		{typed, Answer{Decision: Deny, Match: "042"}, Denied, ""},
		{typed, Answer{Decision: Deny, Match: "999"}, Denied, ""},

		// T-11: anything but the very number ends the request.
		{typed, Answer{Decision: Approve, Match: ""}, Denied, "number-mismatch"},
		{typed, Answer{Decision: Approve, Match: "42"}, Denied, "number-mismatch"},
		{typed, Answer{Decision: Approve, Match: "0042"}, Denied, "number-mismatch"},
		{typed, Answer{Decision: Approve, Match: "043"}, Denied, "number-mismatch"},
		{typed, Answer{Decision: Approve, Match: "042 "}, Denied, "number-mismatch"},
		{typed, Answer{Decision: Approve, Match: "٠٤٢"}, Denied, "number-mismatch"},

		// Fails closed: no other word approves.
		{off, Answer{}, Denied, ""},
		{off, Answer{Decision: "approved"}, Denied, ""},
		{off, Answer{Decision: "Approve"}, Denied, ""},
	} {
		status, reason := decide(Approval{Match: row.match}, row.answer)
		if status != row.status || reason != row.reason {
			t.Errorf("%+v to %+v: %s %q, want %s %q", row.answer, row.match, status, reason, row.status, row.reason)
		}
	}
}

// pending is an approval with every field that is signed, and the device that may answer it.
func pending(t testing.TB) (*Service, Approval, device.Device, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := device.Device{ID: "019df26e2d0066a66dd8bab1", PublicKey: receipt.EncodePublicKey(&key.PublicKey)}
	at := time.Unix(1_800_000_000, 0)
	a := Approval{
		UUID: "11111111-2222-4333-8444-555555555555", AppID: "5833393871fc61111c76d84f", AuthyID: 1635, Status: Pending,
		Content: receipt.Content{Application: "Bank", Message: "Pay?", Details: []receipt.Field{{Name: "To", Value: "Bob"}, {Name: "Amount", Value: "5 €"}}, Logo: "d1"},
		Hidden:  []receipt.Field{{Name: "id", Value: "7"}}, Match: Match{Mode: tenant.MatchType, Value: "042"}, Nonce: "AAECAwQFBgcICQoLDA0ODw",
		CreatedAt: at, ExpiresAt: at.Add(2 * time.Minute),
	}
	return &Service{Origin: "https://auth.example.com"}, a, d, key
}

func sign(t testing.TB, key *ecdsa.PrivateKey, signed []byte) string {
	t.Helper()
	signature, err := receipt.Sign(key, signed)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// T-12: an answer signed for one request is refused for every request that differs in anything signed.
func TestT12SwappedFields(t *testing.T) {
	s, a, d, key := pending(t)
	answer := Answer{Decision: Approve, Match: "042"}
	answer.Signature = sign(t, key, s.Signed(a, d.ID, answer.Decision, answer.Match))
	signed, err := s.checkSignature(a, d, answer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := receipt.ParseAnswer(signed)
	if err != nil || parsed.Decision != Approve || parsed.Match != "042" || parsed.User != 1635 || parsed.ExpiresAt != a.ExpiresAt.Unix() {
		t.Errorf("signed %s: %v", signed, err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(s *Service, a *Approval, d *device.Device, ans *Answer){
		"origin":      func(s *Service, _ *Approval, _ *device.Device, _ *Answer) { s.Origin = "https://auth.example.com:8443" },
		"application": func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.AppID = "5833393871fc61111c76d850" },
		"user":        func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.AuthyID++ },
		"device":      func(_ *Service, _ *Approval, d *device.Device, _ *Answer) { d.ID = "019df26e2d0066a66dd8bab2" },
		"key": func(_ *Service, _ *Approval, d *device.Device, _ *Answer) {
			d.PublicKey = receipt.EncodePublicKey(&other.PublicKey)
		},
		"approval": func(_ *Service, a *Approval, _ *device.Device, _ *Answer) {
			a.UUID = "11111111-2222-4333-8444-555555555556"
		},
		"application's name": func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Content.Application = "Bonk" },
		"message":            func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Content.Message = "Pay!" },
		"detail's value":     func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Content.Details[0].Value = "Eve" },
		"detail's name":      func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Content.Details[0].Name = "From" },
		"details' order": func(_ *Service, a *Approval, _ *device.Device, _ *Answer) {
			a.Content.Details[0], a.Content.Details[1] = a.Content.Details[1], a.Content.Details[0]
		},
		"details' number":      func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Content.Details = a.Content.Details[:1] },
		"logo":                 func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Content.Logo = "d2" },
		"hidden details":       func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Hidden[0].Value = "8" },
		"no hidden details":    func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Hidden = nil },
		"nonce":                func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.Nonce = "AAECAwQFBgcICQoLDA0OEA" },
		"time of issue":        func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.CreatedAt = a.CreatedAt.Add(time.Second) },
		"time of expiry":       func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.ExpiresAt = a.ExpiresAt.Add(time.Second) },
		"no expiry":            func(_ *Service, a *Approval, _ *device.Device, _ *Answer) { a.ExpiresAt = time.Time{} },
		"decision":             func(_ *Service, _ *Approval, _ *device.Device, ans *Answer) { ans.Decision = Deny },
		"number typed":         func(_ *Service, _ *Approval, _ *device.Device, ans *Answer) { ans.Match = "043" },
		"no number typed":      func(_ *Service, _ *Approval, _ *device.Device, ans *Answer) { ans.Match = "" },
		"no signature":         func(_ *Service, _ *Approval, _ *device.Device, ans *Answer) { ans.Signature = "" },
		"signature of nothing": func(_ *Service, _ *Approval, _ *device.Device, ans *Answer) { ans.Signature = strings.Repeat("A", 86) },
		"signature cut":        func(_ *Service, _ *Approval, _ *device.Device, ans *Answer) { ans.Signature = ans.Signature[:85] },
	} {
		s2, a2, d2, ans := *s, a, d, answer
		a2.Content.Details = append([]receipt.Field(nil), a.Content.Details...)
		a2.Hidden = append([]receipt.Field(nil), a.Hidden...)
		change(&s2, &a2, &d2, &ans)
		if signed, err := s2.checkSignature(a2, d2, ans); !errors.Is(err, ErrSignature) || signed != nil {
			t.Errorf("with another %s: %s, %v", what, signed, err)
		}
	}
}

// T-12: no bit of the signature can change. (Its mirror image s → n-s verifies, as everywhere with ECDSA; answers are never told apart by it.)
func TestT12Bits(t *testing.T) {
	s, a, d, key := pending(t)
	good := sign(t, key, s.Signed(a, d.ID, Deny, ""))
	for i := range good {
		for bit := range 6 {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			changed := alphabet[strings.IndexByte(alphabet, good[i])^(1<<bit)]
			bad := good[:i] + string(changed) + good[i+1:]
			if _, err := s.checkSignature(a, d, Answer{Decision: Deny, Signature: bad}); !errors.Is(err, ErrSignature) {
				t.Errorf("with bit %d of character %d changed: %v", bit, i, err)
			}
		}
	}
}

func TestAnswerForm(t *testing.T) {
	s, a, d, key := pending(t)
	for _, ans := range []Answer{
		{Decision: ""}, {Decision: "approved"}, {Decision: "Approve"}, {Decision: "deny "}, {Decision: Approve, Match: "1234567"},
	} {
		ans.Signature = sign(t, key, s.Signed(a, d.ID, ans.Decision, ans.Match)) // properly signed, and still no answer
		if _, err := s.checkSignature(a, d, ans); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", ans, err)
		}
	}
	d.PublicKey = "not a key"
	if _, err := s.checkSignature(a, d, Answer{Decision: Deny, Signature: "x"}); err == nil || errors.Is(err, ErrSignature) {
		t.Errorf("a stored key that is none: %v, want an internal error", err)
	}
}

// What a final approval says to one more answer.
func TestRefusal(t *testing.T) {
	_, a, d, _ := pending(t)
	given := &Answered{Grant: device.Grant{Device: d}, Signed: []byte("the answer")}
	other := device.Device{ID: "another"}
	for _, row := range []struct {
		what   string
		status Status
		reason string
		answer *Answered
		by     device.Device
		signed string
		want   error
	}{
		{"expired", Expired, "", nil, d, "the answer", ErrExpired},
		{"cancelled", Cancelled, "", nil, d, "the answer", ErrCancelled},
		{"the same again", Approved, "", given, d, "the answer", nil},
		{"the same denial again", Denied, "", given, d, "the answer", nil},
		{"the same wrong number again", Denied, "number-mismatch", given, d, "the answer", ErrMismatch},
		{"another answer of the device", Approved, "", given, d, "another answer", ErrNotPending},
		{"a right number after a wrong one", Denied, "number-mismatch", given, d, "another answer", ErrNotPending},
		{"the same of another device", Approved, "", given, other, "the answer", ErrNotPending},
		{"nobody answered", Approved, "", nil, d, "the answer", ErrNotPending},
		{"still pending, but the grant is gone", Pending, "", nil, d, "the answer", ErrNotPending},
	} {
		a.Status, a.Reason, a.Answer = row.status, row.reason, row.answer
		if err := refusal(a, row.by, []byte(row.signed)); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.what, err, row.want)
		}
	}
}

// racing is a store in which somebody else decides between the look and the decision.
type racing struct {
	Store
	a, then Approval
}

func (r *racing) ApprovalForDevice(context.Context, string, string) (Approval, device.Grant, error) {
	a := r.a
	r.a = r.then
	return a, device.Grant{ID: 7}, nil
}

func (r *racing) Approval(context.Context, string, string) (Approval, error) { return r.then, nil }

func (r *racing) Decide(context.Context, Decision, job.Job, audit.Record) ([]string, []job.Job, error) {
	return nil, nil, ErrNotPending
}

// Who comes second learns what the row says then, not what was read before.
func TestAnswerLosesTheRace(t *testing.T) {
	s, a, d, key := pending(t)
	s.Now = func() time.Time { return a.CreatedAt }
	signed := s.Signed(a, d.ID, Approve, "042")
	answer := Answer{Decision: Approve, Match: "042", Signature: sign(t, key, signed)}
	for _, row := range []struct {
		then func(a *Approval)
		want error
	}{
		{func(a *Approval) { a.Status = Cancelled }, ErrCancelled},
		{func(a *Approval) { a.Status = Expired }, ErrExpired},
		{func(a *Approval) { a.ExpiresAt = a.CreatedAt }, ErrExpired},
		{func(a *Approval) {
			a.Status = Denied
			a.Answer = &Answered{Grant: device.Grant{Device: d}, Signed: []byte("no")}
		}, ErrNotPending},
		{func(a *Approval) {
			a.Status = Approved
			a.Answer = &Answered{Grant: device.Grant{Device: d}, Signed: signed}
		}, nil},
		{func(*Approval) {}, ErrNotPending},
	} {
		then := a
		row.then(&then)
		s.Store = &racing{a: a, then: then}
		got, err := s.Answer(t.Context(), d, a.UUID, answer)
		if !errors.Is(err, row.want) || err == nil && got.Status != Approved {
			t.Errorf("then %s: %s, %v, want %v", then.Status, got.Status, err, row.want)
		}
	}
}

func TestAt(t *testing.T) {
	_, a, _, _ := pending(t)
	for _, row := range []struct {
		status Status
		at     time.Time
		want   Status
	}{
		{Pending, a.ExpiresAt.Add(-time.Nanosecond), Pending},
		{Pending, a.ExpiresAt, Expired},
		{Pending, a.ExpiresAt.Add(time.Hour), Expired},
		{Approved, a.ExpiresAt.Add(time.Hour), Approved},
		{Denied, a.ExpiresAt, Denied},
		{Cancelled, a.ExpiresAt, Cancelled},
	} {
		a.Status = row.status
		got := a.At(row.at)
		if got.Status != row.want || row.want == Expired && (!got.ProcessedAt.Equal(a.ExpiresAt) || !got.UpdatedAt.Equal(a.ExpiresAt)) {
			t.Errorf("%s at %v: %+v, want %s", row.status, row.at, got, row.want)
		}
	}
	a.Status, a.ExpiresAt = Pending, time.Time{}
	if got := a.At(a.CreatedAt.Add(100 * 365 * 24 * time.Hour)); got.Status != Pending {
		t.Errorf("without an end: %s", got.Status)
	}
}

func TestReceipt(t *testing.T) {
	s, a, d, key := pending(t)
	if a.Receipt() != nil {
		t.Error("a receipt for what nobody answered")
	}
	signed := s.Signed(a, d.ID, Approve, "042")
	a.Status = Approved
	a.Answer = &Answered{
		Grant:  device.Grant{ID: 7, Device: d, Method: device.MethodTicket, CreatedAt: a.CreatedAt.Add(-time.Hour)},
		Signed: signed, Signature: sign(t, key, signed),
	}
	want := receipt.Expected{
		Origin: s.Origin, Application: a.AppID, User: a.AuthyID, Approval: a.UUID, Content: a.Content, Hidden: a.Hidden,
		Decision: Approve, Match: "042", Keys: []string{d.PublicKey},
	}
	if err := a.Receipt().Verify(want); err != nil {
		t.Error(err)
	}
	want.Decision = Deny
	if err := a.Receipt().Verify(want); err == nil {
		t.Error("the receipt of an approval passes for a denial's")
	}
}

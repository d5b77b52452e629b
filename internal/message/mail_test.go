// This file tests the gateway for mail against a real SMTP server.

package message_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"countersign.dev/internal/message"
)

// postOffice is an SMTP server that keeps what it is given.
type postOffice struct {
	host, authority string // authority is the file with its certificate

	mu      sync.Mutex
	refuse  map[string]error // by command: MAIL, RCPT, DATA
	letters []letter
}

type letter struct {
	from     string
	to       []string
	secure   bool
	identity string // who signed in
	text     string
}

func (p *postOffice) with(command string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse[command]
}

func (p *postOffice) set(command string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = map[string]error{command: err}
}

// forget empties the office.
func (p *postOffice) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.letters = nil
}

func (p *postOffice) last(t *testing.T) letter {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.letters) == 0 {
		t.Fatal("no letter arrived")
	}
	return p.letters[len(p.letters)-1]
}

// newPostOffice listens with STARTTLS, with TLS from the first byte ("smtps"), or with neither ("plain").
func newPostOffice(t testing.TB, how string) *postOffice {
	t.Helper()
	r := newReceiver(t, true) // for its certificate
	p := &postOffice{authority: r.authority(t)}
	server := smtp.NewServer(p)
	server.Domain, server.AllowInsecureAuth = "mail.test", how == "plain"
	server.ErrorLog = discard{}
	cfg := &tls.Config{Certificates: r.TLS.Certificates}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.host = ln.Addr().String()
	switch how {
	case "smtps":
		ln = tls.NewListener(ln, cfg)
	case "starttls":
		server.TLSConfig = cfg
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(ln); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { server.Close(); <-served })
	return p
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, secure := c.TLSConnectionState()
	return &visit{office: p, letter: letter{secure: secure}}, nil
}

// visit is one SMTP session.
type visit struct {
	office *postOffice
	letter letter
}

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "ana" || password != "p@ss:w/rd" {
			return smtp.ErrAuthFailed
		}
		v.letter.identity = user
		return nil
	}), nil
}

func (v *visit) Reset()        { v.letter.from, v.letter.to = "", nil }
func (v *visit) Logout() error { return nil }

func (v *visit) Mail(from string, _ *smtp.MailOptions) error {
	v.letter.from = from
	return v.office.with("MAIL")
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	v.letter.to = append(v.letter.to, to)
	return v.office.with("RCPT")
}

func (v *visit) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err := errors.Join(err, v.office.with("DATA")); err != nil {
		if refused, ok := errors.AsType[*smtp.SMTPError](err); ok {
			return refused
		}
		return err
	}
	v.office.mu.Lock()
	defer v.office.mu.Unlock()
	v.letter.text = string(b)
	v.office.letters = append(v.office.letters, v.letter)
	return nil
}

const login = "ana:p%40ss%3Aw%2Frd@"

func TestMail(t *testing.T) {
	for how, scheme := range map[string]string{"starttls": "smtp", "smtps": "smtps"} {
		p := newPostOffice(t, how)
		g := gateway(t, scheme+"://"+login+p.host+"?from=B%C3%A4nk+<codes@bank.example>&ca-file="+p.authority)
		id, err := g.Send(t.Context(), mailMessage)
		if err != nil || id != "m3@bank.example" {
			t.Fatal(how, id, err)
		}
		got := p.last(t)
		if !got.secure || got.identity != "ana" || got.from != "codes@bank.example" || !slices.Equal(got.to, []string{"ana@example.com"}) {
			t.Errorf("%s: %+v", how, got)
		}
		m, err := mail.ReadMessage(strings.NewReader(got.text))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || subject != mailMessage.Subject {
			t.Errorf("%s: subject %q, %v", how, subject, err)
		}
		from, err := m.Header.AddressList("From")
		if err != nil || from[0].Name != "Bänk" || from[0].Address != "codes@bank.example" {
			t.Errorf("%s: from %v, %v", how, from, err)
		}
		for name, want := range map[string]string{"To": "<ana@example.com>", "Message-Id": "<m3@bank.example>", "Auto-Submitted": "auto-generated", "Date": "Mon, 04 May 2026 10:00:00 +0000"} {
			if m.Header.Get(name) != want {
				t.Errorf("%s: %s is %q", how, name, m.Header.Get(name))
			}
		}
		if body := bodyOf(t, m); body != mailMessage.Body {
			t.Errorf("%s: body %q", how, body)
		}
		if _, err := g.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// bodyOf decodes a mail of one part.
func bodyOf(t *testing.T, m *mail.Message) string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "text/plain" || !strings.EqualFold(params["charset"], "utf-8") {
		t.Errorf("type %s %v, %v", kind, params, err)
	}
	b, err := io.ReadAll(decodedBody(m))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

func TestMailWithoutTLS(t *testing.T) {
	p := newPostOffice(t, "plain")
	if got := failure(t, gateway(t, "smtp://"+p.host+"?from=codes@bank.example"), mailMessage); !strings.Contains(got.Reason, "no STARTTLS") {
		t.Errorf("%+v", got)
	}
	if _, err := gateway(t, "smtp://"+p.host+"?from=codes@bank.example&tls=none").Send(t.Context(), mailMessage); err != nil {
		t.Error(err)
	}
	if got := p.last(t); got.secure || got.identity != "" {
		t.Errorf("%+v", got)
	}
	secure := newPostOffice(t, "starttls")
	if got := failure(t, gateway(t, "smtp://"+secure.host+"?from=codes@bank.example"), mailMessage); !strings.Contains(got.Reason, "certificate is not valid") {
		t.Errorf("without its authority: %+v", got)
	}
}

func TestMailFailures(t *testing.T) {
	p := newPostOffice(t, "starttls")
	options := p.host + "?from=codes@bank.example&ca-file=" + p.authority
	wrong := gateway(t, "smtp://ana:wrong@"+options)
	if got := failure(t, wrong, mailMessage); got.Reason != "SMTP 535: are user and password right?" || got.Refused {
		t.Errorf("wrong password: %+v", got)
	}
	if _, err := wrong.Check(t.Context()); err == nil {
		t.Error("a wrong password passes the check")
	}
	g := gateway(t, "smtp://"+login+options)
	for _, row := range []struct {
		command string
		err     smtp.SMTPError
		want    message.Failure
	}{
		{"RCPT", smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no ana@example.com here"}, message.Failure{Reason: "SMTP 550 5.1.1", Refused: true}},
		{"RCPT", smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "greylisted"}, message.Failure{Reason: "SMTP 450 4.2.0"}},
		{"MAIL", smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "sender refused"}, message.Failure{Reason: "SMTP 550 5.7.1"}},
		{"DATA", smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "spam"}, message.Failure{Reason: "SMTP 554 5.6.0", Refused: true}},
	} {
		p.set(row.command, &row.err)
		if got := failure(t, g, mailMessage); *got != row.want {
			t.Errorf("%s %d: %+v", row.command, row.err.Code, got)
		}
	}
	p.set("", nil)
	bad := mailMessage
	bad.To = "ana@example.com>\r\nRCPT TO:<eve@example.com"
	if got := failure(t, g, bad); !got.Refused {
		t.Errorf("%+v", got)
	}
	nowhere := httptest.NewServer(nil)
	_, host, _ := strings.Cut(nowhere.URL, "://")
	nowhere.Close()
	if got := failure(t, gateway(t, "smtp://"+login+host+"?from=codes@bank.example"), mailMessage); !strings.Contains(got.Reason, "refused") {
		t.Errorf("nobody listens: %+v", got)
	}
}

// A server that says nothing is given up with the context.
func TestMailHangs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // it accepts in the kernel, and never greets
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = gateway(t, "smtp://"+ln.Addr().String()+"?from=codes@bank.example").Send(ctx, mailMessage)
	if f, ok := errors.AsType[*message.Failure](err); !ok || !f.Hung {
		t.Errorf("%+v", err)
	}
}

// Whatever stands in a subject or a text, a mail keeps its headers and its end (T-41).
func FuzzMail(f *testing.F) {
	f.Add("a subject", "a text")
	f.Add("123456\r\nBcc: eve@example.com", "text\r\n.\r\nMAIL FROM:<eve@example.com>\r\n")
	f.Add(strings.Repeat("ж", 300), strings.Repeat("x", 2000)+"\n.\n")
	f.Add("=?utf-8?q?=0D=0ABcc:_eve?=", "\x00\x1a\xff")
	p := newPostOffice(f, "plain")
	f.Fuzz(func(t *testing.T, subject, text string) {
		p.forget()
		m := mailMessage
		m.Subject, m.Body = strings.ToValidUTF8(subject, "?"), strings.ToValidUTF8(text, "?")
		if _, err := gateway(t, "smtp://"+p.host+"?from=codes@bank.example&tls=none").Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got := p.last(t)
		if len(p.letters) != 1 || !slices.Equal(got.to, []string{"ana@example.com"}) {
			t.Errorf("%+v", got)
		}
		read, err := mail.ReadMessage(strings.NewReader(got.text))
		if err != nil {
			t.Fatal(err)
		}
		for name := range read.Header {
			if !slices.Contains([]string{"From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted"}, name) {
				t.Errorf("a header %s", name)
			}
		}
	})
}

// decodedBody undoes the transfer encoding.
func decodedBody(m *mail.Message) io.Reader {
	switch m.Header.Get("Content-Transfer-Encoding") {
	case "quoted-printable":
		return quotedprintable.NewReader(m.Body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, m.Body)
	}
	return m.Body
}

// This file owns what codes are carried by on loopback: a message centre (internal/message/smpp/smpptest) and a mail server.

package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"countersign.dev/internal/message/smpp/smpptest"
)

var codeForm = regexp.MustCompile(`\b[0-9]{6,8}\b`)

// textedCode is the code in the next text message that the centre takes for an American number.
func textedCode(t *testing.T, centre *smpptest.Centre, number string) string {
	t.Helper()
	for {
		select {
		case p := <-centre.Took:
			m := smpptest.Dissect(t, p)
			if m.Destination != "1"+number {
				continue
			}
			code := codeForm.Find(m.Text)
			if code == nil {
				t.Fatalf("a text without a code: %q", m.Text)
			}
			return string(code)
		case <-time.After(waitWithin):
			t.Fatalf("no text message came for %s", number)
		}
	}
}

// newSwitchboard is a server of Twilio's API on loopback for calls, each of which is taken. It returns its address.
func newSwitchboard(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2010-04-01/Accounts/AC1/Calls.json", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"sid":"CA1","status":"queued"}`)
	})
	mux.HandleFunc("GET /2010-04-01/Accounts/AC1/Calls/CA1.json", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"sid":"CA1","status":"completed"}`)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// postOffice is an SMTP server.
type postOffice struct {
	t       *testing.T
	address string
	letters chan letter
}

type letter struct{ to, text string }

// newPostOffice listens until the test ends.
func newPostOffice(t *testing.T) *postOffice {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{t: t, address: ln.Addr().String(), letters: make(chan letter, 100)}
	server := smtp.NewServer(p)
	server.Domain = "mail.test"
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

// code is the one in the next letter to an address.
func (p *postOffice) code(to string) string {
	p.t.Helper()
	for {
		select {
		case l := <-p.letters:
			if l.to != to {
				continue
			}
			_, body, _ := strings.Cut(l.text, "\r\n\r\n")
			code := codeForm.FindString(body)
			if code == "" {
				p.t.Fatalf("a letter without a code: %s", l.text)
			}
			return code
		case <-time.After(waitWithin):
			p.t.Fatalf("no letter came to %s", to)
		}
	}
}

func (p *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailing{office: p}, nil }

// mailing is one SMTP session.
type mailing struct {
	office *postOffice
	to     string
}

func (v *mailing) Reset()                               { v.to = "" }
func (v *mailing) Logout() error                        { return nil }
func (v *mailing) Mail(string, *smtp.MailOptions) error { return nil }

func (v *mailing) Rcpt(to string, _ *smtp.RcptOptions) error {
	v.to = to
	return nil
}

func (v *mailing) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err == nil {
		v.office.letters <- letter{v.to, string(text)}
	}
	return err
}

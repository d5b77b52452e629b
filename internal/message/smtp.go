package message

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	stdmail "net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// This file owns the gateway for mail: SMTP submission, encrypted unless the operator says otherwise.

// submission hands mail to a server.
type submission struct {
	name     string
	host     string
	port     int
	implicit bool // TLS from the first byte
	plain    bool // no TLS at all
	tls      *tls.Config
	user     string
	password string
	from     *stdmail.Address
}

func newSMTP(d *dsn) (Gateway, error) {
	if err := d.bare(); err != nil {
		return nil, err
	}
	cfg, err := d.tls()
	if err != nil {
		return nil, err
	}
	g := &submission{name: d.name(), host: d.host, implicit: d.scheme == "smtps", tls: cfg, user: d.user, password: d.password}
	if g.from, err = mailbox(d.option("from")); err != nil {
		return nil, err
	}
	port := "587"
	if g.implicit {
		port = "465"
	}
	_, port, _ = net.SplitHostPort(d.address(port))
	if g.port, err = strconv.Atoi(port); err != nil {
		return nil, errors.New("the port is no number")
	}
	switch how := d.option("tls"); {
	case how == "none" && !g.implicit:
		g.plain = true
	case how != "":
		return nil, errors.New("the option tls is none, or absent: then smtp demands STARTTLS and smtps begins with TLS")
	}
	if (d.user == "") != (d.password == "") {
		return nil, errors.New("it names a user without password, or a password without user")
	}
	if g.plain && d.user != "" {
		return nil, errors.New("with tls=none everybody on the way could read the password, so it may name none")
	}
	return g, nil
}

func (g *submission) Name() string { return g.name }

func (g *submission) Send(ctx context.Context, m Message) (string, error) {
	letter := mail.NewMsg(mail.WithNoDefaultUserAgent())
	letter.FromMailAddress(g.from)
	if err := letter.To(m.To); err != nil || strings.ContainsAny(m.To, "\r\n") { // T-41
		return "", &Failure{Reason: "the address is no mail address", Refused: true}
	}
	id := m.ID + "@" + g.from.Address[strings.LastIndexByte(g.from.Address, '@')+1:]
	letter.SetMessageIDWithValue(id)
	letter.SetDateWithValue(m.Time)
	letter.Subject(m.Subject)
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // nobody's absence note answers it (RFC 3834)
	letter.SetBodyString(mail.TypeTextPlain, m.Body)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := g.client(ctx)
	if err != nil {
		return "", err
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if err != nil && !letter.IsDelivered() { // a goodbye that failed undoes nothing
		return "", smtpFailure(ctx, err)
	}
	return id, nil
}

// Check connects, encrypts and authenticates.
func (g *submission) Check(ctx context.Context) (clock time.Time, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := g.client(ctx)
	if err != nil {
		return clock, err
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return clock, smtpFailure(ctx, err)
	}
	return clock, client.CloseWithSMTPClient(session)
}

// client returns one for a single exchange, whose connection ends with ctx.
func (g *submission) client(ctx context.Context) (*mail.Client, error) {
	options := []mail.Option{
		mail.WithPort(g.port), mail.WithTimeout(Patience), mail.WithTLSConfig(g.tls), mail.WithTLSPolicy(mail.TLSMandatory),
		mail.WithDialContextFunc(func(_ context.Context, network, address string) (net.Conn, error) {
			return g.dial(ctx, network, address)
		}),
	}
	if g.implicit || g.plain {
		options = append(options, mail.WithTLSPolicy(mail.NoTLS)) // done by dial, or not at all
	}
	if g.user != "" {
		options = append(options, mail.WithUsername(g.user), mail.WithPassword(g.password), mail.WithOpportunisticSMTPAuth(mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	client, err := mail.NewClient(g.host, options...)
	if err != nil {
		return nil, fmt.Errorf("set up SMTP: %w", err)
	}
	return client, nil
}

func (g *submission) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	dialer := &net.Dialer{}
	if g.implicit {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: g.tls}).DialContext(ctx, network, address)
	} else {
		conn, err = dialer.DialContext(ctx, network, address)
	}
	if err == nil {
		context.AfterFunc(ctx, func() { conn.Close() })
	}
	return conn, err
}

// smtpFailure says what the server refused. Its text is left out: it names the person's address.
func smtpFailure(ctx context.Context, err error) *Failure {
	f := &Failure{Hung: ctx.Err() != nil}
	refused, isRefusal := errors.AsType[*mail.SendError](err)
	answer, isAnswer := errors.AsType[*textproto.Error](err)
	switch {
	case f.Hung:
		return failed(context.DeadlineExceeded)
	case isRefusal && refused.ErrorCode() != 0:
		f.Reason = strings.TrimSpace(fmt.Sprint("SMTP ", refused.ErrorCode(), " ", refused.EnhancedStatusCode()))
		f.Refused = !refused.IsTemp() && (refused.Reason == mail.ErrSMTPRcptTo || refused.Reason == mail.ErrSMTPDataClose)
	case isAnswer && (answer.Code == 535 || answer.Code == 534):
		f.Reason = fmt.Sprintf("SMTP %d: are user and password right?", answer.Code)
	case isAnswer:
		f.Reason = fmt.Sprint("SMTP ", answer.Code)
	case strings.Contains(err.Error(), "STARTTLS"):
		f.Reason = "the server offers no STARTTLS: use another port, smtps, or tls=none if the network between is yours"
	case strings.Contains(err.Error(), "AUTH"):
		f.Reason = "the server offers no way to sign in that this program knows"
	default:
		return failed(err)
	}
	return f
}

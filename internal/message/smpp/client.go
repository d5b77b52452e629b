package smpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// This file owns the client: one bound connection that comes back by itself, and submitting over it.

// Config says which message centre, and as whom.
type Config struct {
	Dial       func(ctx context.Context) (net.Conn, error) // TLS included, where it is used
	SystemID   string
	Password   string
	SystemType string
	From       string              // who is shown as the sender: a number with +, a short code, or at most 11 letters and digits
	Window     int                 // requests that may wait for their answers at once; 0 is 10
	UCS2       bool                // always: for message centres whose default alphabet is not that of GSM
	Hear       func(Receipt) error // called for each receipt, one after the other; an error has it sent again. nil asks for none
}

// Timing of a connection.
const (
	patience     = 10 * time.Second // for connecting and for each answer
	enquireEvery = 30 * time.Second // keeps the connection known to be alive, both ways
	firstWait    = time.Second      // before connecting again; it doubles
	maxWait      = time.Minute
	receiptsMax  = 1000 // that wait to be heard
)

// Errors of submitting, beside *Refused.
var (
	ErrDown   = errors.New("there is no connection to the message centre")
	ErrLost   = errors.New("the connection ended before the answer: the message may have been taken")
	ErrClosed = errors.New("the client was closed")
)

// Refused is an answer that says no.
type Refused struct{ Status Status }

func (r *Refused) Error() string { return "the message centre answered " + r.Status.String() }

// Client is safe for concurrent use.
type Client struct {
	cfg  Config
	from address

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	work  sync.WaitGroup
	parts atomic.Uint32 // reference number of the last message in parts

	mu      sync.Mutex // guards what follows
	bound   *session   // nil while there is none
	failed  error      // why there is none; nil while the first connection is being made
	changed chan struct{}
}

// New checks the configuration. Nothing is connected before Start.
func New(cfg Config) (*Client, error) {
	for _, field := range []struct {
		name, value string
		most        int
	}{{"system id", cfg.SystemID, 15}, {"password", cfg.Password, 8}, {"system type", cfg.SystemType, 12}} {
		if len(field.value) > field.most || !printable(field.value) {
			return nil, fmt.Errorf("the %s has at most %d ASCII characters", field.name, field.most)
		}
	}
	from, err := parseSender(cfg.From)
	if err != nil {
		return nil, err
	}
	if cfg.Window == 0 {
		cfg.Window = 10
	}
	c := &Client{cfg: cfg, from: from, changed: make(chan struct{})}
	c.parts.Store(rand.Uint32())
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Start connects, and connects again whenever the connection ends, until Close.
func (c *Client) Start(log *slog.Logger) {
	c.work.Go(func() { c.run(log) })
}

// Close says goodbye and ends the connection.
func (c *Client) Close() {
	c.stop()
	c.work.Wait()
}

func (c *Client) run(log *slog.Logger) {
	wait := firstWait
	for {
		s, err := c.connect(c.ctx)
		if err == nil {
			c.set(s, nil)
			wait = firstWait
			err = c.serve(s, log)
		}
		c.set(nil, err)
		if c.ctx.Err() != nil {
			return
		}
		log.Warn("no connection to the message centre", "reason", err, "again_in", wait)
		select {
		case <-time.After(wait + rand.N(wait/4)):
		case <-c.ctx.Done():
			return
		}
		wait = min(2*wait, maxWait)
	}
}

func (c *Client) set(s *session, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound, c.failed = s, err
	close(c.changed)
	c.changed = make(chan struct{})
}

// session returns the bound connection. It waits for the first one; later it says at once that there is none.
func (c *Client) session(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		s, failed, changed := c.bound, c.failed, c.changed
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return nil, ErrClosed
		case s != nil:
			return s, nil
		case failed != nil:
			return nil, fmt.Errorf("%w: %w", ErrDown, failed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connect makes a connection and binds it.
func (c *Client) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := c.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s := newSession(conn, c.cfg.Window)
	go s.read()
	body := cstring(nil, c.cfg.SystemID)
	body = cstring(body, c.cfg.Password)
	body = cstring(body, c.cfg.SystemType)
	body = append(body, 0x34, 0, 0, 0) // interface_version 3.4, any address
	if _, err := s.ask(ctx, bindTransceiver, body); err != nil {
		s.end(err)
		return nil, err
	}
	return s, nil
}

// serve keeps a bound connection alive and hears its receipts. It returns why the connection ended.
func (c *Client) serve(s *session, log *slog.Logger) error {
	tick := time.NewTicker(enquireEvery)
	defer tick.Stop()
	for {
		select {
		case d := <-s.deliveries:
			s.answer(d.command|response, c.hear(d, log), d.sequence, []byte{0})
		case <-tick.C:
			// Beside the loop, so that receipts are heard while it waits.
			c.work.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if _, err := s.ask(ctx, enquireLink, nil); err != nil {
					s.end(fmt.Errorf("enquire_link: %w", err))
				}
			})
		case <-s.ended:
			return s.why
		case <-c.ctx.Done():
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			_, _ = s.ask(ctx, unbind, nil) // a courtesy
			cancel()
			s.end(ErrClosed)
			return ErrClosed
		}
	}
}

// hear hands over a receipt and returns what the message centre is answered.
func (c *Client) hear(p pdu, log *slog.Logger) Status {
	d, err := parseDeliver(p.body)
	if err != nil {
		return statusBody
	}
	r, ok := receiptOf(d)
	if !d.receipt || !ok || c.cfg.Hear == nil {
		return StatusOK // somebody wrote to the sender's number, or the form is one that nobody knows: once more would help nobody
	}
	if err := c.cfg.Hear(r); err != nil {
		log.Error("cannot keep a delivery receipt", "error", err)
		return statusSystem
	}
	return StatusOK
}

// Submit sends text to a number in E.164 form. What is not delivered within life is forgotten by the message centre; 0 lets it decide.
// The id is the one that receipts name: for a text in several parts that of the last.
func (c *Client) Submit(ctx context.Context, to, text string, life time.Duration) (id string, err error) {
	s, err := c.session(ctx)
	if err != nil {
		return "", err
	}
	coding, parts := Split(text)
	if c.cfg.UCS2 {
		coding, parts = UCS2, splitUCS2(text)
	}
	if len(parts) > maxParts {
		return "", fmt.Errorf("a text of %d parts is too long", len(parts))
	}
	reference := byte(c.parts.Add(1))
	for i, part := range parts {
		var header []byte
		if len(parts) > 1 { // concatenated short messages, 8-bit reference (3GPP TS 23.040 section 9.2.3.24.1)
			header = []byte{5, 0, 3, reference, byte(len(parts)), byte(i + 1)}
		}
		last := i == len(parts)-1
		answer, err := s.ask(ctx, submitSM, c.submission(to, coding, header, part, life, last))
		if err != nil {
			return "", err
		}
		if id, err = messageID(answer.body); err != nil {
			return "", err
		}
	}
	return id, nil
}

// submission is the body of submit_sm.
func (c *Client) submission(to string, coding Coding, header, part []byte, life time.Duration, receipt bool) []byte {
	var class, registered byte
	if header != nil {
		class = 0x40 // the text begins with a header
	}
	if receipt && c.cfg.Hear != nil {
		registered = 1
	}
	b := cstring(nil, "") // service_type
	b = c.from.append(b)
	b = address{1, 1, strings.TrimPrefix(to, "+")}.append(b)
	b = append(b, class, 0, 0)
	b = cstring(b, "") // at once
	b = cstring(b, validity(life))
	b = append(b, registered, 0, byte(coding), 0, byte(len(header)+len(part)))
	return append(append(b, header...), part...)
}

// validity is a time from now (section 7.1.1.2): YYMMDDhhmmsstnn with R.
func validity(life time.Duration) string {
	if life <= 0 {
		return ""
	}
	n := int(min(life, 24*time.Hour-time.Second) / time.Second)
	return fmt.Sprintf("000000%02d%02d%02d000R", n/3600, n/60%60, n%60)
}

// Check says whether the message centre takes the credentials: over the bound connection, or one of its own.
func (c *Client) Check(ctx context.Context) error {
	c.mu.Lock()
	s := c.bound
	c.mu.Unlock()
	if s != nil {
		_, err := s.ask(ctx, enquireLink, nil)
		return err
	}
	s, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer s.end(ErrClosed)
	_, err = s.ask(ctx, unbind, nil)
	return err
}

// address is a number or name with its type and plan.
type address struct {
	ton, npi byte
	value    string
}

func (a address) append(b []byte) []byte { return cstring(append(b, a.ton, a.npi), a.value) }

// parseSender says what kind of sender that is.
func parseSender(from string) (address, error) {
	digits := strings.TrimPrefix(from, "+")
	number := digits != "" && strings.Trim(digits, "0123456789") == ""
	switch {
	case number && digits != from && len(digits) <= 15:
		return address{1, 1, digits}, nil // international, E.164
	case number && len(from) <= 8:
		return address{3, 0, from}, nil // a short code of the network
	case number || digits != from || from == "" || len(from) > 11 || strings.IndexFunc(from, func(r rune) bool { return gsmCodes[r] == nil || r > '~' || r < ' ' }) >= 0:
		return address{}, errors.New("the sender is a number with +, a short code of at most 8 digits, or a name of at most 11 letters and digits")
	}
	return address{5, 0, from}, nil // alphanumeric
}

// session is one connection.
type session struct {
	conn       net.Conn
	window     chan struct{}
	deliveries chan pdu
	ended      chan struct{} // closed with the connection, after why was set
	why        error

	mu       sync.Mutex // guards what follows
	sequence uint32
	pending  map[uint32]chan pdu
	writing  sync.Mutex // one unit at a time
	once     sync.Once
}

func newSession(conn net.Conn, window int) *session {
	return &session{
		conn: conn, window: make(chan struct{}, window), deliveries: make(chan pdu, receiptsMax),
		ended: make(chan struct{}), pending: map[uint32]chan pdu{},
	}
}

// end closes the connection; the first reason stays.
func (s *session) end(why error) {
	s.once.Do(func() {
		s.why = why
		close(s.ended)
		s.conn.Close()
	})
}

// ask sends a request and returns the answer, which is a *Refused error if it says no.
func (s *session) ask(ctx context.Context, command Command, body []byte) (pdu, error) {
	if command == submitSM {
		select {
		case s.window <- struct{}{}:
			defer func() { <-s.window }()
		case <-s.ended:
			return pdu{}, fmt.Errorf("%w: %w", ErrDown, s.why)
		case <-ctx.Done():
			return pdu{}, ctx.Err()
		}
	}
	reply := make(chan pdu, 1)
	s.mu.Lock()
	s.sequence = s.sequence%0x7fffffff + 1 // 1 to 0x7fffffff (section 3.2)
	sequence := s.sequence
	s.pending[sequence] = reply
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, sequence)
		s.mu.Unlock()
	}()
	if err := s.write(pdu{command: command, sequence: sequence, body: body}); err != nil {
		s.end(err)
		return pdu{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
	select {
	case p := <-reply:
		if p.status != StatusOK {
			return p, &Refused{p.status}
		}
		if p.command != command|response {
			return p, fmt.Errorf("%w: 0x%08x answers 0x%08x", errMalformed, uint32(p.command), uint32(command))
		}
		return p, nil
	case <-s.ended:
		return pdu{}, fmt.Errorf("%w: %w", ErrLost, s.why)
	case <-ctx.Done():
		return pdu{}, ctx.Err()
	}
}

func (s *session) write(p pdu) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.conn.SetWriteDeadline(time.Now().Add(patience)) // fails only where writing does
	_, err := s.conn.Write(p.bytes())
	return err
}

func (s *session) answer(command Command, status Status, sequence uint32, body []byte) {
	if err := s.write(pdu{command, status, sequence, body}); err != nil {
		s.end(err)
	}
}

// read hands out what arrives until the connection ends.
func (s *session) read() {
	for {
		p, err := readPDU(s.conn)
		if err != nil {
			if errors.Is(err, errMalformed) {
				s.answer(genericNack, statusLength, 0, nil)
			}
			s.end(err)
			return
		}
		s.take(p)
	}
}

func (s *session) take(p pdu) {
	switch {
	case p.command&response != 0:
		s.mu.Lock()
		reply := s.pending[p.sequence]
		delete(s.pending, p.sequence)
		s.mu.Unlock()
		if reply != nil { // else nobody waits for it any more
			reply <- p
		}
	case p.command == enquireLink:
		s.answer(enquireLink|response, StatusOK, p.sequence, nil)
	case p.command == deliverSM:
		select {
		case s.deliveries <- p:
		default:
			s.answer(deliverSM|response, StatusQueueFull, p.sequence, []byte{0})
		}
	case p.command == unbind:
		s.answer(unbind|response, StatusOK, p.sequence, nil)
		s.end(errors.New("the message centre ended it"))
	default:
		s.answer(genericNack, statusCommand, p.sequence, nil)
	}
}

// Package smpptest is a message centre for tests. It is written from the tables of the specification, byte by byte, and shares nothing
// with the client's encoder.
package smpptest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"sync"
	"testing"
)

// Centre answers on listeners, or on pipes. Its fields may be used inside With.
type Centre struct {
	Submits  [][]byte // whole submit_sm PDUs
	Binds    int
	Enquired int
	Answers  func(n int) uint32 // status of the n-th submission, from 0; nil takes all
	BindWith uint32             // status of binds
	Silent   bool               // answers no submit_sm
	Deaf     bool               // answers no enquire_link

	Took chan []byte   // each submit_sm
	Acks chan []byte   // each deliver_sm_resp
	Left chan struct{} // an unbind came

	t     *testing.T
	mu    sync.Mutex // guards the fields above, and what follows
	conns []net.Conn
}

// New returns a centre that takes everything, and names messages 00, 01, ….
func New(t *testing.T) *Centre {
	return &Centre{t: t, Took: make(chan []byte, 100), Acks: make(chan []byte, 100), Left: make(chan struct{}, 10)}
}

// Listen serves on loopback until the test ends, by TLS when cfg is not nil, and returns the address.
func (c *Centre) Listen(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		c.HangUp()
		serving.Wait()
	})
	return address
}

// Dial returns a way to a listening centre.
func (c *Centre) Dial(t *testing.T) func(context.Context) (net.Conn, error) {
	address := c.Listen(t, nil)
	return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) }
}

// Pipe is a way to the centre that works in virtual time.
func (c *Centre) Pipe(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go c.serve(theirs)
	return ours, nil
}

// HangUp ends all connections.
func (c *Centre) HangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// With changes or reads the centre's fields.
func (c *Centre) With(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *Centre) serve(conn net.Conn) {
	c.With(func() { c.conns = append(c.conns, conn) })
	for {
		p, err := Read(conn)
		if err != nil {
			return
		}
		if answer := c.answer(p); answer != nil {
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

// Read reads one unit, header and all.
func Read(r io.Reader) ([]byte, error) {
	p := make([]byte, 4)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(p)-4)
	_, err := io.ReadFull(r, rest)
	return append(p, rest...), err
}

// Word reads the n-th of the header's four words.
func Word(p []byte, n int) uint32 { return binary.BigEndian.Uint32(p[4*n:]) }

// Raw makes a unit of four words and a body.
func Raw(command, status, sequence uint32, body string) []byte {
	p := make([]byte, 16, 16+len(body))
	binary.BigEndian.PutUint32(p[0:], uint32(16+len(body)))
	binary.BigEndian.PutUint32(p[4:], command)
	binary.BigEndian.PutUint32(p[8:], status)
	binary.BigEndian.PutUint32(p[12:], sequence)
	return append(p, body...)
}

func (c *Centre) answer(p []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	sequence := Word(p, 3)
	switch command := Word(p, 1); command {
	case 0x00000009: // bind_transceiver
		c.Binds++
		return Raw(0x80000009, c.BindWith, sequence, "SMSC\x00")
	case 0x00000004: // submit_sm
		n := len(c.Submits)
		c.Submits = append(c.Submits, p)
		c.Took <- p
		if c.Silent {
			return nil
		}
		if c.Answers != nil && c.Answers(n) != 0 {
			return Raw(0x80000004, c.Answers(n), sequence, "")
		}
		return Raw(0x80000004, 0, sequence, hex.EncodeToString([]byte{byte(n)})+"\x00")
	case 0x00000015: // enquire_link
		c.Enquired++
		if c.Deaf {
			return nil
		}
		return Raw(0x80000015, 0, sequence, "")
	case 0x00000006: // unbind
		c.Left <- struct{}{}
		return Raw(0x80000006, 0, sequence, "")
	case 0x80000005: // deliver_sm_resp
		c.Acks <- p
	case 0x80000000: // generic_nack
	case 0x80000015, 0x80000006:
	default:
		c.t.Errorf("the client sent %x", p)
	}
	return nil
}

// Push sends bytes on the newest connection.
func (c *Centre) Push(b []byte) {
	c.mu.Lock()
	conn := c.conns[len(c.conns)-1]
	c.mu.Unlock()
	if _, err := conn.Write(b); err != nil {
		c.t.Error(err)
	}
}

// Submission is a submit_sm taken apart by the table in section 4.4.1.
type Submission struct {
	Source, Destination                    string
	SourceTON, SourceNPI, DestTON, DestNPI byte
	Class, Protocol, Priority              byte
	Schedule, Validity                     string
	Registered, Replace, Coding, Canned    byte
	Text                                   []byte
}

// Dissect takes a submit_sm apart.
func Dissect(t *testing.T, p []byte) (s Submission) {
	t.Helper()
	if int(Word(p, 0)) != len(p) || Word(p, 2) != 0 {
		t.Errorf("header %x", p[:16])
	}
	b := bytes.NewBuffer(p[16:])
	octet := func() byte {
		v, err := b.ReadByte()
		if err != nil {
			t.Errorf("it ends early: %x", p)
		}
		return v
	}
	Text := func() string {
		v, err := b.ReadString(0)
		if err != nil {
			t.Errorf("a string has no end: %x", p)
		}
		return v[:max(len(v)-1, 0)]
	}
	if service := Text(); service != "" {
		t.Errorf("service type %q", service)
	}
	s.SourceTON, s.SourceNPI, s.Source = octet(), octet(), Text()
	s.DestTON, s.DestNPI, s.Destination = octet(), octet(), Text()
	s.Class, s.Protocol, s.Priority = octet(), octet(), octet()
	s.Schedule, s.Validity = Text(), Text()
	s.Registered, s.Replace, s.Coding, s.Canned = octet(), octet(), octet(), octet()
	length := int(octet())
	s.Text = b.Bytes()
	if len(s.Text) != length || length > 140 && s.Coding == 8 || length > 160 {
		t.Errorf("short_message of %d octets, said to have %d", len(s.Text), length)
	}
	return s
}

// Receipt is a deliver_sm with a delivery receipt in the usual words (appendix B).
func Receipt(sequence uint32, words string, parameters string) []byte {
	body := "\x00" + // service_type
		"\x01\x0112025550123\x00" + // source
		"\x05\x00Bank\x00" + // destination
		"\x04\x00\x00" + // esm_class: a receipt; protocol, priority
		"\x00\x00" + // schedule, validity
		"\x00\x00\x00\x00" + // registered_delivery … sm_default_msg_id
		string([]byte{byte(len(words))}) + words + parameters
	return Raw(0x00000005, 0, sequence, body)
}

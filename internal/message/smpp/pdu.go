package smpp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// This file owns the bytes on the wire (SMPP 3.4 sections 3 to 5): strict, bounded, and only of what a client needs.

// Command says what a PDU is. A response has the highest bit set.
type Command uint32

// The commands that this client sends or understands.
const (
	genericNack     Command = 0x80000000
	submitSM        Command = 0x00000004
	deliverSM       Command = 0x00000005
	unbind          Command = 0x00000006
	bindTransceiver Command = 0x00000009
	enquireLink     Command = 0x00000015

	response Command = 0x80000000
)

// Status is what a response says about its request.
type Status uint32

// Statuses that mean something to a client beyond "no". All others are told by their number.
const (
	StatusOK          Status = 0x00
	statusLength      Status = 0x02 // of a command
	statusCommand     Status = 0x03 // is unknown
	StatusBind        Status = 0x0d
	StatusPassword    Status = 0x0e
	StatusSystemID    Status = 0x0f
	StatusDestination Status = 0x0b
	statusSystem      Status = 0x08 // an error here; it is sent again
	StatusQueueFull   Status = 0x14
	StatusThrottled   Status = 0x58
	statusBody        Status = 0xc0 // an optional parameter is malformed
)

var statusNames = map[Status]string{
	0x00: "ESME_ROK", 0x01: "ESME_RINVMSGLEN", 0x02: "ESME_RINVCMDLEN", 0x03: "ESME_RINVCMDID", 0x04: "ESME_RINVBNDSTS", 0x05: "ESME_RALYBND",
	0x08: "ESME_RSYSERR", 0x0a: "ESME_RINVSRCADR", 0x0b: "ESME_RINVDSTADR", 0x0c: "ESME_RINVMSGID", 0x0d: "ESME_RBINDFAIL", 0x0e: "ESME_RINVPASWD",
	0x0f: "ESME_RINVSYSID", 0x14: "ESME_RMSGQFUL", 0x45: "ESME_RSUBMITFAIL", 0x48: "ESME_RINVSRCTON", 0x49: "ESME_RINVSRCNPI", 0x50: "ESME_RINVDSTTON",
	0x51: "ESME_RINVDSTNPI", 0x53: "ESME_RINVSYSTYP", 0x58: "ESME_RTHROTTLED", 0x62: "ESME_RINVEXPIRY", 0xfe: "ESME_RDELIVERYFAILURE", 0xff: "ESME_RUNKNOWNERR",
}

func (s Status) String() string {
	if name := statusNames[s]; name != "" {
		return fmt.Sprintf("%s (0x%02x)", name, uint32(s))
	}
	return fmt.Sprintf("status 0x%02x", uint32(s))
}

const (
	headerSize = 16
	maxPDU     = 70_000 // a message_payload has at most 65,535 octets
)

// pdu is one unit of the protocol.
type pdu struct {
	command  Command
	status   Status
	sequence uint32
	body     []byte
}

// errMalformed says that what arrived is not SMPP, so that nothing after it can be understood either.
var errMalformed = errors.New("malformed PDU")

// readPDU reads one unit.
func readPDU(r io.Reader) (p pdu, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return p, err
	}
	length := binary.BigEndian.Uint32(header[0:])
	if length < headerSize || length > maxPDU {
		return p, fmt.Errorf("%w: %d octets long", errMalformed, length)
	}
	p.command = Command(binary.BigEndian.Uint32(header[4:]))
	p.status = Status(binary.BigEndian.Uint32(header[8:]))
	p.sequence = binary.BigEndian.Uint32(header[12:])
	p.body = make([]byte, length-headerSize)
	_, err = io.ReadFull(r, p.body)
	return p, err
}

// bytes returns the unit as it is sent.
func (p pdu) bytes() []byte {
	b := make([]byte, 0, headerSize+len(p.body))
	b = binary.BigEndian.AppendUint32(b, uint32(headerSize+len(p.body)))
	b = binary.BigEndian.AppendUint32(b, uint32(p.command))
	b = binary.BigEndian.AppendUint32(b, uint32(p.status))
	b = binary.BigEndian.AppendUint32(b, p.sequence)
	return append(b, p.body...)
}

// cstring appends a C-octet string.
func cstring(b []byte, s string) []byte { return append(append(b, s...), 0) }

// fields reads a body, piece by piece; after the first that is malformed all others are empty.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) octets(n int) []byte {
	if f.err == nil && n > len(f.rest) {
		f.err = fmt.Errorf("%w: it ends early", errMalformed)
	}
	if f.err != nil {
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) octet() byte {
	b := f.octets(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// cstring reads a C-octet string of at most size octets, its end included.
func (f *fields) cstring(size int) string {
	n := strings.IndexByte(string(f.rest[:min(size, len(f.rest))]), 0)
	if f.err == nil && n < 0 {
		f.err = fmt.Errorf("%w: a string does not end", errMalformed)
	}
	if f.err != nil {
		return ""
	}
	return string(f.octets(n + 1)[:n])
}

// parameters reads the optional parameters at the end, each at most once.
func (f *fields) parameters() map[uint16][]byte {
	all := map[uint16][]byte{}
	for f.err == nil && len(f.rest) > 0 {
		head := f.octets(4)
		if f.err != nil {
			break
		}
		tag := binary.BigEndian.Uint16(head)
		if _, twice := all[tag]; twice {
			f.err = fmt.Errorf("%w: parameter 0x%04x stands there twice", errMalformed, tag)
			break
		}
		all[tag] = f.octets(int(binary.BigEndian.Uint16(head[2:])))
	}
	return all
}

// maxID is how long the id of a message may be, its end included.
const maxID = 65

// messageID reads the body of submit_sm_resp.
func messageID(body []byte) (string, error) {
	f := fields{rest: body}
	id := f.cstring(maxID)
	f.parameters()
	return id, f.err
}

// Optional parameters that a delivery receipt may bring.
const (
	tagReceiptedID  = 0x001e
	tagMessageState = 0x0427
	tagPayload      = 0x0424
)

// delivery is what a deliver_sm brings, as far as it is of interest.
type delivery struct {
	receipt    bool
	text       []byte
	parameters map[uint16][]byte
}

// parseDeliver reads the body of deliver_sm.
func parseDeliver(body []byte) (d delivery, err error) {
	f := fields{rest: body}
	f.cstring(6) // service_type
	f.octets(2)
	f.cstring(21) // source_addr
	f.octets(2)
	f.cstring(21)                      // destination_addr
	d.receipt = f.octet()&0x3c == 0x04 // esm_class
	f.octets(2)                        // protocol_id, priority_flag
	f.cstring(17)                      // schedule_delivery_time
	f.cstring(17)                      // validity_period
	f.octets(4)                        // registered_delivery to sm_default_msg_id
	d.text = f.octets(int(f.octet()))  // sm_length, short_message
	d.parameters = f.parameters()
	if payload := d.parameters[tagPayload]; len(d.text) == 0 {
		d.text = payload
	}
	return d, f.err
}

package smpp

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"go.uber.org/goleak"

	"countersign.dev/internal/message/smpp/smpptest"
)

// This file tests the client against the message centre of smpptest, by the bytes that travel.

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.SystemID == "" {
		cfg.SystemID, cfg.Password = "bank", "s3cretpw"
	}
	if cfg.From == "" {
		cfg.From = "Bank"
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The bind as section 4.1.5 has it, byte by byte.
func TestBindOnTheWire(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	client := newClient(t, Config{SystemType: "OTP", Dial: func(context.Context) (net.Conn, error) { return ours, nil }})
	client.Start(quiet)
	got, err := smpptest.Read(theirs)
	if err != nil {
		t.Fatal(err)
	}
	want := "0000002600000009" + "0000000000000001" + hex.EncodeToString([]byte("bank\x00s3cretpw\x00OTP\x00")) + "34000000"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	theirs.Close()
	client.Close()
}

func TestSubmit(t *testing.T) {
	c := smpptest.New(t)
	client := start(t, Config{Dial: c.Dial(t), Hear: func(Receipt) error { return nil }})
	id, err := client.Submit(within(t), "+12025550123", "123456 is your Bank code. 5€ @[x]", 10*time.Minute)
	if err != nil || id != "00" {
		t.Fatalf("%q, %v", id, err)
	}
	s := smpptest.Dissect(t, <-c.Took)
	if s.SourceTON != 5 || s.SourceNPI != 0 || s.Source != "Bank" || s.DestTON != 1 || s.DestNPI != 1 || s.Destination != "12025550123" {
		t.Errorf("addresses %+v", s)
	}
	if s.Class != 0 || s.Validity != "000000001000000R" || s.Schedule != "" || s.Registered != 1 || s.Coding != 0 {
		t.Errorf("%+v", s)
	}
	if want := "123456 is your Bank code. 5\x1b\x65 \x00\x1b\x3cx\x1b\x3e"; string(s.Text) != want {
		t.Errorf("text %q, want %q", s.Text, want)
	}
}

func TestSenders(t *testing.T) {
	for from, want := range map[string]string{"+12025550100": "1 1 12025550100", "72345": "3 0 72345", "Bank": "5 0 Bank", "My Bank 24": "5 0 My Bank 24"} {
		a, err := parseSender(from)
		if got := fmt.Sprint(a.ton, a.npi, " ", a.value); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", from, got, err, want)
		}
	}
	for _, from := range []string{"", "+", "123456789", "TwelveLetters", "Bänk", "a\x00b", "日本", "+1234567890123456", "a\r\nb"} {
		if a, err := parseSender(from); err == nil {
			t.Errorf("%q is %+v", from, a)
		}
	}
	for _, cfg := range []Config{{SystemID: "sixteen letters!", From: "Bank"}, {Password: "ninechars", From: "Bank"}, {SystemID: "a\x00b", From: "Bank"}, {From: ""}} {
		if _, err := New(cfg); err == nil || cfg.Password != "" && strings.Contains(err.Error(), cfg.Password) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// A long text travels in parts that say which they are, and no letter is cut in two: 3GPP TS 23.040 section 9.2.3.24.1.
func TestLongTexts(t *testing.T) {
	for what, row := range map[string]struct {
		text   string
		parts  int
		coding byte
	}{
		"160 letters":                 {strings.Repeat("a", 160), 1, 0},
		"161 letters":                 {strings.Repeat("a", 161), 2, 0},
		"306 letters":                 {strings.Repeat("a", 306), 2, 0},
		"307 letters":                 {strings.Repeat("a", 307), 3, 0},
		"an escape at the edge":       {strings.Repeat("a", 152) + "€" + strings.Repeat("b", 100), 2, 0},
		"70 letters of another kind":  {strings.Repeat("ж", 70), 1, 8},
		"71 letters of another kind":  {strings.Repeat("ж", 71), 2, 8},
		"a pair of halves at an edge": {strings.Repeat("ж", 66) + "😀" + strings.Repeat("ж", 20), 2, 8},
		"nothing":                     {"", 1, 0},
	} {
		t.Run(what, func(t *testing.T) {
			c := smpptest.New(t)
			client := start(t, Config{Dial: c.Dial(t), Hear: func(Receipt) error { return nil }})
			id, err := client.Submit(within(t), "+12025550123", row.text, 0)
			if err != nil || id != fmt.Sprintf("%02x", row.parts-1) {
				t.Fatalf("%q, %v", id, err)
			}
			var whole []byte
			reference := byte(0)
			for i := range row.parts {
				s := smpptest.Dissect(t, <-c.Took)
				if s.Coding != row.coding || s.Validity != "" || (s.Registered == 1) != (i == row.parts-1) {
					t.Errorf("part %d: %+v", i, s)
				}
				if row.parts == 1 {
					whole = s.Text
					break
				}
				if i == 0 {
					reference = s.Text[3]
				}
				if s.Class != 0x40 || !bytes.Equal(s.Text[:6], []byte{5, 0, 3, reference, byte(row.parts), byte(i + 1)}) {
					t.Errorf("part %d: class %x, header %x", i, s.Class, s.Text[:6])
				}
				text := s.Text[6:]
				if row.coding == 0 && text[len(text)-1] == 0x1b || row.coding == 8 && text[len(text)-2]&0xfc == 0xd8 {
					t.Errorf("part %d cuts a letter in two", i)
				}
				whole = append(whole, text...)
			}
			if got := decode(row.coding, whole); got != row.text {
				t.Errorf("what arrives is %q", got)
			}
		})
	}
}

// decode is a telephone's reading of what arrives.
func decode(coding byte, b []byte) string {
	if coding == 8 {
		var units []uint16
		for i := 0; i+1 < len(b); i += 2 {
			units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
		}
		return string(utf16.Decode(units))
	}
	alphabet := []rune("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà")
	var text []rune
	for i := 0; i < len(b); i++ {
		if b[i] == 0x1b {
			i++
			text = append(text, map[byte]rune{0x65: '€', 0x3c: '[', 0x3e: ']', 0x14: '^', 0x28: '{', 0x29: '}', 0x2f: '\\', 0x3d: '~', 0x40: '|', 0x0a: '\f'}[b[i]])
			continue
		}
		text = append(text, alphabet[b[i]])
	}
	return string(text)
}

func TestAlphabets(t *testing.T) {
	if n := len([]rune(basic)); n != 128 {
		t.Fatalf("the alphabet has %d characters", n)
	}
	for text, want := range map[string]Coding{"é à ü Ñ ß @ € {}": GSM7, "ç": UCS2, "á": UCS2, "\x1b": UCS2, "`": UCS2, "日": UCS2, "ΔΦ": GSM7} {
		coding, parts := Split(text)
		if coding != want || decode(byte(coding), bytes.Join(parts, nil)) != text {
			t.Errorf("%q: %v, %x", text, coding, parts)
		}
	}
}

func TestUCS2Always(t *testing.T) {
	c := smpptest.New(t)
	client := start(t, Config{Dial: c.Dial(t), UCS2: true})
	if _, err := client.Submit(within(t), "+12025550123", "a@b", 0); err != nil {
		t.Fatal(err)
	}
	if s := smpptest.Dissect(t, <-c.Took); s.Coding != 8 || string(s.Text) != "\x00a\x00@\x00b" || s.Registered != 0 {
		t.Errorf("%+v", s)
	}
}

func TestRefusals(t *testing.T) {
	c := smpptest.New(t)
	client := start(t, Config{Dial: c.Dial(t)})
	for _, status := range []uint32{0x58, 0x14, 0x0b, 0x45, 0x1234} {
		c.With(func() { c.Answers = func(int) uint32 { return status } })
		_, err := client.Submit(within(t), "+12025550123", "x", 0)
		if refusedWith(err) != Status(status) {
			t.Errorf("0x%x: %v", status, err)
		}
	}
	c.With(func() { c.Answers = nil })
	if _, err := client.Submit(within(t), "+12025550123", "x", 0); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
	c.With(func() {
		if c.Binds != 1 {
			t.Errorf("%d binds", c.Binds)
		}
	})
}

func TestReceipts(t *testing.T) {
	c := smpptest.New(t)
	heard := make(chan Receipt, 10)
	broken := errors.New("database is away")
	var mu sync.Mutex
	var fail error
	client := start(t, Config{Dial: c.Dial(t), Hear: func(r Receipt) error {
		mu.Lock()
		defer mu.Unlock()
		if fail == nil {
			heard <- r
		}
		return fail
	}})
	waitBound(t, client)
	if _, err := client.Submit(within(t), "+12025550123", "x", 0); err != nil {
		t.Fatal(err)
	}
	usual := "id:%s sub:001 dlvrd:001 submit date:2611271000 done date:2611271001 stat:%s err:%s text:123456 is your"
	for i, row := range []struct {
		pdu  []byte
		want Receipt
	}{
		{smpptest.Receipt(1, fmt.Sprintf(usual, "00", "DELIVRD", "000"), ""), Receipt{"00", Delivered, ""}},
		{smpptest.Receipt(2, fmt.Sprintf(usual, "00", "UNDELIV", "04b"), ""), Receipt{"00", Undeliverable, "04b"}},
		{smpptest.Receipt(3, "ID:7 Stat:expired", ""), Receipt{"7", Expired, ""}},
		{smpptest.Receipt(4, "", "\x00\x1e\x00\x039a\x00"+"\x04\x27\x00\x01\x02"), Receipt{"9a", Delivered, ""}},
		{smpptest.Receipt(5, "", "\x04\x24\x00\x14id:0b1 stat:REJECTD "), Receipt{"0b1", Rejected, ""}},
	} {
		c.Push(row.pdu)
		if ack := <-c.Acks; smpptest.Word(ack, 2) != 0 || smpptest.Word(ack, 3) != uint32(i+1) || string(ack[16:]) != "\x00" {
			t.Errorf("acknowledged with %x", ack)
		}
		if got := <-heard; got != row.want {
			t.Errorf("heard %+v, want %+v", got, row.want)
		}
	}
	// What is no receipt, or none of a known form, is acknowledged and goes no further.
	written := smpptest.Receipt(6, "id:1 stat:DELIVRD", "")
	written[bytes.Index(written, []byte("Bank\x00"))+5] = 0 // esm_class
	for _, pdu := range [][]byte{written, smpptest.Receipt(7, "hello", ""), smpptest.Receipt(8, "id:1 stat:LOST", ""), smpptest.Receipt(9, "id: stat:DELIVRD", "")} {
		c.Push(pdu)
		if ack := <-c.Acks; smpptest.Word(ack, 2) != 0 {
			t.Errorf("acknowledged with %x", ack)
		}
	}
	// What could not be kept is refused, so that it is sent again; what is malformed is refused by another word.
	mu.Lock()
	fail = broken
	mu.Unlock()
	c.Push(smpptest.Receipt(10, "id:1 stat:DELIVRD", ""))
	if ack := <-c.Acks; smpptest.Word(ack, 2) != 0x08 {
		t.Errorf("acknowledged with %x", ack)
	}
	c.Push(smpptest.Receipt(11, "id:1 stat:DELIVRD", "\x00\x1e\x00\xff"))
	if ack := <-c.Acks; smpptest.Word(ack, 2) != 0xc0 {
		t.Errorf("acknowledged with %x", ack)
	}
	if len(heard) != 0 {
		t.Errorf("heard %+v", <-heard)
	}
}

// The connection comes back by itself after it was lost, after longer and longer waits while there is nobody, and meanwhile says so at once.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := smpptest.New(t)
		var dials []time.Duration
		began := time.Now()
		var back atomic.Bool
		client := newClient(t, Config{Dial: func(ctx context.Context) (net.Conn, error) {
			if !back.Load() {
				dials = append(dials, time.Since(began))
				return nil, errors.New("connection refused")
			}
			return c.Pipe(ctx)
		}})
		client.Start(quiet)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		for i := 2; i < len(dials); i++ {
			wait, before := dials[i]-dials[i-1], dials[i-1]-dials[i-2]
			if wait < min(before*3/2, time.Minute) || wait > time.Minute*5/4 {
				t.Errorf("connected at %v", dials)
			}
		}
		asked := time.Now()
		if _, err := client.Submit(t.Context(), "+1202", "x", 0); !errors.Is(err, ErrDown) || time.Since(asked) > 0 {
			t.Errorf("while it is away: %v after %v", err, time.Since(asked))
		}
		back.Store(true)
		time.Sleep(2 * time.Minute)
		if _, err := client.Submit(t.Context(), "+1202", "x", 0); err != nil {
			t.Error(err)
		}
		c.HangUp()
		synctest.Wait()
		time.Sleep(2 * time.Second)
		if _, err := client.Submit(t.Context(), "+1202", "x", 0); err != nil {
			t.Errorf("after it hung up: %v", err)
		}
		client.Close()
		if _, err := client.Submit(t.Context(), "+1202", "x", 0); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		c.HangUp()
	})
}

// An idle connection is asked whether it lives; one that does not answer is replaced.
func TestEnquireLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := smpptest.New(t)
		client := newClient(t, Config{Dial: c.Pipe})
		client.Start(quiet)
		time.Sleep(5*time.Minute + time.Second)
		c.With(func() {
			if c.Enquired != 10 || c.Binds != 1 {
				t.Errorf("asked %d times over %d binds", c.Enquired, c.Binds)
			}
			c.Deaf = true
		})
		time.Sleep(45 * time.Second)
		c.With(func() {
			if c.Binds != 2 {
				t.Errorf("%d binds after silence", c.Binds)
			}
			c.Deaf = false
		})
		c.Push(smpptest.Raw(0x15, 0, 99, "")) // the centre asks, too
		time.Sleep(time.Second)
		client.Close()
		<-c.Left
		c.HangUp()
	})
}

// As many requests wait for answers as the window allows; the next waits its turn, or its context.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := smpptest.New(t)
		c.Silent = true
		client := newClient(t, Config{Dial: c.Pipe, Window: 3})
		client.Start(quiet)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		errs := make(chan error, 5)
		for range 5 {
			go func() {
				_, err := client.Submit(ctx, "+1202", "x", 0)
				errs <- err
			}()
		}
		synctest.Wait()
		c.With(func() {
			if len(c.Submits) != 3 {
				t.Errorf("%d submissions wait", len(c.Submits))
			}
		})
		for range 5 {
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		c.With(func() { c.Silent = false })
		if _, err := client.Submit(t.Context(), "+1202", "x", 0); err != nil {
			t.Errorf("after the silence: %v", err)
		}
		client.Close()
		c.HangUp()
	})
}

// A lost connection ends what waits for it.
func TestLostWhileWaiting(t *testing.T) {
	c := smpptest.New(t)
	c.Silent = true
	client := start(t, Config{Dial: c.Dial(t)})
	failed := make(chan error, 1)
	go func() {
		_, err := client.Submit(within(t), "+1202", "x", 0)
		failed <- err
	}()
	<-c.Took
	c.HangUp()
	if err := <-failed; !errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

// Check says whether system id and password are right, without a connection that stays.
func TestCheck(t *testing.T) {
	c := smpptest.New(t)
	client := newClient(t, Config{Dial: c.Dial(t)})
	defer client.Close()
	if err := client.Check(within(t)); err != nil {
		t.Error(err)
	}
	<-c.Left
	c.With(func() { c.BindWith = 0x0e })
	if err := client.Check(within(t)); refusedWith(err) != StatusPassword {
		t.Error(err)
	}
	nowhere := newClient(t, Config{Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("refused") }})
	defer nowhere.Close()
	if err := nowhere.Check(within(t)); err == nil {
		t.Error("nobody answered, and that was right")
	}
}

// What is not SMPP ends the connection, whatever it is; what is not known is refused and changes nothing.
func TestHostileCentre(t *testing.T) {
	for what, bytes := range map[string][]byte{
		"length below 16":   append([]byte{0, 0, 0, 15}, make([]byte, 12)...),
		"length of a world": append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 12)...),
	} {
		t.Run(what, func(t *testing.T) {
			c := smpptest.New(t)
			client := start(t, Config{Dial: c.Dial(t)})
			s, err := client.session(within(t))
			if err != nil {
				t.Fatal(err)
			}
			c.Push(bytes)
			<-s.ended
			if !errors.Is(s.why, errMalformed) {
				t.Errorf("ended by %v", s.why)
			}
		})
	}
}

// waitBound waits until the client has a connection.
func waitBound(t *testing.T, client *Client) {
	t.Helper()
	if _, err := client.session(within(t)); err != nil {
		t.Fatal(err)
	}
}

func TestStatusNames(t *testing.T) {
	if got := StatusThrottled.String() + ", " + Status(0x500).String(); got != "ESME_RTHROTTLED (0x58), status 0x500" {
		t.Error(got)
	}
}

func TestValidity(t *testing.T) {
	var got []string
	for _, life := range []time.Duration{0, -time.Second, time.Second, 10 * time.Minute, 90 * time.Minute, 400 * time.Hour} {
		got = append(got, validity(life))
	}
	want := []string{"", "", "000000000001000R", "000000001000000R", "000000013000000R", "000000235959000R"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzRead feeds the wire: whatever arrives is read or refused, within bounds, and what is read is written the same.
func FuzzRead(f *testing.F) {
	f.Add(smpptest.Raw(0x15, 0, 1, ""))
	f.Add(smpptest.Receipt(1, "id:1 stat:DELIVRD err:000", "\x00\x1e\x00\x021\x00"))
	f.Add(smpptest.Raw(0x80000004, 0, 3, "id\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readPDU(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := p.bytes(); !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%x became %x", b, again)
		}
		if d, err := parseDeliver(p.body); err == nil {
			if r, ok := receiptOf(d); ok && (r.ID == "" || len(r.ID) >= maxID || !printable(r.ID+r.Error) || !slices.Contains(states, r.State)) {
				t.Errorf("receipt %+v", r)
			}
		}
		if id, err := messageID(p.body); err == nil && len(id) >= maxID {
			t.Errorf("an id of %d octets", len(id))
		}
	})
}

// FuzzSplit: a telephone reads the text that was written, whatever it is.
func FuzzSplit(f *testing.F) {
	f.Add("123456 is your Bank code", 0)
	f.Add(strings.Repeat("€", 200), 1)
	f.Add(strings.Repeat("😀ж", 100), 2)
	f.Fuzz(func(t *testing.T, text string, _ int) {
		text = strings.ToValidUTF8(text, "")
		coding, parts := Split(text)
		most := map[Coding]int{GSM7: gsmAlone, UCS2: 2 * ucs2Alone}[coding]
		if len(parts) > 1 {
			most = map[Coding]int{GSM7: gsmPart, UCS2: 2 * ucs2Part}[coding]
		}
		for _, part := range parts {
			if len(part) > most {
				t.Errorf("a part of %d octets", len(part))
			}
		}
		if got := decode(byte(coding), bytes.Join(parts, nil)); got != text {
			t.Errorf("%q arrives as %q", text, got)
		}
	})
}

// start connects a client to the centre.
func start(t *testing.T, cfg Config) *Client {
	t.Helper()
	client := newClient(t, cfg)
	client.Start(quiet)
	t.Cleanup(client.Close)
	return client
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// refusedWith returns the status of a refusal.
func refusedWith(err error) Status {
	if refused, ok := errors.AsType[*Refused](err); ok {
		return refused.Status
	}
	return StatusOK
}

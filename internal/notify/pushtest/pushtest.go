// Package pushtest is a push service for tests, on loopback: it holds every message to the standards as strictly as real
// ones do, decrypts with code of its own, and misbehaves on command.
package pushtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaxBody is the largest message that is taken (RFC 8030 section 7.2 asks for at least this).
const MaxBody = 4096

// Message is one that was taken.
type Message struct {
	Subscription string // its id
	Body         []byte // encrypted
	TTL          int
	Topic        string
	Urgency      string
	Subject      string // of the VAPID token
}

// Refusal is how the service misbehaves to one request.
type Refusal struct {
	Status     int
	RetryAfter string // header, "" for none
}

// Service is the push service's HTTP half. Mount it at /push/ and set URL.
type Service struct {
	URL string // its origin
	Now func() time.Time
	// Deliver is told of each message that was taken. It must not block.
	Deliver func(Message)

	mu       sync.Mutex
	keys     map[string]string // applicationServerKey by subscription; "" takes any
	gone     map[string]bool
	refusals []Refusal
	faults   []error // what was wrong with requests
	asked    int
}

// Register makes a subscription's endpoint, restricted to one application server's key: base64url, or "" for any.
func (s *Service) Register(key string) (id, endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys, s.gone = map[string]string{}, map[string]bool{}
	}
	id = rand.Text()
	s.keys[id] = key
	return id, s.URL + "/push/" + id
}

// Forget ends a subscription: its endpoint answers 410 from now on.
func (s *Service) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[id] = true
}

// Refuse answers the next requests as it is told, in this order, though they are right.
func (s *Service) Refuse(with ...Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, with...)
}

// Faults returns what was wrong with requests so far; a right sender causes none.
func (s *Service) Faults() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.faults...)
}

// Asked returns how many requests there were, refused ones included.
func (s *Service) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/push/")
	key, refusal, status := s.find(id)
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	m, status, err := s.check(r, id, key)
	if err != nil {
		s.mu.Lock()
		s.faults = append(s.faults, err)
		s.mu.Unlock()
		http.Error(w, err.Error(), status)
		return
	}
	if refusal.Status != 0 {
		if refusal.RetryAfter != "" {
			w.Header().Set("Retry-After", refusal.RetryAfter)
		}
		w.WriteHeader(refusal.Status)
		return
	}
	s.Deliver(m)
	w.Header().Set("Location", s.URL+"/message/"+rand.Text())
	w.Header().Set("TTL", strconv.Itoa(m.TTL))
	w.WriteHeader(http.StatusCreated)
}

// find returns what is known of a subscription and how to misbehave to this request.
func (s *Service) find(id string) (key string, refusal Refusal, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	key, ok := s.keys[id]
	switch {
	case !ok:
		return "", refusal, http.StatusNotFound
	case s.gone[id]:
		return "", refusal, http.StatusGone
	}
	if len(s.refusals) > 0 {
		refusal, s.refusals = s.refusals[0], s.refusals[1:]
	}
	return key, refusal, 0
}

var topicForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// check holds a request to RFC 8030, RFC 8188 and RFC 8292.
func (s *Service) check(r *http.Request, id, key string) (m Message, status int, err error) {
	if r.Method != http.MethodPost {
		return m, http.StatusMethodNotAllowed, fmt.Errorf("method %s", r.Method)
	}
	subject, status, err := s.checkVAPID(r.Header.Get("Authorization"), key)
	if err != nil {
		return m, status, err
	}
	m = Message{Subscription: id, Topic: r.Header.Get("Topic"), Urgency: r.Header.Get("Urgency"), Subject: subject}
	if m.TTL, err = strconv.Atoi(r.Header.Get("TTL")); err != nil || m.TTL < 0 || m.TTL > 28*86400 {
		return m, http.StatusBadRequest, fmt.Errorf("TTL %q", r.Header.Get("TTL"))
	}
	if m.Topic != "" && !topicForm.MatchString(m.Topic) {
		return m, http.StatusBadRequest, fmt.Errorf("topic %q", m.Topic)
	}
	if !strings.Contains(" very-low low normal high ", " "+m.Urgency+" ") {
		return m, http.StatusBadRequest, fmt.Errorf("urgency %q", m.Urgency)
	}
	if r.Header.Get("Content-Encoding") != "aes128gcm" {
		return m, http.StatusUnsupportedMediaType, fmt.Errorf("content encoding %q", r.Header.Get("Content-Encoding"))
	}
	m.Body, err = io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	switch {
	case err != nil:
		return m, http.StatusBadRequest, err
	case len(m.Body) > MaxBody:
		return m, http.StatusRequestEntityTooLarge, errors.New("more than 4096 bytes")
	case len(m.Body) < 16+4+1+65+16+1:
		return m, http.StatusBadRequest, fmt.Errorf("%d bytes are no message", len(m.Body))
	}
	return m, 0, nil
}

// checkVAPID checks the token's signature, audience, time and subject.
func (s *Service) checkVAPID(header, key string) (subject string, status int, err error) {
	found := regexp.MustCompile(`^vapid t=([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+), ?k=([A-Za-z0-9_-]+)$`).FindStringSubmatch(header)
	if found == nil {
		return "", http.StatusUnauthorized, fmt.Errorf("authorization %q", header)
	}
	if key != "" && found[4] != key {
		return "", http.StatusForbidden, fmt.Errorf("signed with %s, subscribed with %s", found[4], key)
	}
	point, err := base64.RawURLEncoding.DecodeString(found[4])
	if err != nil {
		return "", http.StatusUnauthorized, err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return "", http.StatusUnauthorized, err
	}
	var head struct{ Typ, Alg string }
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	signature, err := base64.RawURLEncoding.DecodeString(found[3])
	if err = errors.Join(err, fromJSON(found[1], &head), fromJSON(found[2], &claims)); err != nil {
		return "", http.StatusUnauthorized, err
	}
	digest := sha256.Sum256([]byte(found[1] + "." + found[2]))
	left := time.Unix(claims.Exp, 0).Sub(s.Now())
	switch {
	case head.Alg != "ES256" || head.Typ != "JWT":
		err = fmt.Errorf("token of type %+v", head)
	case len(signature) != 64 || !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])):
		err = errors.New("the token's signature is wrong")
	case claims.Aud != s.URL:
		err = fmt.Errorf("the token is for %q, this is %q", claims.Aud, s.URL)
	case left <= 0 || left > 24*time.Hour:
		err = fmt.Errorf("the token is good for %v", left)
	case !strings.HasPrefix(claims.Sub, "mailto:") && !strings.HasPrefix(claims.Sub, "https://"):
		err = fmt.Errorf("the token's subject is %q", claims.Sub)
	default:
		return claims.Sub, 0, nil
	}
	return "", http.StatusForbidden, err
}

func fromJSON(part string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// Browser is the receiving end of a subscription.
type Browser struct {
	key  *ecdh.PrivateKey
	Auth []byte
}

// NewBrowser returns a browser with fresh keys.
func NewBrowser() *Browser {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails since Go 1.24
	}
	b := &Browser{key: key, Auth: make([]byte, 16)}
	rand.Read(b.Auth)
	return b
}

// BrowserOf returns the browser with that private key.
func BrowserOf(private, auth []byte) (*Browser, error) {
	key, err := ecdh.P256().NewPrivateKey(private)
	return &Browser{key: key, Auth: auth}, err
}

// P256dh is the browser's public key.
func (b *Browser) P256dh() []byte { return b.key.PublicKey().Bytes() }

// Decrypt reads a message. It is written from the standards with nothing but HMAC, AES and the curve, so that it shares no mistake with
// the sender.
func (b *Browser) Decrypt(body []byte) ([]byte, error) {
	if len(body) < 21 || len(body) < 21+int(body[20]) {
		return nil, errors.New("no header")
	}
	salt, size, sender := body[:16], binary.BigEndian.Uint32(body[16:20]), body[21:21+int(body[20])]
	record := body[21+len(sender):]
	if uint64(len(record)) > uint64(size) || size < 18 {
		return nil, fmt.Errorf("%d bytes in a record of %d", len(record), size)
	}
	peer, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		return nil, err
	}
	shared, err := b.key.ECDH(peer)
	if err != nil {
		return nil, err
	}
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(sha256.New, key)
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	one := []byte{1}
	keying := mac(mac(b.Auth, shared), []byte("WebPush: info\x00"), b.P256dh(), sender, one)
	pseudo := mac(salt, keying)
	block, err := aes.NewCipher(mac(pseudo, []byte("Content-Encoding: aes128gcm\x00"), one)[:16])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, mac(pseudo, []byte("Content-Encoding: nonce\x00"), one)[:12], record, nil)
	if err != nil {
		return nil, err
	}
	plain = bytes.TrimRight(plain, "\x00")
	if len(plain) == 0 || plain[len(plain)-1] != 2 {
		return nil, errors.New("the last record is not marked as such")
	}
	return plain[:len(plain)-1], nil
}

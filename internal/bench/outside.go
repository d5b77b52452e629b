package bench

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"countersign.dev/client/callback"
)

// This file owns what the service speaks to: the application's receiver of callbacks, and the gateway that takes text messages.

const (
	callbackPath = "/callback"
	gatewayPath  = "/messages"
)

// gatewaySecret signs what the server hands to the gateway.
var gatewaySecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of the bench's own gateway"))

// outside answers the server's own requests, in the bench's process.
type outside struct {
	base    string
	server  *http.Server
	decided waiting[string] // status by uuid
	codes   waiting[string] // code by phone number
}

// listen starts to answer on a loopback port.
func listen() (*outside, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &outside{base: "http://" + ln.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+gatewayPath, o.message)
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	go o.server.Serve(ln) // ends by Close
	return o, nil
}

// receive takes callbacks of an application whose secret signs them, checked as an application would.
func (o *outside) receive(secret string) {
	v := &callback.Verifier{URL: o.base + callbackPath, Secrets: []string{secret}}
	mux := http.NewServeMux()
	mux.Handle("POST "+callbackPath, v.Handler(func(_ context.Context, e callback.Event) error {
		o.decided.tell(e.UUID, e.Status)
		return nil
	}))
	mux.HandleFunc("POST "+gatewayPath, o.message)
	o.server.Handler = mux
}

// message takes a text message, as a gateway of the operator's would.
func (o *outside) message(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err == nil {
		_, err = callback.VerifyWebhook([]string{gatewaySecret}, r.Header, body, time.Now(), callback.DefaultWindow)
	}
	var m struct {
		Data struct{ To, Code string }
	}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.codes.tell(m.Data.To, m.Data.Code)
}

func (o *outside) close() { o.server.Close() }

// waiting connects those who wait for something by name with what comes. The zero value is ready.
type waiting[T any] struct {
	mu    sync.Mutex // guards slots
	slots map[string]chan T
}

// expect returns where what comes under that name will be readable.
func (w *waiting[T]) expect(name string) <-chan T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slots == nil {
		w.slots = map[string]chan T{}
	}
	slot := make(chan T, 1)
	w.slots[name] = slot
	return slot
}

// tell hands over what came. Nobody waits for what comes again.
func (w *waiting[T]) tell(name string, v T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slot := w.slots[name]; slot != nil {
		slot <- v
		delete(w.slots, name)
	}
}

// forget gives up waiting.
func (w *waiting[T]) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.slots, name)
}

var (
	errNoCallback = errors.New("no callback came in time")
	errNoMessage  = errors.New("no text message came in time")
)

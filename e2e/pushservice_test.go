// This file owns a push service on loopback: internal/notify/pushtest for what senders see, and the WebSocket protocol
// through which Firefox subscribes and is told.

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"countersign.dev/internal/notify/pushtest"
)

// pushService is a push service with one browser.
type pushService struct {
	*pushtest.Service
	t      *testing.T
	Socket string // where the browser connects

	mu       sync.Mutex
	browser  *websocket.Conn
	channels map[string]string // the browser's name of a subscription, by ours
	acked    chan int          // codes with which the browser says what became of messages
	taken    chan pushtest.Message
}

// startPushService listens on loopback until the test ends.
func startPushService(t *testing.T) *pushService {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().String()
	p := &pushService{t: t, Socket: "ws://" + port + "/", channels: map[string]string{}, acked: make(chan int, 100), taken: make(chan pushtest.Message, 100)}
	p.Service = &pushtest.Service{URL: "http://" + port, Now: time.Now, Deliver: p.forward}
	ctx, cancel := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/push/", p.Service)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { p.converse(ctx, w, r) })
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() {
		cancel()
		srv.Close()
	})
	return p
}

// hello, register, unregister and ack are all that a browser says, in one shape.
type said struct {
	MessageType string `json:"messageType"`
	ChannelID   string `json:"channelID"`
	Key         string `json:"key"`
	Updates     []struct {
		Code int `json:"code"`
	} `json:"updates"`
}

// converse talks with the browser until it leaves.
func (p *pushService) converse(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"push-notification"}, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		var in said
		if err := wsjson.Read(ctx, conn, &in); err != nil {
			return
		}
		if err := p.answer(ctx, conn, in); err != nil {
			return
		}
	}
}

func (p *pushService) answer(ctx context.Context, conn *websocket.Conn, in said) error {
	switch in.MessageType {
	case "hello":
		p.mu.Lock()
		p.browser = conn
		p.mu.Unlock()
		return wsjson.Write(ctx, conn, map[string]any{"messageType": "hello", "status": 200, "uaid": rand.Text(), "use_webpush": true, "broadcasts": map[string]any{}})
	case "register":
		key := in.Key
		if raw, err := base64.URLEncoding.DecodeString(key); err == nil { // browsers pad it
			key = base64.RawURLEncoding.EncodeToString(raw)
		}
		id, endpoint := p.Register(key)
		p.mu.Lock()
		p.channels[id] = in.ChannelID
		p.mu.Unlock()
		return wsjson.Write(ctx, conn, map[string]any{"messageType": "register", "status": 200, "channelID": in.ChannelID, "pushEndpoint": endpoint})
	case "unregister":
		p.mu.Lock()
		for id, channel := range p.channels {
			if channel == in.ChannelID {
				p.Forget(id)
			}
		}
		p.mu.Unlock()
		return wsjson.Write(ctx, conn, map[string]any{"messageType": "unregister", "status": 200, "channelID": in.ChannelID})
	case "ack":
		for _, update := range in.Updates {
			p.acked <- update.Code
		}
	}
	return nil
}

// forward hands a message that was taken to the browser.
func (p *pushService) forward(m pushtest.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken <- m
	if p.browser == nil {
		return
	}
	err := wsjson.Write(context.Background(), p.browser, map[string]any{
		"messageType": "notification", "channelID": p.channels[m.Subscription], "version": rand.Text(),
		"data": base64.RawURLEncoding.EncodeToString(m.Body), "headers": map[string]string{"encoding": "aes128gcm"},
	})
	if err != nil {
		p.t.Errorf("tell the browser: %v", err)
	}
}

// forgetBrowser ends the conversation. The browser comes back, is given another name, and so learns that its subscriptions have ended.
func (p *pushService) forgetBrowser() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.channels {
		p.Forget(id)
	}
	p.browser.CloseNow()
}

// subscriptions returns how many subscriptions were ever made.
func (p *pushService) subscriptions() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id := range p.channels {
		ids = append(ids, id)
	}
	return ids
}

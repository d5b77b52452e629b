package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"countersign.dev/internal/transfer"
)

// This file owns the socket: HTTP, because it brings lengths, time limits and a clean stop.

// Folder and file of the socket, below the database's folder. The folder is its owner's alone, from before there is a socket in it.
const (
	folder = "admin"
	file   = "socket"
)

// maxRequest bounds a request, such as a batch of users, and maxAnswer an answer, in bytes.
const (
	maxRequest = 1 << 20
	maxAnswer  = 16 << 20
)

// Socket answers the commands of this machine.
type Socket struct {
	http *http.Server
	done chan struct{}
}

// Serve opens the socket below dir, which nobody else uses, and answers on it.
func Serve(dir string, a *Admin, log *slog.Logger) (*Socket, error) {
	own := filepath.Join(dir, folder)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(own, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(own, file)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that was killed
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the socket for commands: %w; its path may have about 100 characters: choose a shorter data folder", err)
	}
	s := &Socket{done: make(chan struct{})}
	s.http = &http.Server{Handler: handler(a, log), ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("stopped answering commands", "error", err)
		}
	}()
	return s, nil
}

// Stop lets running commands end, until ctx does, and removes the socket.
func (s *Socket) Stop(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	<-s.done
}

func handler(a *Admin, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		var text []byte
		if err == nil {
			text, err = a.answer(r.Context(), request)
		}
		if err != nil {
			log.Error("a command failed", "error", err)
			http.Error(w, "it failed, and the log of the running countersign says why", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(text)
	})
	return mux
}

// Dial returns a client of the process that serves below dir, or an error when none does.
func Dial(ctx context.Context, dir string) (*Client, error) {
	path := filepath.Join(dir, folder, file)
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	conn, err := connect(ctx, "", "")
	if err != nil {
		return nil, err
	}
	conn.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: connect, DisableKeepAlives: true}, Timeout: time.Minute}
	return &Client{Batch: transfer.BatchSize, ask: func(ctx context.Context, r Request) ([]byte, error) {
		body, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://countersign/", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		res, err := client.Do(request)
		if err != nil {
			return nil, fmt.Errorf("ask the running countersign: %w", err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("the running countersign: %s", bytes.TrimSpace(text))
		}
		return text, err
	}}, nil
}

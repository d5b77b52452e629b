package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// This file owns the processes that are measured: `countersign serve` over the filled database, on loopback ports that the system
// chooses, with the settings that everybody gets.

// stopWithin is how long a process may take to stop before it is killed.
const stopWithin = 30 * time.Second

// process is a running program.
type process struct {
	site   *site
	cmd    *exec.Cmd
	log    string // file with what it says
	ended  chan struct{}
	err    error  // why it ended; read after ended
	base   string // of the bare handler
	doors  map[string]string
	took   time.Duration // until it was ready
	client *http.Client
}

// start starts the server, with more settings than everybody gets.
func (s *site) start(ctx context.Context, program string, more ...string) (*process, error) {
	key := filepath.Join(s.dir, "master.key")
	if err := os.WriteFile(key, []byte(s.masterHex()+"\n"), 0o600); err != nil {
		return nil, err
	}
	gateway := "webhook+http://" + strings.TrimPrefix(s.outside.base, "http://") + gatewayPath + "?secret=" + url.QueryEscape(gatewaySecret)
	args := []string{
		"serve", "--json", "--data", s.dir, "--database", s.database, "--master-key-file", key, "--owner-email", "owner@example.com",
		"--api-url", apiURL, "--authenticator-url", authenticatorURL, "--console-url", consoleURL,
		"--api-addr", "127.0.0.1:0", "--authenticator-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0",
		"--private-callbacks", "--sms-gateway", gateway, "--shutdown-grace", "1ms",
	}
	if s.secret != "" {
		s.outside.receive(s.secret)
	}
	var ready struct {
		Listening map[string]string `json:"listening"`
	}
	p, err := launch(ctx, filepath.Join(s.dir, "server.log"), program, append(args, more...), &ready)
	if err != nil {
		return nil, err
	}
	p.site, p.doors = s, ready.Listening
	s.client = newClient(p.doors)
	return p, nil
}

// launch starts a program that prints one line of JSON when it is ready. What it says goes to a file.
func launch(ctx context.Context, log, program string, args []string, ready any) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), log: log, ended: make(chan struct{})}
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "COUNTERSIGN_") || strings.HasPrefix(v, "OTEL_") })
	p.cmd.SysProcAttr = dependent()
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p.cmd.Stderr = file
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	err = json.NewDecoder(out).Decode(ready)
	p.took = time.Since(begun)
	go func() {
		io.Copy(io.Discard, out) // until it ends
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	if err != nil {
		_ = p.stop()
		return nil, fmt.Errorf("%s %s did not start: %s", filepath.Base(program), args[0], p.said())
	}
	context.AfterFunc(ctx, func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) })
	return p, nil
}

// stop ends the program, and reports when it did not end well.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return errors.New("the server did not stop, and was killed")
	}
	if p.err != nil {
		return fmt.Errorf("the server ended with %w: %s", p.err, p.said())
	}
	return nil
}

// profile keeps a processor profile of that length.
func (p *process) profile(ctx context.Context, file string, length time.Duration) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.doors["ops"], max(1, int(length.Seconds()))), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, answer.Body)
	return errors.Join(err, out.Close())
}

// newClient returns a client that finds the surfaces by the first part of their names, and keeps connections.
func newClient(doors map[string]string) *http.Client {
	dialer := &net.Dialer{}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			name, _, _ := strings.Cut(addr, ".")
			if door := doors[name]; door != "" {
				addr = door
			}
			return dialer.DialContext(ctx, network, addr)
		},
		MaxIdleConns: 0, MaxIdleConnsPerHost: 4096, DisableCompression: true,
	}}
}

// ask makes one request and reads the answer. Header is used as it is, and not changed.
func ask(ctx context.Context, client *http.Client, method, address string, header http.Header, body string) ([]byte, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return nil, err
	}
	r.Header = header
	answer, err := client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.DeadlineExceeded
		}
		return nil, errors.New("the connection broke")
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, errors.New("the answer broke off")
	}
	if answer.StatusCode/100 != 2 {
		return raw, fmt.Errorf("answered %d%s", answer.StatusCode, told(raw))
	}
	return raw, nil
}

// told is the code of an error as the service tells it, of which there are few.
func told(raw []byte) string {
	var e struct {
		Code string `json:"error_code"`
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &e) != nil || e.Code+e.Type == "" {
		return ""
	}
	return " " + e.Code + e.Type
}

// said is the end of what the program said.
func (p *process) said() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(raw[max(0, len(raw)-2048):]))
}

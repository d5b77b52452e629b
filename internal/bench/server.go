package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	client *client
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

// said is the end of what the program said.
func (p *process) said() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(raw[max(0, len(raw)-2048):]))
}

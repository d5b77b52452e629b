// This file owns the server under test: building the binary, starting `countersign dev`, and stopping it.

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Time limits. They are long because a small machine runs several tests at once; nothing waits for them to pass.
const (
	startWithin = 30 * time.Second
	stopWithin  = 5 * time.Second // what `dev` promises
	waitWithin  = 20 * time.Second
)

// binary is the program under test; raceBinary is the same with the race detector, or the same.
var binary, raceBinary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "countersign-e2e-")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if binary = os.Getenv("COUNTERSIGN_BINARY"); binary == "" {
			binary = filepath.Join(dir, "countersign")
			build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./cmd/countersign")
			build.Dir, build.Stderr = "..", os.Stderr
			if err := build.Run(); err != nil {
				log.Print("build the binary: ", err)
				return 1
			}
		}
		if err := trustUs(dir); err != nil {
			log.Print(err)
			return 1
		}
		raceBinary = cmp.Or(os.Getenv("COUNTERSIGN_RACE_BINARY"), binary)
		defer closeBrowser()
		return m.Run()
	}())
}

// ready is dev.json.
type ready struct {
	APIURL           string `json:"api_url"`
	AuthenticatorURL string `json:"authenticator_url"`
	ConsoleURL       string `json:"console_url"`
	ConsoleLoginURL  string `json:"console_login_url"`
	LoginURL         string `json:"login_url"`
	OutboxURL        string `json:"outbox_url"`
	APIKey           string `json:"api_key"`
	PID              int    `json:"pid"`
}

// dev is a `countersign dev` and its data folder, which outlives the process.
type dev struct {
	ready
	t       *testing.T
	dir     string
	program []string // what is run, before the arguments
	args    []string

	mails func(to string) ([]message, error)              // of the sample application, newest first; nil: they are in the outbox
	texts func(t *testing.T, number string) (code string) // of the next text message to an American number; nil: it is in the outbox

	cmd    *exec.Cmd
	stderr *lockedBuffer // of all processes of this folder, one after the other
	exited chan struct{} // closed when the process is gone
}

// startDev starts a server in a new folder, on free ports, and stops it when the test ends.
func startDev(t *testing.T) *dev {
	t.Helper()
	return startDevWith(t, raceBinary)
}

// startPlainDev is startDev without the race detector, for tests of speed and of system calls.
func startPlainDev(t *testing.T, wrap ...string) *dev {
	t.Helper()
	return startDevWith(t, append(wrap, binary)...)
}

func startDevWith(t *testing.T, program ...string) *dev {
	t.Helper()
	d := newDev(t, program...)
	d.start()
	return d
}

// newDev is a server that is not started yet.
func newDev(t *testing.T, program ...string) *dev {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	d := &dev{t: t, dir: dir, program: program, stderr: &lockedBuffer{}}
	d.args = []string{
		"dev", "--json", "--data", dir, "--api-addr", "127.0.0.1:0", "--authenticator-addr", "127.0.0.1:0",
		"--console-addr", "127.0.0.1:0", "--login-addr", "127.0.0.1:0",
	}
	t.Cleanup(func() {
		if d.running() {
			d.stop()
		}
		if t.Failed() {
			d.save("server.log", d.stderr.Bytes())
		}
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
			if strings.Contains(d.stderr.String(), bad) {
				t.Errorf("the server printed %q:\n%s", bad, d.stderr)
			}
		}
	})
	return d
}

func (d *dev) running() bool {
	if d.cmd == nil {
		return false
	}
	select {
	case <-d.exited:
		return false
	default:
		return true
	}
}

// start starts the process and returns when it says that it is ready.
func (d *dev) start() {
	d.t.Helper()
	stdout := d.launch()
	var line string
	var err error
	told := make(chan struct{})
	go func() {
		defer close(told)
		line, err = bufio.NewReader(stdout).ReadString('\n')
	}()
	select {
	case <-told:
	case <-time.After(startWithin):
		d.kill()
		d.t.Fatalf("not ready after %v\n%s", startWithin, d.stderr)
	}
	if err != nil {
		d.t.Fatalf("the server ended before it was ready: %v\n%s", err, d.stderr)
	}
	d.ready = ready{}
	if err := json.Unmarshal([]byte(line), &d.ready); err != nil {
		d.t.Fatalf("the first line is not JSON: %v: %s", err, line)
	}
}

// launch starts the process and returns its standard output.
func (d *dev) launch() io.Reader {
	d.t.Helper()
	d.cmd = exec.Command(d.program[0], append(d.program[1:len(d.program):len(d.program)], d.args...)...)
	d.cmd.Stderr = d.stderr
	out, in, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	d.cmd.Stdout = in
	err = d.cmd.Start()
	in.Close()
	if err != nil {
		d.t.Fatal(err)
	}
	d.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		out.Close()
		close(exited)
	}(d.cmd, d.exited)
	return out
}

// stop interrupts the process, and fails the test when it does not end well and in time.
func (d *dev) stop() {
	d.t.Helper()
	began := time.Now()
	if err := syscall.Kill(d.PID, syscall.SIGINT); err != nil {
		d.t.Errorf("interrupt: %v", err)
	}
	select {
	case <-d.exited:
	case <-time.After(2 * stopWithin): // so that the message can say how long it took
		d.t.Errorf("not stopped %v after the interrupt", 2*stopWithin)
		d.kill()
		return
	}
	if took := time.Since(began); took > stopWithin {
		d.t.Errorf("stopping took %v, want %v", took, stopWithin)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("exit code %d after an interrupt, want 0\n%s", code, d.stderr)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "dev.json")); !errors.Is(err, os.ErrNotExist) {
		d.t.Errorf("dev.json is still there after the stop: %v", err)
	}
}

// kill ends the process at once, as a power cut would end it, and waits until it is gone.
func (d *dev) kill() {
	d.t.Helper()
	pid := d.cmd.Process.Pid
	if d.PID != 0 {
		pid = d.PID // behind a tracer, the server is not our own child
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		d.t.Fatalf("kill: %v", err)
	}
	<-d.exited
}

// save keeps what helps to understand a failure.
func (d *dev) save(name string, data []byte) {
	if err := os.WriteFile(filepath.Join(d.t.ArtifactDir(), name), data, 0o600); err != nil {
		d.t.Log(err)
	}
}

// lockedBuffer is a buffer for a process to write and a test to read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

func (b *lockedBuffer) String() string { return string(b.Bytes()) }

// eventually asks until the answer is yes, and fails the test when that takes too long. what says what was waited
// for; the probe's error says what was seen instead.
func eventually(t *testing.T, within time.Duration, what string, probe func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(25 * time.Millisecond)
	defer again.Stop()
	for {
		err := probe()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s: %v", within, what, err)
		}
	}
}

// want returns an error unless got is what was wanted.
func want[T comparable](what string, got, want T) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%s is %v, want %v", what, got, want)
}

// in is the same server for a subtest.
func (d *dev) in(t *testing.T) *dev {
	same := *d
	same.t = t
	return &same
}

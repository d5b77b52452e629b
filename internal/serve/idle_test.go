//go:build linux

package serve

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/servertest"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/store"
)

// This file owns what waiting costs: the resident memory of a process of its own, with streams open and nothing happening.

// The environment of the process that is measured, which is this test's program once more.
const (
	envFolder  = "COUNTERSIGN_IDLE_FOLDER" // its database
	envMaster  = "COUNTERSIGN_IDLE_MASTER"
	envStreams = "COUNTERSIGN_IDLE_STREAMS" // how many streams to measure with; docs/scale.md says how
	envSettle  = "COUNTERSIGN_IDLE_SETTLE"  // for how long to look on afterwards
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(envFolder); folder != "" {
		if err := idle(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	m.Run()
}

// idle serves until its input ends.
func idle(folder string) error {
	master, err := base64.StdEncoding.DecodeString(os.Getenv(envMaster))
	if err != nil {
		return err
	}
	s := local(folder)
	s.MasterKey, s.AuthenticatorURL = master, settings.URL(servertest.Origin)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return Run(ctx, Config{Settings: s, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, func(r Ready) error {
		_, err := fmt.Println(r.Listening["authenticator"], r.Listening["ops"])
		return err
	})
}

// measured is a running process of that kind.
type measured struct {
	*testing.T
	pid                int
	authenticator, ops string // addresses
	end                func()
}

// measure starts one on a database with so many phones, and returns their sessions.
func measure(t *testing.T, phones int) (*measured, []string) {
	dir := t.TempDir()
	db, err := store.OpenSQLite(t.Context(), filepath.Join(dir, "countersign.db"))
	if err != nil {
		t.Fatal(err)
	}
	server := servertest.On(t, db)
	server.Clock.Advance(time.Since(server.Clock.Now()))
	sessions := enroll(t, server, phones)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envFolder+"="+dir, envMaster+"="+base64.StdEncoding.EncodeToString(server.Master))
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := &measured{T: t, pid: cmd.Process.Pid}
	m.end = sync.OnceFunc(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.end)
	if _, err := fmt.Fscan(out, &m.authenticator, &m.ops); err != nil {
		t.Fatal("did not start:", err)
	}
	return m, sessions
}

// enroll makes users with a phone each, and returns the phones' sessions.
func enroll(t *testing.T, server *servertest.Server, n int) []string {
	sessions := make([]string, n)
	shop := server.App(t, "Shop")
	var wg sync.WaitGroup
	const lanes = 32
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < n; i += lanes {
				number := fmt.Sprintf("202-%03d-%04d", 200+i/10_000, i%10_000)
				sessions[i] = server.Phone(t, shop, server.User(t, shop, fmt.Sprintf("p%d@example.com", i), number)).Session
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return sessions
}

// resident returns the process's memory, in bytes.
func (m *measured) resident() int64 {
	m.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		m.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kB, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				m.Fatal(err)
			}
			return kB << 10
		}
	}
	m.Fatal("no VmRSS")
	return 0
}

// collect has the process collect its garbage.
func (m *measured) collect() {
	m.Helper()
	res, err := http.Get("http://" + m.ops + "/debug/pprof/heap?gc=1")
	if err != nil {
		m.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
}

// listen opens a stream, and returns when it has begun.
func (m *measured) listen(session string) net.Conn {
	m.Helper()
	conn, err := net.Dial("tcp", m.authenticator)
	if err == nil {
		_, err = fmt.Fprintf(conn, "GET /device/v1/events HTTP/1.1\r\nHost: localhost:8302\r\nCookie: countersign_device=%s\r\n\r\n", session)
	}
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { conn.Close() })
	head := bufio.NewReaderSize(conn, 2<<10)
	for line := ""; !strings.HasPrefix(line, "retry:"); {
		if line, err = head.ReadString('\n'); err != nil {
			m.Fatal(err)
		}
	}
	return conn
}

// warm asks for what each phone may see, so that the database's caches, which are bounded, are not counted as streams.
func (m *measured) warm(sessions []string) {
	var wg sync.WaitGroup
	const lanes = 8
	for lane := range lanes {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := lane; i < len(sessions); i += lanes {
				r, err := http.NewRequest(http.MethodGet, "http://"+m.authenticator+"/device/v1/grants", nil)
				if err != nil {
					m.Error(err)
					return
				}
				r.Host = "localhost:8302"
				r.AddCookie(&http.Cookie{Name: "countersign_device", Value: sessions[i]})
				res, err := client.Do(r)
				if err != nil {
					m.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	wg.Wait()
	m.collect()
}

// A waiting stream costs a few kilobytes, and a process that does nothing fits in 60 MiB.
func TestIdle(t *testing.T) {
	n := 600
	if told := os.Getenv(envStreams); told != "" {
		var err error
		if n, err = strconv.Atoi(told); err != nil {
			t.Fatal(err)
		}
	}
	m, sessions := measure(t, n)
	idle := m.resident()
	m.warm(sessions)
	before := m.resident()
	for _, session := range sessions {
		m.listen(session)
	}
	opened := m.resident()
	m.collect()
	after := m.resident()
	each := (after - before) / int64(n)
	t.Logf("measured: idle %.1f MiB, warm %.1f MiB; with %d streams %.1f MiB just opened, %.1f MiB after a collection: %d and %d bytes a stream",
		mib(idle), mib(before), n, mib(opened), mib(after), (opened-before)/int64(n), each)
	if told := os.Getenv(envSettle); told != "" {
		m.settle(told, before, n)
	}
	if raced {
		return // the race detector needs memory of its own
	}
	if each > 20<<10 {
		t.Errorf("a stream costs %d bytes", each) // 46,000 in a handler; a few hundred also pay for what the process needs once
	}
	if idle > 60<<20 {
		t.Errorf("an idle process has %.1f MiB, want 60 at the most", mib(idle))
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// settle looks on for that long.
func (m *measured) settle(told string, before int64, n int) {
	long, err := time.ParseDuration(told)
	if err != nil {
		m.Fatal(err)
	}
	for end := time.Now().Add(long); time.Now().Before(end); {
		time.Sleep(30 * time.Second)
		now := m.resident()
		m.Logf("measured: %s: %.1f MiB, %d bytes a stream", time.Until(end).Round(time.Second), mib(now), (now-before)/int64(n))
	}
}

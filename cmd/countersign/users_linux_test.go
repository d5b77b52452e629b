// This file tests what an import needs and survives: memory, time, kill -9.

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"countersign.dev/internal/transfer"
)

// A real import is killed with SIGKILL between batches, again and again; the same command goes on, and adds everyone once. The bounds on time and memory are far from what a quiet machine needs: BenchmarkUsersImport measures.
func TestUsersImportKilled(t *testing.T) {
	const users, kills = 6 * transfer.BatchMax, 4
	o := newOffice(t)
	o.run(0, "app", "create", "Shop")
	file := filepath.Join(o.dir, "users.csv")
	writeUsers(t, file, users)
	binary := filepath.Join(o.dir, "countersign")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for killed := 1; killed <= kills; killed++ {
		cmd := exec.CommandContext(t.Context(), binary, "users", "import", "Shop", "-", "--report", filepath.Join(o.dir, "refused.csv"), "--json")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It gets so much of the file, and no end: it dies with a batch written, or being written.
		if _, err := in.Write(bytes.Join(lines[:killed*users/(kills+2)], nil)); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			t.Fatal("it ended by itself")
		}
		in.Close()
	}
	cmd := exec.CommandContext(t.Context(), binary, "users", "import", "Shop", file, "--json")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatal(err, errs.String())
	}
	took := time.Since(began)
	var told transfer.Progress
	if err := json.Unmarshal(out.Bytes(), &told); err != nil || told.Added+told.Same != users || told.Refused != 0 || told.Same == 0 || told.Same%transfer.BatchMax != 0 {
		t.Errorf("%+v, %v: want whole batches of before, and the rest", told, err)
	}
	has(t, o.run(0, "users", "-q", "export", "Shop", filepath.Join(o.dir, "out.csv")), "60000 users written")
	if took > 2*time.Minute {
		t.Errorf("the rest took %v", took)
	}
	if most := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; most > 300<<10 {
		t.Errorf("it needed %d MiB", most>>10)
	}
}

// BenchmarkUsersImport imports as many users as there are iterations into a new SQLite database, with all the command does:
//
//	go test ./cmd/countersign -run '^$' -bench UsersImport -benchtime 1000000x
func BenchmarkUsersImport(b *testing.B) {
	o := newOffice(b)
	file := filepath.Join(o.dir, "users.csv")
	writeUsers(b, file, b.N)
	o.run(0, "app", "create", "--drop-in", "Shop")
	var out, errs bytes.Buffer
	b.ResetTimer()
	if code := run(b.Context(), []string{"users", "import", "Shop", file, "--json"}, &out, &errs); code != 0 {
		b.Fatal(code, errs.String())
	}
	b.StopTimer()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "users/s")
	b.ReportMetric(float64(used.Maxrss)/1024, "MiB")
}

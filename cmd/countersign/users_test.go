// This file tests importing and exporting users: alone, and while `serve` has the database.

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign.dev/internal/transfer"
)

const someUsers = `Authy ID,Country Code,Cellphone,Email,Secret
1635,1,202-555-0123,ana@example.com,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ
7,351,912345678,,
8,1,5550123,bea@example.com,JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP
1635,1,2025550124,carlo@example.com,
9,1,2025550123,dora@example.com,
`

// writeUsers writes a file of n users. Their ids are spread over the whole range, as random ones are, and every phone number is one that may exist.
func writeUsers(t testing.TB, path string, n int) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	io.WriteString(w, "Authy ID,Country Code,Cellphone,Email\n")
	for i := range int64(n) {
		spread := (i*2_654_435_761 + 1_000_003) % 2_147_483_647 // a prime: no id comes twice
		number := (i * 7919) % 7_999_993                        // and no number
		fmt.Fprintf(w, "%d,1,%d%07d,user%d@example.com\n", spread, 202, 2_000_000+number, i)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func (o *office) write(name, text string) string {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

func (o *office) read(path string) string {
	o.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		o.t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		o.t.Errorf("%s is readable by others: %v %v", path, info.Mode(), err)
	}
	return string(text)
}

// The same files do the same with nobody at the database and while serve has it, and what goes out comes in again.
func TestUsers(t *testing.T) {
	o := newOffice(t)
	for _, running := range []bool{false, true} {
		name := map[bool]string{false: "alone", true: "served"}[running]
		t.Run(name, func(t *testing.T) {
			if running {
				_, stop := o.serve()
				defer stop()
			}
			o.run(0, "app", "create", "--drop-in", name)
			file := o.write(name+".csv", someUsers)
			has(t, o.run(1, "users", "-q", "import", name, file), "generic_tokens on")
			o.run(0, "app", "switch", name, "generic_tokens", "on")
			has(t, o.run(1, "app", "switch", name, "teleport", "on"), "no such switch")
			has(t, o.run(1, "users", "-q", "import", name, file, "--dry-run"), "3 of 5 rows were refused")
			has(t, o.run(1, "users", "-q", "import", name, file), "3 of 5 rows were refused", file+".refused.csv")
			want := "line,authy_id,code,reason\n4,8,phone-invalid,the phone number is not a possible number of its country\n" +
				"5,1635,authy-id-taken,the authy_id belongs to a user with another phone number\n" +
				"6,9,phone-taken,the phone number belongs to the user with the authy_id 1635\n"
			if got := o.read(file + ".refused.csv"); got != want {
				t.Errorf("the report is\n%s", got)
			}
			good := o.write(name+"-good.csv", strings.Join(strings.SplitAfter(someUsers, "\n")[:3], ""))
			has(t, o.run(0, "users", "-q", "import", name, good), "0 users added, 2 were there already")

			out := filepath.Join(o.dir, name+".jsonl")
			has(t, o.run(0, "users", "-q", "export", name, out), "2 users written")
			if text := o.read(out); strings.Contains(text, "GEZDGNBV") || strings.Count(text, "\n") != 2 {
				t.Errorf("exported %s", text)
			}
			has(t, o.run(1, "users", "-q", "export", name, out), "is there already")
			whole := filepath.Join(o.dir, name+"-whole.csv")
			has(t, o.run(1, "users", "-q", "export", name, whole, "--secrets"), "export_secrets on")
			if _, err := os.Stat(whole); err == nil {
				t.Error("a refused export leaves a file")
			}
			o.run(0, "app", "switch", name, "export_secrets", "on")
			o.run(0, "users", "-q", "export", name, whole, "--secrets")

			copied := "copy " + name
			o.run(0, "app", "create", "--drop-in", copied)
			for _, on := range []string{"generic_tokens", "export_secrets"} {
				o.run(0, "app", "switch", copied, on, "on")
			}
			var told struct {
				transfer.Progress
				Report string
			}
			if err := json.Unmarshal([]byte(o.run(0, "users", "-q", "import", copied, whole, "--json")), &told); err != nil || told.Added != 2 || told.Report == "" {
				t.Errorf("%+v, %v", told, err)
			}
			if again := o.run(0, "users", "-q", "export", copied, "-", "--secrets"); again != o.read(whole) || !strings.Contains(again, "GEZDGNBV") {
				t.Errorf("the round trip made\n%s", again)
			}
		})
	}
	has(t, o.run(1, "users", "-q", "import", "alone", filepath.Join(o.dir, "nothing.csv")), "no such file")
	has(t, o.run(1, "users", "-q", "import", "nobody", o.write("x.csv", "authy_id,phone\n5,+12025550123\n")), "no such application")
	has(t, o.run(1, "users", "-q", "import", "alone", o.write("y.csv", "authy_id,phone,shoes\n")), "shoes", "--ignore")
	has(t, o.run(1, "users", "-q", "import", "alone", o.write("z.csv", "authy_id,phone\n"), "--report", filepath.Join(o.dir, "z.csv")), "is the file with the users")
	has(t, o.run(2, "users", "-q", "import", "alone", "-"), "--report")
}

// A dry run finds the users who are in the file twice, in whatever batches.
func TestDryRunFindsRepeats(t *testing.T) {
	o := newOffice(t)
	o.run(0, "app", "create", "Shop")
	file := filepath.Join(o.dir, "users.csv")
	writeUsers(t, file, 2*transfer.BatchMax)
	text := strings.Split(o.read(file), "\n")
	o.write("users.csv", strings.Join(append(text[:len(text)-1], text[1], "77"+text[2][strings.Index(text[2], ","):]), "\n"))
	has(t, o.run(1, "users", "-q", "import", "Shop", file, "--dry-run"), "2 of 20002 rows were refused")
	has(t, o.read(file+".refused.csv"), "20002,1000003,authy-id-taken", "20003,77,phone-taken")
	o.run(1, "users", "-q", "import", "Shop", file)
	has(t, o.run(0, "users", "-q", "export", "Shop", filepath.Join(o.dir, "out.csv")), "20000 users written")
}

// The help says what a file has to look like, so that nobody has to look elsewhere.
func TestUsersHelp(t *testing.T) {
	d := &desk{t: t}
	has(t, d.run(0, "users", "import", "--help"), "authy_id", "country_code", "kill -9", "--dry-run", "Exit codes")
}

package transfer_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"countersign.dev/internal/transfer"
)

// read reads a whole file: its users, and the codes of its refusals by line.
func read(t testing.TB, text string, ignore ...string) (rows []transfer.Row, refused map[int64]string) {
	t.Helper()
	r, err := transfer.NewReader(strings.NewReader(text), ignore...)
	if err != nil {
		t.Fatal(err)
	}
	refused = map[int64]string{}
	for {
		row, no, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return rows, refused
		case err != nil:
			t.Fatal(err)
		case no != nil:
			if no.Reason == "" || no.Code == "" {
				t.Errorf("line %d is refused without a reason", no.Line)
			}
			refused[no.Line] = no.Code
		default:
			rows = append(rows, row)
		}
	}
}

var (
	ana = transfer.Row{AuthyID: 1635, CountryCode: 1, Phone: "+12025550123", Email: "ana@example.com"}
	bea = transfer.Row{
		AuthyID: 2, CountryCode: 351, Phone: "+351912345678",
		Secret: &transfer.Secret{Key: []byte("12345678901234567890"), Digits: 7, Period: 10},
	}
)

const beasSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // of RFC 6238's tests

// The same two users, in every form that exports have.
func TestForms(t *testing.T) {
	for name, text := range map[string]string{
		"ours": "authy_id,country_code,phone,email,secret,digits,period,algorithm\n" +
			"1635,1,2025550123,ana@example.com,,,,\n2,351,912345678,," + beasSecret + ",7,10,SHA1\n",
		"Authy's words": "Authy ID,Cellphone,Country Code,Email Address,secret_seed,Digits,Interval,Algo\r\n" +
			"1635,202-555-0123,1,ana@example.com,,,,\r\n\r\n2,912 345 678,+351,,gezd gnbv gy3t qojq gezd gnbv gy3t qojq,7,10,sha-1",
		"a spreadsheet's": "\xef\xbb\xbf\"id\";\"Phone Number\";\"E-Mail\";\"Secret\";\"Digits\";\"Period\"\r\n" +
			"\"1635\";\"+1 (202) 555-0123\";\" ana@example.com \";\"\";\"6\";\"\"\r\n2;+351912345678;;" + beasSecret + "====;7;10\r\n",
		"JSON lines": `{"authy_id":1635,"country_code":1,"phone":"2025550123","email":"ana@example.com","secret":null}` + "\n" +
			`{"AuthyId":"2","phone":"+351912345678","secret":"` + beasSecret + `","digits":7,"period":"10"}`,
	} {
		rows, refused := read(t, text)
		if len(refused) > 0 {
			t.Errorf("%s: refused %v", name, refused)
		}
		for i := range rows {
			if rows[i].Line == 0 {
				t.Errorf("%s: row %d has no line", name, i)
			}
			rows[i].Line = 0
		}
		if want := []transfer.Row{ana, bea}; !reflect.DeepEqual(rows, want) {
			t.Errorf("%s: %+v", name, rows)
		}
	}
}

// What cannot be taken is refused by itself; the lines around it are read.
func TestRefusedLines(t *testing.T) {
	const head = "authy_id,country_code,phone,email,secret,digits,period,algorithm,note\n"
	for line, want := range map[string]string{
		"x,1,2025550123,,,,,,":                              "authy-id-invalid",
		",1,2025550123,,,,,,":                               "authy-id-invalid",
		"0,1,2025550123,,,,,,":                              "authy-id-invalid",
		"2147483648,1,2025550123,,,,,,":                     "authy-id-invalid",
		"1.5e3,1,2025550123,,,,,,":                          "authy-id-invalid",
		"+7,1,2025550123,,,,,,":                             "authy-id-invalid",
		"7,1,5550123,,,,,,":                                 "phone-invalid",
		"7,1,,,,,,,":                                        "phone-invalid",
		"7,1,1.2025550123E10,,,,,,":                         "phone-invalid",
		"7,,2025550123,,,,,,":                               "country-code-missing",
		"7,US,2025550123,,,,,,":                             "country-code-invalid",
		"7,999,2025550123,,,,,,":                            "country-code-invalid",
		"7,44,+12025550123,,,,,,":                           "country-code-invalid",
		"7,1,2025550123,ana,,,,,":                           "email-invalid",
		"7,1,2025550123,,1234567,,,,":                       "secret-invalid",
		"7,1,2025550123,,GEZDGNBV,,,,":                      "secret-invalid",
		"7,1,2025550123,," + beasSecret + ",9,,,":           "digits-invalid",
		"7,1,2025550123,," + beasSecret + ",,5,,":           "period-invalid",
		"7,1,2025550123,," + beasSecret + ",,,SHA256,":      "algorithm-unsupported",
		"7,1,2025550123":                                    "malformed",
		"7,1,2025550123,\"ana":                              "malformed",
		"7,1,2025550123,a\"na,,,,,":                         "malformed",
		"7,1,2025550123,\xff,,,,,":                          "malformed",
		"7,1,2025550123,,,,,," + strings.Repeat("x", 40000): "malformed",
	} {
		rows, refused := read(t, head+"5,1,2025550125,,,,,,\n"+line+"\n6,1,2025550126,,,,,,\n", "Note")
		if len(rows) != 2 || rows[0].Line != 2 || rows[1].Line != 4 || len(refused) != 1 || refused[3] != want {
			t.Errorf("%.60q: %d rows, refused %v, want %s", line, len(rows), refused, want)
		}
	}
	for line, want := range map[string]string{
		`{"authy_id":7}`: "country-code-missing",
		`{"authy_id":7,"phone":"+12025550123","x":1}`:       "malformed",
		`{"authy_id":7,"phone":"+12025550123","authyid":8}`: "malformed",
		`{"authy_id":7,"phone":["+12025550123"]}`:           "malformed",
		`{"authy_id":7,"phone":"+12025550123"} {}`:          "malformed",
		`{"authy_id":7,"phone":"+12025550123"`:              "malformed",
		`{"authy_id":true,"phone":"+12025550123"}`:          "malformed",
		`[7]`:                     "malformed",
		`{"note":{"authy_id":7}}`: "malformed",
		`{"authy_id":7,"phone":"+12025550123","email":"a","note":1}`: "email-invalid",
	} {
		rows, refused := read(t, `{"authy_id":5,"phone":"+12025550125"}`+"\n"+line+"\n"+`{"authy_id":6,"phone":"+12025550126"}`, "note")
		if len(rows) != 2 || len(refused) != 1 || refused[2] != want {
			t.Errorf("%q: %d rows, refused %v, want %s", line, len(rows), refused, want)
		}
	}
}

// A file whose columns are not all understood is not begun, so that nobody loses what they thought was taken.
func TestHeaders(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "is empty",
		"1635,2025550123\n":                   "not known",
		"authy_id,phone,shoe_size\n":          "shoe_size",
		"authy_id,phone,cellphone\n":          "two columns are the phone",
		"authy_id,email\n":                    "no column is the phone",
		"phone,email\n":                       "no column is the authy_id",
		"authy_id,\"phone\n":                  "name the columns",
		"\n":                                  "name the columns",
		strings.Repeat("authy_id,", 5000):     "name the columns",
		"\xff\xfea\x00u\x00t\x00h\x00,\x00\n": "name the columns",
	} {
		if _, err := transfer.NewReader(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// What is written is read back the same, in both forms.
func TestWrittenIsRead(t *testing.T) {
	want := []transfer.Row{ana, bea, {AuthyID: 3, CountryCode: 39, Phone: "+390612345678"}}
	for _, lines := range []bool{false, true} {
		var text bytes.Buffer
		w, err := transfer.NewWriter(&text, lines)
		if err == nil {
			err = w.Write(want)
		}
		if err != nil {
			t.Fatal(err)
		}
		rows, refused := read(t, text.String())
		for i := range rows {
			rows[i].Line = 0
		}
		if len(refused) > 0 || !reflect.DeepEqual(rows, want) {
			t.Errorf("lines %t: %+v, refused %v, of\n%s", lines, rows, refused, &text)
		}
	}
}

// FuzzRead feeds files: whatever comes, a row that is read is written and read again the same, and no reason repeats a secret.
func FuzzRead(f *testing.F) {
	f.Add("authy_id,phone\n7,+12025550123\n")
	f.Add("id;cellphone;country code;secret\n7;2025550123;1;" + beasSecret + "\n")
	f.Add(`{"authy_id":7,"phone":"+12025550123","secret":"` + beasSecret + `"}`)
	f.Add("authy_id,phone,secret\n7,\"+12025550123\n8,\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := transfer.NewReader(strings.NewReader(text))
		if err != nil {
			return
		}
		for {
			row, refused, err := r.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				return
			}
			if refused != nil {
				if refused.Code == "" || refused.Line == 0 || strings.Contains(refused.Reason, beasSecret) {
					t.Errorf("refused as %+v", refused)
				}
				continue
			}
			for _, lines := range []bool{false, true} {
				var out bytes.Buffer
				w, err := transfer.NewWriter(&out, lines)
				if err == nil {
					err = w.Write([]transfer.Row{row})
				}
				if err != nil {
					t.Fatal(err)
				}
				again, no := read(t, out.String())
				if len(again) != 1 || len(no) != 0 {
					t.Fatalf("%+v is written as %q", row, &out)
				}
				again[0].Line = row.Line
				if !reflect.DeepEqual(again[0], row) {
					t.Errorf("%+v is read back as %+v", row, again[0])
				}
			}
		}
	})
}

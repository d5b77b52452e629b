package transfer

import (
	"encoding/base32"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"

	"countersign.dev/internal/tenant"
)

// This file owns writing files, in the form that is read.

// Writer writes users to a file.
type Writer struct {
	csv  *csv.Writer // nil: JSON lines
	json *json.Encoder
}

// NewWriter returns a writer of CSV, whose header it writes, or of JSON lines.
func NewWriter(w io.Writer, lines bool) (*Writer, error) {
	if lines {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return &Writer{json: e}, nil
	}
	c := csv.NewWriter(w)
	return &Writer{csv: c}, c.Write(names[:])
}

// written is a user as a line of JSON.
type written struct {
	AuthyID     int64  `json:"authy_id"`
	CountryCode int    `json:"country_code"`
	Phone       string `json:"phone"` // national
	Email       string `json:"email,omitempty"`
	Secret      string `json:"secret,omitempty"`
	Digits      int    `json:"digits,omitempty"`
	Period      int64  `json:"period,omitempty"`
	Algorithm   string `json:"algorithm,omitempty"`
}

// Write writes the rows through to the file.
func (w *Writer) Write(rows []Row) error {
	for _, r := range rows {
		if err := w.write(r); err != nil {
			return err
		}
	}
	if w.csv == nil {
		return nil
	}
	w.csv.Flush()
	return w.csv.Error()
}

func (w *Writer) write(r Row) error {
	out := written{AuthyID: r.AuthyID, CountryCode: r.CountryCode, Phone: tenant.User{CountryCode: r.CountryCode, Phone: r.Phone}.National(), Email: r.Email}
	if r.Secret != nil {
		out.Secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(r.Secret.Key)
		out.Digits, out.Period, out.Algorithm = r.Secret.Digits, int64(r.Secret.Period), "SHA1"
	}
	if w.csv == nil {
		return w.json.Encode(out)
	}
	record := [columns]string{
		authyID: strconv.FormatInt(out.AuthyID, 10), countryCode: strconv.Itoa(out.CountryCode), phone: out.Phone, email: out.Email,
		secret: out.Secret, algorithm: out.Algorithm,
	}
	if r.Secret != nil {
		record[digits], record[period] = strconv.Itoa(out.Digits), strconv.FormatInt(out.Period, 10)
	}
	return w.csv.Write(record[:])
}

package transfer

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base32"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"countersign.dev/internal/tenant"
)

// This file owns reading files: CSV with a header, or JSON lines. Each line is one user, whatever is in the lines around it,
// and no more than one line is in memory.

// maxLine bounds a line, in bytes. A user needs about a hundred.
const maxLine = 16 << 10

// What a secret can be: what app codes are verified with.
const (
	minKey, maxKey       = 10, 64 // bytes
	minDigits, maxDigits = 6, 8
	minPeriod, maxPeriod = 10, 120 // seconds
)

// column is a place in a row of a file.
type column int

const (
	authyID column = iota
	countryCode
	phone
	email
	secret
	digits
	period
	algorithm
	columns // how many there are
)

// names are the columns as we write them.
var names = [columns]string{"authy_id", "country_code", "phone", "email", "secret", "digits", "period", "algorithm"}

// spellings are other names that exports use, in small letters and without spaces, dashes and underscores.
var spellings = map[string]column{
	"authyid": authyID, "userid": authyID, "id": authyID, "authyuserid": authyID,
	"countrycode": countryCode, "callingcode": countryCode, "countrycallingcode": countryCode, "phonecountrycode": countryCode,
	"phone": phone, "phonenumber": phone, "cellphone": phone, "cellphonenumber": phone, "mobile": phone, "mobilenumber": phone, "mobilephone": phone,
	"email": email, "emailaddress": email, "mail": email,
	"secret": secret, "totpsecret": secret, "secretseed": secret, "seed": secret, "sharedsecret": secret,
	"digits": digits, "codelength": digits,
	"period": period, "interval": period, "step": period,
	"algorithm": algorithm, "algo": algorithm, "hash": algorithm,
}

// folded is how names are compared.
func folded(name string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// Reader reads users from a file. It is not for concurrent use.
type Reader struct {
	in     *bufio.Reader
	ignore []string // folded
	line   int64    // the number of the line that was read last
	bytes  int64    // read so far

	csv    *csv.Reader // nil: JSON lines
	feed   feed
	places []column // of the CSV's columns; columns for one that is ignored
}

// NewReader returns a reader that has read the header. Columns that are ignored may be there; others that it does not know may
// not, so that nobody loses what they thought was taken.
func NewReader(r io.Reader, ignore ...string) (*Reader, error) {
	d := &Reader{in: bufio.NewReaderSize(r, maxLine)}
	for _, name := range ignore {
		d.ignore = append(d.ignore, folded(name))
	}
	if mark, _ := d.in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) { // as spreadsheets write it
		d.in.Discard(3)
		d.bytes = 3
	}
	first, err := d.in.Peek(1)
	if err == io.EOF {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	if first[0] == '{' {
		return d, nil
	}
	return d, d.header()
}

// header reads the names of the CSV's columns.
func (d *Reader) header() error {
	text, long, err := d.next()
	if err != nil {
		return fmt.Errorf("read the first line: %w", err)
	}
	d.csv = csv.NewReader(&d.feed)
	d.csv.ReuseRecord, d.csv.FieldsPerRecord = true, 0
	for _, comma := range ";\t" { // as some countries' spreadsheets write it
		if bytes.ContainsRune(text, comma) && !bytes.ContainsRune(text, ',') {
			d.csv.Comma = comma
		}
	}
	fields, err := d.record(text)
	if err != nil || long || !utf8.Valid(text) {
		return errors.New("the first line has to be JSON, or to name the columns: " + strings.Join(names[:], ","))
	}
	for _, name := range fields {
		c, err := d.place(name)
		if err == nil && c != columns && slices.Contains(d.places, c) {
			err = fmt.Errorf("two columns are the %s", names[c])
		}
		if err != nil {
			return err
		}
		d.places = append(d.places, c)
	}
	for _, c := range []column{authyID, phone} {
		if !slices.Contains(d.places, c) {
			return fmt.Errorf("no column is the %s: the first line names the columns, such as %s", names[c], strings.Join(names[:], ","))
		}
	}
	return nil
}

// place finds the column of a name.
func (d *Reader) place(name string) (column, error) {
	f := folded(name)
	if slices.Contains(d.ignore, f) {
		return columns, nil
	}
	c, ok := spellings[f]
	if !ok {
		return 0, fmt.Errorf("the column %.40q is not known: call it one of %s, or leave it out with --ignore", name, strings.Join(names[:], ", "))
	}
	return c, nil
}

// next returns the next line without its end. Of one that is too long it returns nothing and reads over it.
func (d *Reader) next() (text []byte, long bool, err error) {
	text, err = d.in.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		d.bytes += int64(len(text))
		text, err = d.in.ReadSlice('\n')
	}
	d.bytes += int64(len(text))
	if err != nil && (err != io.EOF || len(text) == 0 && !long) {
		return nil, false, err
	}
	d.line++
	if long {
		text = nil
	}
	return bytes.TrimRight(text, "\r\n"), long, nil
}

// feed gives one line to the CSV reader, which then believes that the file ends.
type feed struct{ left []byte }

func (f *feed) Read(p []byte) (int, error) {
	if len(f.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

// record returns the fields of a line of CSV.
func (d *Reader) record(text []byte) ([]string, error) {
	d.feed.left = text
	return d.csv.Read()
}

// Next returns the next user, or why the next line is none; io.EOF after the last.
func (d *Reader) Next() (Row, *Refusal, error) {
	for {
		text, long, err := d.next()
		if err != nil {
			return Row{}, nil, err
		}
		if !long && len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		row, refused := Row{Line: d.line}, &Refusal{Line: d.line}
		var values [columns]string
		switch {
		case long:
			refused.Code, refused.Reason = "malformed", fmt.Sprintf("the line is longer than %d bytes", maxLine)
			return row, refused, nil
		case !utf8.Valid(text):
			refused.Code, refused.Reason = "malformed", "the line is not UTF-8"
			return row, refused, nil
		case d.csv != nil:
			err = d.fromCSV(text, &values)
		default:
			err = d.fromJSON(text, &values)
		}
		if err != nil {
			refused.Code, refused.Reason = "malformed", err.Error()
			return row, refused, nil
		}
		if refused.Code, refused.Reason = row.fill(values); refused.Code != "" {
			refused.AuthyID = row.AuthyID
			return row, refused, nil
		}
		return row, nil, nil
	}
}

func (d *Reader) fromCSV(text []byte, values *[columns]string) error {
	fields, err := d.record(text)
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		return fmt.Errorf("it has %d fields, and the first line %d", len(fields), len(d.places))
	case err != nil:
		return errors.New("a quotation mark is not closed, or stands in a field without being doubled")
	}
	for i, c := range d.places {
		if c != columns {
			values[c] = strings.TrimSpace(fields[i])
		}
	}
	return nil
}

// fromJSON reads a flat object. Numbers may be given as text, and text that is a number as one.
func (d *Reader) fromJSON(text []byte, values *[columns]string) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	errForm := errors.New("it is not one JSON object of texts and numbers")
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return errForm
	}
	var seen [columns]bool
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return errForm
		}
		c, err := d.place(key.(string)) // the decoder sees to that
		if err != nil {
			return errors.New("it has a member that is not known")
		}
		value, err := decoder.Token()
		if err != nil {
			return errForm
		}
		if c == columns {
			if _, nested := value.(json.Delim); nested {
				return errForm
			}
			continue
		}
		if seen[c] {
			return fmt.Errorf("it has the %s twice", names[c])
		}
		seen[c] = true
		switch v := value.(type) {
		case nil:
		case string:
			values[c] = strings.TrimSpace(v)
		case json.Number:
			values[c] = v.String()
		default:
			return errForm
		}
	}
	if t, err := decoder.Token(); err != nil || t != json.Delim('}') {
		return errForm
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errForm
	}
	return nil
}

// fill checks the values and puts them into the row; it returns why it cannot. A reason never repeats a value.
func (r *Row) fill(values [columns]string) (code, reason string) {
	id, ok := number(values[authyID], 1, math.MaxInt32)
	if !ok {
		return "authy-id-invalid", "the authy_id has to be a whole number from 1 to 2147483647"
	}
	r.AuthyID = id
	if code, reason = r.fillPhone(values[countryCode], values[phone]); code != "" {
		return code, reason
	}
	if values[email] != "" {
		if r.Email, ok = tenant.ParseEmail(values[email]); !ok {
			return "email-invalid", "the e-mail address is not valid"
		}
	}
	if values[secret] == "" {
		return "", ""
	}
	r.Secret, code, reason = parseSecret(values)
	return code, reason
}

// fillPhone takes a national number with its country code, or a full one with a plus.
func (r *Row) fillPhone(cc, number string) (code, reason string) {
	given := 0
	if cc != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(cc, "+"), 10, 16)
		if err != nil || !tenant.KnownCallingCode(int(n)) {
			return "country-code-invalid", "the country code is not one that exists: it is the calling code, such as 1 or 351"
		}
		given = int(n)
	}
	ok := false
	switch full := strings.HasPrefix(number, "+"); {
	case full:
		r.Phone, r.CountryCode, ok = tenant.ParseE164(number)
		if ok && given != 0 && given != r.CountryCode {
			return "country-code-invalid", "the country code is not that of the phone number"
		}
	case given == 0:
		return "country-code-missing", "the phone number has neither a country code nor a plus in front"
	default:
		r.CountryCode = given
		r.Phone, ok = tenant.ParsePhone(given, number)
	}
	if !ok {
		return "phone-invalid", "the phone number is not a possible number of its country"
	}
	return "", ""
}

// parseSecret reads a secret and how codes are made of it: 6 digits every 30 seconds unless told otherwise.
func parseSecret(values [columns]string) (s *Secret, code, reason string) {
	switch folded(values[algorithm]) {
	case "", "sha1", "hmacsha1":
	default:
		return nil, "algorithm-unsupported", "codes are made with SHA-1 only: the user needs a new secret"
	}
	text := strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(values[secret]))
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, "secret-invalid", fmt.Sprintf("the secret has to be base32 of %d to %d bytes", minKey, maxKey)
	}
	n, ok := number(cmp.Or(values[digits], "6"), minDigits, maxDigits)
	if !ok {
		return nil, "digits-invalid", fmt.Sprintf("codes have %d to %d digits", minDigits, maxDigits)
	}
	p, ok := number(cmp.Or(values[period], "30"), minPeriod, maxPeriod)
	if !ok {
		return nil, "period-invalid", fmt.Sprintf("the period has to be %d to %d seconds", minPeriod, maxPeriod)
	}
	return &Secret{Key: key, Digits: int(n), Period: tenant.Seconds(p)}, "", ""
}

// number reads a whole number of plain digits.
func number(text string, low, high int64) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil && int64(n) >= low && int64(n) <= high
}

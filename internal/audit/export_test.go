package audit

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"
)

func TestImportRefuses(t *testing.T) {
	head := `{"format":"countersign audit 1","public_key":"` + strings.Repeat("ab", 32) + `","exported_at":1}` + "\n"
	for name, text := range map[string]string{
		"nothing":             "",
		"another file":        "{}\n",
		"another format":      strings.Replace(head, "audit 1", "audit 2", 1),
		"a short key":         strings.Replace(head, "abab", "", 1),
		"an unknown field":    head + `{"link":1,"hash":"","at":1,"more":1}` + "\n",
		"two values":          head + `{"link":1,"hash":"","at":1} {}` + "\n",
		"half a line":         head + `{"link":1,` + "\n",
		"a line without end":  head + `{"note":"` + strings.Repeat("x", maxLine) + `"}`,
		"a number for a text": head + `{"link":1,"hash":1,"at":1}` + "\n",
	} {
		key, items, err := Import(strings.NewReader(text))
		if err == nil {
			_, err = Verify(items, key)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzImport(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := key.Public().(ed25519.PublicKey)
	record := Record{ID: "r", At: time.UnixMilli(5), Actor: "system", Action: "test.done", Note: "ü"}
	first := Head{}.Next(record)
	point := first.Sign(key, time.UnixMilli(6))
	var file bytes.Buffer
	_, err := Export(&file, func(yield func(Item, error) bool) {
		_ = yield(Item{Link: &Link{first, record}}, nil) && yield(Item{Checkpoint: &point}, nil)
	}, public, time.UnixMilli(7))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		_, items, err := Import(bytes.NewReader(b))
		if err != nil {
			return
		}
		report, err := Verify(items, public)
		if err == nil && report.Signed > 0 && (report.Signed != 1 || report.Checkpoints == 0) {
			t.Errorf("links up to %d are signed, nobody did", report.Signed)
		}
	})
}

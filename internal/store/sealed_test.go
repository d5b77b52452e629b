package store_test

import (
	"slices"
	"testing"
)

// plainBytes are the columns of bytes that are not sealed, and why not.
var plainBytes = map[string]string{
	"seal_keys.wrapped": "wrapped by the master key",
	"approvals.signed":  "what a device signed, shown to the application",
	"logos.png":         "public pictures",
}

// TestT50EverySealedColumnRotates: every column of bytes in the schema is one that `keys rotate` seals again, or is named above. So a new one
// cannot be forgotten; it also has to be filled by storetest's rotation under load.
func TestT50EverySealedColumnRotates(t *testing.T) {
	db := openSQLite(t)
	tables, err := db.Texts(t.Context(), `SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND upper(c.type) IN ('BYTEA', 'BLOB')`)
	if err != nil || len(tables) < 8 {
		t.Fatal(tables, err)
	}
	rotated := db.SealedColumns()
	for _, column := range tables {
		if slices.Contains(rotated, column) == (plainBytes[column] != "") {
			t.Errorf("%s: add it to sealedColumns in keys.go if it is sealed, or to plainBytes here if it is not", column)
		}
	}
	for _, column := range rotated {
		if !slices.Contains(tables, column) {
			t.Errorf("%s is rotated and not in the schema", column)
		}
	}
}

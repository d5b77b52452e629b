package store

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What Config.Bulk asks for is what the writing connection has: settings in the address of a file may be overruled there.
func TestBulkSettingsApply(t *testing.T) {
	s, err := Open(t.Context(), Config{URL: filepath.Join(t.TempDir(), "countersign.db"), Bulk: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	for _, setting := range bulk {
		name, want, _ := strings.Cut(setting, " = ")
		var got int64
		if err := s.write(ctx, func(t *tx) error { return t.queryRow(ctx, name).Scan(&got) }); err != nil || strconv.FormatInt(got, 10) != want {
			t.Errorf("%s is %d, %v; want %s", name, got, err, want)
		}
	}
}

package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"countersign.dev/internal/fault"
)

// A copy equals what it was made of, however it was wrapped, and nothing else that programs see the same code of.
func TestIs(t *testing.T) {
	grant, request := fault.New(fault.NotFound, "unknown", "No such device."), fault.New(fault.NotFound, "unknown", "No such request.")
	fields := *grant
	fields.Fields = map[string]string{"name": "is missing"}
	for what, err := range map[string]error{
		"itself":        grant,
		"with a time":   grant.After(time.Second),
		"more precise":  grant.Saying("No such phone."),
		"twice":         grant.Saying("No such phone.").After(time.Second),
		"with fields":   &fields,
		"wrapped":       fmt.Errorf("find: %w", grant.After(time.Second)),
		"among others":  errors.Join(io.EOF, grant),
		"from a socket": decoded(t, grant),
	} {
		if !errors.Is(err, grant) {
			t.Errorf("%s is not what it was made of", what)
		}
		if what != "from a socket" && errors.Is(err, request) {
			t.Errorf("%s is another error with the same code", what)
		}
		if errors.Is(err, fault.New(fault.NotFound, "unknown-too", "No such device.")) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s is an error with another code", what)
		}
	}
	if late := request.After(time.Second); !errors.Is(grant.After(time.Second), grant.Saying("")) || errors.Is(late, grant) || !errors.Is(late, decoded(t, grant)) {
		t.Error("of two copies")
	}
}

// decoded returns what another process reads of e.
func decoded(t *testing.T, e *fault.Error) error {
	t.Helper()
	text, err := json.Marshal(e)
	var got fault.Error
	if err = errors.Join(err, json.Unmarshal(text, &got)); err != nil {
		t.Fatal(err)
	}
	return &got
}

func TestOf(t *testing.T) {
	refused := fault.New(fault.Conflict, "taken", "It is taken.")
	for _, row := range []struct {
		err    error
		kind   fault.Kind
		detail string
	}{
		{refused, fault.Conflict, "It is taken."},
		{fmt.Errorf("insert: %w", refused.Saying("Bank is taken.")), fault.Conflict, "Bank is taken."},
		{io.EOF, fault.Internal, ""},
		{nil, fault.Internal, ""},
	} {
		if kind, detail := fault.KindOf(row.err), fault.DetailOf(row.err); kind != row.kind || detail != row.detail {
			t.Errorf("%v: kind %v, %q", row.err, kind, detail)
		}
	}
}

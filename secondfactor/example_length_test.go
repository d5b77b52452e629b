// This file owns the promise that an integration stays short (LB1).

package secondfactor_test

import (
	"bytes"
	"os"
	"testing"
)

func TestLB1_IntegrationIsShort(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(source, []byte("\nfunc application("))
	body, _, _ := bytes.Cut(rest, []byte("\n}\n"))
	if lines := bytes.Count(body, []byte("\n")) + 2; lines >= 40 {
		t.Errorf("the integration takes %d lines", lines)
	} else {
		t.Logf("the integration takes %d lines", lines)
	}
}

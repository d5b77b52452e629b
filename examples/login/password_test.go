// This file owns the tests of password hashes.

package login

import (
	"context"
	"sync"
	"testing"
	"time"
)

func TestD7_D9_Passwords(t *testing.T) {
	h := newHashing(2)
	ctx := t.Context()
	one, err := h.hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	two, _ := h.hash(ctx, "correct horse")
	empty, _ := h.hash(ctx, "")
	if one == two {
		t.Error("two hashes of one password are equal")
	}
	for _, c := range []struct {
		name, hash, password string
		right                bool
	}{
		{"right", one, "correct horse", true},
		{"wrong", one, "correct horsE", false},
		{"empty", one, "", false},
		{"empty, and hashed so", empty, "", false},
		{"no account", "", "", false},
		{"no account, some password", "", "correct horse", false},
		{"the decoy's own text", "", decoy(), false},
	} {
		if right, err := h.check(ctx, c.hash, c.password); err != nil || right != c.right {
			t.Errorf("%s: %v, %v", c.name, right, err)
		}
	}
	for _, hash := range []string{"x", "$argon2i$v=19$m=8,t=1,p=1$AA$AA", "$argon2id$v=18$m=8,t=1,p=1$AA$AA", "$argon2id$v=19$m=8,t=1,p=1$AA$", "$argon2id$v=19$m=8$AA$AA", "$argon2id$v=19$m=8,t=0,p=1$AA$AA", "correct horse"} {
		if right, err := h.check(ctx, hash, "correct horse"); err == nil || right {
			t.Errorf("malformed hash %q: %v, %v", hash, right, err)
		}
	}
}

// Trap 8: however many log in at once, no more are hashed at once than the gate lets in, and who gives up waits no longer.
func TestHashingIsGated(t *testing.T) {
	h := newHashing(1)
	h.gate <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if right, err := h.check(ctx, "", "x"); err == nil || right {
		t.Errorf("through a closed gate: %v, %v", right, err)
	}
	<-h.gate
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := h.hash(t.Context(), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(h.gate) != 0 {
		t.Error("the gate is left closed")
	}
}

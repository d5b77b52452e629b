// This file tests that what concurrent log-ins of one trusted browser saw could also have happened one after the other (RB, T-24, INV-1).

package secondfactor_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"countersign.dev/secondfactor"
)

// remembered is a trusted browser's cookie: how often it was replaced, 0 while it is not trusted, and its value.
type remembered struct {
	version int64
	hash    string
}

func (r remembered) String() string { return fmt.Sprint(r.version, " ", r.hash) }

// put asks to replace the value that was read; forget and read ask what they say.
type put struct{ from, to remembered }

const (
	forget = "forget"
	read   = "read"
)

// rememberedModel is what may be told: a value is replaced once, by whoever read it last, and never once it is forgotten.
var rememberedModel = porcupine.Model{
	Init: func() any { return remembered{} },
	Step: func(state, asked, told any) (bool, any) {
		now := state.(remembered)
		switch asked := asked.(type) {
		case put:
			if asked.from.version != now.version {
				return told == secondfactor.ErrConflict.Error(), now
			}
			return told == "yes", asked.to
		default:
			if asked == forget {
				return told == "yes", remembered{}
			}
			return told == now.String(), now
		}
	},
}

// storeTrustHistory: clients read, replace and forget one trusted browser at once; some order explains what they were told.
func storeTrustHistory(t *testing.T, store secondfactor.Store) {
	const clients, each, rounds = 6, 8, 5
	ctx := t.Context()
	for round := range rounds {
		b := secondfactor.TrustedBrowser{ID: fmt.Sprint(t.Name(), round), User: t.Name(), CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour)}
		began := time.Now()
		var mu sync.Mutex
		var ops []porcupine.Operation
		look := func() remembered {
			got, err := store.Trusted(ctx, b.ID)
			if err != nil && !errors.Is(err, secondfactor.ErrNotFound) {
				t.Error(err)
			}
			return remembered{got.Version, got.Hash}
		}
		note := func(client int, asked any, do func() string) {
			call := time.Since(began)
			told := do()
			end := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			ops = append(ops, porcupine.Operation{ClientId: client, Input: asked, Output: told, Call: int64(call), Return: int64(end)})
		}
		var all sync.WaitGroup
		for client := range clients {
			all.Go(func() {
				var seen remembered
				for i := range each {
					switch rand.IntN(5) {
					case 0:
						note(client, forget, func() string { return answered(store.RemoveTrusted(ctx, b.User, b.ID)) })
					case 1, 2:
						note(client, read, func() string { seen = look(); return seen.String() })
					default:
						next := b
						next.Version, next.Hash = seen.version, fmt.Sprint(client, ".", i)
						note(client, put{seen, remembered{seen.version + 1, next.Hash}}, func() string { return answered(store.PutTrusted(ctx, next)) })
					}
				}
			})
		}
		all.Wait()
		if !porcupine.CheckOperations(rememberedModel, ops) {
			t.Errorf("no order explains what was told: %+v", ops)
		}
	}
}

func answered(err error) string {
	if err != nil {
		return err.Error()
	}
	return "yes"
}

// TestTrustModelNotices: one value that two browsers replaced, and one that came back after it was forgotten, are found.
func TestTrustModelNotices(t *testing.T) {
	first, other := remembered{1, "a"}, remembered{1, "b"}
	for name, ops := range map[string][]porcupine.Operation{
		"replaced twice": {{Input: put{remembered{}, first}, Output: "yes"}, {Input: put{remembered{}, other}, Output: "yes"}},
		"came back":      {{Input: put{remembered{}, first}, Output: "yes"}, {Input: forget, Output: "yes"}, {Input: read, Output: first.String()}},
	} {
		for i := range ops {
			ops[i].Call, ops[i].Return = int64(2*i), int64(2*i+1)
		}
		if porcupine.CheckOperations(rememberedModel, ops) {
			t.Errorf("%s: explained", name)
		}
	}
}

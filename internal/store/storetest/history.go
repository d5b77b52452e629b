package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
)

// This file tests that what concurrent clients were told could also have been told one after the other: their history is recorded, and
// an order that explains it is looked for (linearizability). What a rule allows in such an order is said once, by its model.

var historyTests = []test{
	{"INV-1 and INV-4 histories of codes and their budget", testHistoryOfCodes},
	{"INV-5 histories of a decision", testHistoryOfDecision},
}

const (
	histories    = 8
	historians   = 6 // clients of one history
	perHistorian = 6 // what each does
)

// history is what clients asked and were told.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

// record has clients act at once, each several times. Do returns what was asked and what was told.
func (h *history) record(clients int, do func() (asked, told string)) {
	h.began = time.Now()
	together(clients, func(client int) error {
		for range perHistorian {
			call := time.Since(h.began)
			asked, told := do()
			end := time.Since(h.began)
			h.mu.Lock()
			h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: asked, Output: told, Call: int64(call), Return: int64(end)})
			h.mu.Unlock()
		}
		return nil
	})
}

// explained fails the test when no order of the operations explains what was told.
func (h *history) explained(t *testing.T, model porcupine.Model) {
	t.Helper()
	if porcupine.CheckOperations(model, h.ops) {
		return
	}
	slices.SortFunc(h.ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var lines []string
	for _, op := range h.ops {
		lines = append(lines, fmt.Sprintf("client %d, %v to %v: %v: %v", op.ClientId, time.Duration(op.Call), time.Duration(op.Return), op.Input, op.Output))
	}
	t.Errorf("no order explains this history:\n%s", strings.Join(lines, "\n"))
}

// modelOf is a model whose state is comparable, and whose step says what must be told and what becomes of the state.
func modelOf[S comparable](first S, step func(s S, asked string) (told string, next S)) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, asked, told any) (bool, any) {
			must, next := step(state.(S), asked.(string))
			return must == told, next
		},
	}
}

// told is what a caller learns: the code of the refusal, "yes" for none.
func told(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return "internal: " + err.Error()
	}
	return "yes"
}

// tried is somebody's codes: the last step that was used, and how many wrong ones were counted in a row.
type tried struct {
	used  int
	wrong int
}

// give is the model of a code that is given: "wrong", or the step of an app code.
func (s tried) give(code string) (string, tried) {
	if s.wrong >= otp.BudgetTries {
		return otp.ErrBudget.Code, s
	}
	step := slices.Index(steps, code)
	switch {
	case step < 0:
		s.wrong++
		return otp.ErrWrong.Code, s
	case step <= s.used:
		return otp.ErrUsed.Code, s // who presents a code twice is no guesser
	}
	return "yes", tried{used: step}
}

// steps are the app codes that are good now, in their order.
var steps = []string{"the code before", "this code", "the code after"}

func testHistoryOfCodes(t *testing.T, f *fixture) {
	for range histories {
		f.Clock.Advance(time.Hour)
		p := f.person(t, "Bank")
		codes := map[string]string{}
		for i, step := range steps {
			codes[step] = p.code(f.now().Add(time.Duration(i-1) * p.grant().Period.Duration()))
		}
		var h history
		h.record(historians, func() (string, string) {
			asked := "wrong"
			if rand.IntN(3) > 0 {
				asked = steps[rand.IntN(len(steps))]
			}
			code, ok := codes[asked]
			if !ok {
				code = wrong
			}
			return asked, told(f.verify(p, code))
		})
		h.explained(t, modelOf(tried{used: -1}, tried.give))
	}
}

// decide is the model of an approval that two phones answer, the application withdraws, and everybody reads. The state is what its status
// is and who made it so.
func decideModel(state, asked string) (string, string) {
	status, _, _ := strings.Cut(state, " ")
	decision, _, answered := strings.Cut(asked, " ")
	switch {
	case asked == "read":
		return status, state
	case status == string(approval.Pending) && asked == "cancel":
		return "yes", string(approval.Cancelled)
	case status == string(approval.Pending):
		becomes := map[string]approval.Status{approval.Approve: approval.Approved, approval.Deny: approval.Denied}[decision]
		return "yes", string(becomes) + " by " + asked
	case answered && strings.HasSuffix(state, " by "+asked):
		return "yes", state // the very answer again
	case answered && status == string(approval.Cancelled):
		return approval.ErrCancelled.Code, state
	}
	return approval.ErrNotPending.Code, state
}

func testHistoryOfDecision(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	phones := []*servertest.Phone{p.phone, f.Phone(t, p.app, p.user)}
	bg := context.Background()
	for range histories {
		asked := f.Ask(t, p.app, p.user, "Log in?")
		answers := map[string]func() error{}
		for i, phone := range phones {
			for _, decision := range []string{approval.Approve, approval.Deny} {
				signature, err := receipt.Sign(phone.Key, f.Approvals.Signed(asked, phone.Device.ID, decision, ""))
				must(t, err)
				answers[fmt.Sprint(decision, " on phone ", i)] = func() error {
					_, err := f.Approvals.Answer(bg, phone.Device, asked.UUID, approval.Answer{Decision: decision, Signature: signature})
					return err
				}
			}
		}
		acts := []string{"read", "read", "cancel"}
		for act := range answers {
			acts = append(acts, act)
		}
		var h history
		h.record(historians, func() (string, string) {
			act := acts[rand.IntN(len(acts))]
			switch act {
			case "read":
				a, err := f.Approvals.Get(bg, p.app.ID, asked.UUID)
				if err != nil {
					return act, told(err)
				}
				return act, string(a.Status)
			case "cancel":
				_, err := f.Approvals.Cancel(bg, p.app, asked.UUID)
				return act, told(err)
			}
			return act, told(answers[act]())
		})
		h.explained(t, modelOf(string(approval.Pending), decideModel))
	}
}

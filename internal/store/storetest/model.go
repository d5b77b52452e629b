package storetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// This file tests INV-5 against a model: one user, two phones, and any number of approvals that are asked for,
// answered, withdrawn, left to expire, and caught by the removal of the user or a grant, one after the other and at once.

var modelTests = []test{{"INV-5 states only move forward", testINV5}}

// model is what should be. Its clock is the fixture's.
type model struct {
	user      bool
	granted   [2]bool
	approvals map[int]modelled
}

// modelled is one approval of the model.
type modelled struct {
	status   approval.Status
	expires  time.Time // zero: never
	match    bool
	phone    int    // who answered
	decision string // how
}

// op is one act. The same value runs on the model and on the real thing; both return the code of the refusal, "" for success.
type op struct {
	name     string
	slot     int // which approval
	phone    int
	decision string // approve, deny, or mismatch: approve with a wrong number
	life     int64
	match    bool
}

func (o op) String() string {
	return fmt.Sprintf("%s(approval %d, phone %d, %q, life %d, match %t)", o.name, o.slot, o.phone, o.decision, o.life, o.match)
}

const mismatch = "mismatch"

func (m *model) clone() *model {
	c := *m
	c.approvals = maps.Clone(m.approvals)
	return &c
}

// at returns an approval as it is at now.
func (m *model) at(slot int, now time.Time) (modelled, bool) {
	a, ok := m.approvals[slot]
	if a.status == approval.Pending && !a.expires.IsZero() && !now.Before(a.expires) {
		a.status = approval.Expired
	}
	return a, ok
}

func (m *model) do(o op, now time.Time) string {
	switch o.name {
	case "ask":
		switch {
		case !m.user:
			return tenant.ErrUser.Code
		case m.granted == [2]bool{}:
			return approval.ErrNoDevice.Code
		}
		a := modelled{status: approval.Pending, match: o.match}
		if o.life > 0 {
			a.expires = now.Add(time.Duration(o.life) * time.Second)
		}
		m.approvals[o.slot] = a
	case "answer":
		return m.answer(o, now)
	case "cancel":
		a, ok := m.at(o.slot, now)
		switch {
		case !ok:
			return approval.ErrUnknown.Code
		case a.status != approval.Pending:
			return approval.ErrNotPending.Code
		}
		a.status = approval.Cancelled
		m.approvals[o.slot] = a
	case "remove the user":
		if !m.user {
			return tenant.ErrUser.Code
		}
		m.user, m.granted = false, [2]bool{}
		for slot := range m.approvals {
			if a, _ := m.at(slot, now); a.status == approval.Pending {
				a.status = approval.Cancelled
				m.approvals[slot] = a
			}
		}
	case "add the user":
		m.user = true
	case "remove the grant":
		if !m.granted[o.phone] {
			return "unknown"
		}
		m.granted[o.phone] = false
	case "enrol":
		if !m.user {
			return tenant.ErrUser.Code
		}
		m.granted[o.phone] = true
	}
	return "" // and the sweep changes nothing that can be seen
}

func (m *model) answer(o op, now time.Time) string {
	a, ok := m.at(o.slot, now)
	switch {
	case !ok, !m.granted[o.phone]:
		return approval.ErrUnknown.Code
	case a.status == approval.Expired:
		return approval.ErrExpired.Code
	case a.status == approval.Cancelled:
		return approval.ErrCancelled.Code
	case a.status == approval.Pending:
		a.phone, a.decision, a.status = o.phone, o.decision, approval.Approved
		if o.decision == approval.Deny || o.decision == mismatch && a.match {
			a.status = approval.Denied
		}
		m.approvals[o.slot] = a
	case a.phone != o.phone || a.decision != o.decision:
		return approval.ErrNotPending.Code
	}
	if a.match && o.decision == mismatch {
		return approval.ErrMismatch.Code
	}
	return ""
}

// real is the same through the services.
type real struct {
	t      *testing.T
	f      *fixture
	app    tenant.Application
	user   tenant.User
	phones [2]*servertest.Phone
	asked  map[int]approval.Approval
}

func (r *real) do(o op) (a approval.Approval, code string) {
	ctx := context.Background()
	var err error
	switch o.name {
	case "ask":
		req := approval.Request{Message: "Log in?", Life: &o.life}
		if o.match {
			req.Match = tenant.MatchType
		}
		a, err = r.f.Approvals.Create(ctx, r.app, r.user, req)
	case "answer":
		err = r.answer(ctx, o)
	case "cancel":
		_, err = r.f.Approvals.Cancel(ctx, r.app, r.asked[o.slot].UUID)
	case "sweep":
		err = r.f.Approvals.Sweep(ctx)
	case "remove the user":
		err = r.f.Tenants.RemoveUser(ctx, r.app, r.user.AuthyID)
	case "add the user":
		_, err = r.f.Tenants.AddUser(ctx, r.app, tenant.NewUser{Email: r.user.Email, Phone: r.user.National()})
	case "remove the grant":
		err = r.removeGrant(ctx, o)
	case "enrol":
		err = r.enrol(ctx, o)
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return a, e.Code
	}
	if err != nil {
		return a, "internal: " + err.Error()
	}
	return a, ""
}

func (r *real) answer(ctx context.Context, o op) error {
	asked, phone := r.asked[o.slot], r.phones[o.phone]
	decision, match := o.decision, asked.Match.Value
	if decision == mismatch {
		decision, match = approval.Approve, "9999"
	}
	signature, err := receipt.Sign(phone.Key, r.f.Approvals.Signed(asked, phone.Device.ID, decision, match))
	if err != nil {
		return err
	}
	_, err = r.f.Approvals.Answer(ctx, phone.Device, asked.UUID, approval.Answer{Decision: decision, Match: match, Signature: signature})
	return err
}

func (r *real) removeGrant(ctx context.Context, o op) error {
	d := r.phones[o.phone].Device
	grants, err := r.f.Store.Grants(ctx, d.ID)
	if err != nil {
		return err
	}
	var id int64
	if len(grants) > 0 {
		id = grants[0].ID
	}
	return r.f.Devices.RemoveGrant(ctx, d, id)
}

func (r *real) enrol(ctx context.Context, o op) error {
	ticket, err := r.f.Devices.NewTicket(ctx, r.app, r.user)
	if err != nil {
		return err
	}
	_, err = r.f.confirm(r.phones[o.phone].Key, device.Confirmation{Ticket: ticket.Words})
	return err
}

// differs says how what can be seen differs from the model, "" when it does not.
func (r *real) differs(m *model) string {
	now := r.f.now()
	waiting := map[string]bool{}
	for slot := range m.approvals {
		want, _ := m.at(slot, now)
		got, err := r.f.Approvals.Get(r.t.Context(), r.app.ID, r.asked[slot].UUID)
		if err != nil {
			return fmt.Sprintf("approval %d: %v", slot, err)
		}
		answered := got.Status == approval.Approved || got.Status == approval.Denied
		switch {
		case got.Status != want.status:
			return fmt.Sprintf("approval %d is %s, want %s", slot, got.Status, want.status)
		case (got.Status == approval.Pending) != got.ProcessedAt.IsZero(), answered != (got.Answer != nil):
			return fmt.Sprintf("approval %d is %s, processed at %v, answered %t", slot, got.Status, got.ProcessedAt, got.Answer != nil)
		case answered && got.Answer.Grant.Device.ID != r.phones[want.phone].Device.ID:
			return fmt.Sprintf("approval %d was answered by the other phone", slot)
		}
		waiting[got.UUID] = got.Status == approval.Pending
	}
	for i, phone := range r.phones {
		in, err := r.f.Approvals.Inbox(r.t.Context(), phone.Device)
		if err != nil {
			return err.Error()
		}
		n := 0
		for _, w := range waiting {
			if w && m.granted[i] {
				n++
			}
		}
		if len(in.Waiting) != n || slices.ContainsFunc(in.Waiting, func(a approval.Approval) bool { return !waiting[a.UUID] }) {
			return fmt.Sprintf("phone %d sees %d waiting, want %d", i, len(in.Waiting), n)
		}
	}
	return ""
}

// machine draws acts and runs them on both.
type machine struct {
	*real
	model *model
	next  int // slot of the next approval
}

func (x *machine) draw(t *rapid.T, names []string) op {
	o := op{
		name: rapid.SampledFrom(names).Draw(t, "act"), phone: rapid.IntRange(0, 1).Draw(t, "phone"),
		decision: rapid.SampledFrom([]string{approval.Approve, approval.Deny, mismatch}).Draw(t, "decision"),
	}
	switch o.name {
	case "ask":
		o.slot = x.next
		x.next++
		o.life, o.match = rapid.SampledFrom([]int64{60, 120, 0}).Draw(t, "life"), rapid.Bool().Draw(t, "match")
	case "answer", "cancel":
		if len(x.asked) == 0 {
			return op{name: "sweep"}
		}
		o.slot = rapid.SampledFrom(slices.Sorted(maps.Keys(x.asked))).Draw(t, "approval")
	}
	return o
}

// together runs acts at once; what they returned and what can be seen then must be that of some order.
func (x *machine) together(t *rapid.T, ops []op) {
	codes := make([]string, len(ops))
	made := make([]approval.Approval, len(ops))
	together(len(ops), func(i int) error {
		made[i], codes[i] = x.do(ops[i])
		return nil
	})
	for i, o := range ops {
		if o.name == "ask" && codes[i] == "" {
			x.asked[o.slot] = made[i]
		}
	}
	var reasons []string
	for order := range permutations(len(ops)) {
		m := x.model.clone()
		reason := ""
		for _, i := range order {
			if want := m.do(ops[i], x.f.now()); want != codes[i] {
				reason = fmt.Sprintf("%v ended with %q, want %q", ops[i], codes[i], want)
				break
			}
		}
		if reason == "" {
			if reason = x.differs(m); reason == "" {
				x.model = m
				return
			}
		}
		reasons = append(reasons, fmt.Sprintf("in the order %v: %s", order, reason))
	}
	t.Fatalf("%v ended with %q, which no order explains: %q", ops, codes, reasons)
}

// permutations yields the orders of n things.
func permutations(n int) func(yield func([]int) bool) {
	return func(yield func([]int) bool) {
		var extend func(order []int) bool
		extend = func(order []int) bool {
			if len(order) == n {
				return yield(order)
			}
			for i := range n {
				if !slices.Contains(order, i) && !extend(append(slices.Clone(order), i)) {
					return false
				}
			}
			return true
		}
		extend(nil)
	}
}

func testINV5(t *testing.T, f *fixture) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		must(t, checks.Value.Set("15")) // with a flush for every act, a hundred take too long for every change
		defer func() { must(t, checks.Value.Set(checks.DefValue)) }()
	}
	acts := []string{"ask", "ask", "answer", "answer", "answer", "cancel", "sweep", "remove the grant"}
	rare := append(slices.Clone(acts), "remove the user", "add the user", "enrol", "enrol")
	rapid.Check(t, func(t2 *rapid.T) {
		app := f.App(t, "Bank", patient, func(s *tenant.Settings) { s.ApprovalLifeMax = 0 })
		user := f.User(t, app, "ana@example.com", number[2:])
		x := &machine{
			real:  &real{t, f, app, user, [2]*servertest.Phone{f.Phone(t, app, user), f.Phone(t, app, user)}, map[int]approval.Approval{}},
			model: &model{user: true, granted: [2]bool{true, true}, approvals: map[int]modelled{}},
		}
		t2.Repeat(map[string]func(*rapid.T){
			"one": func(t *rapid.T) { x.together(t, []op{x.draw(t, rare)}) },
			"two": func(t *rapid.T) { x.together(t, []op{x.draw(t, acts), x.draw(t, acts)}) },
			"three": func(t *rapid.T) {
				x.together(t, []op{x.draw(t, acts), x.draw(t, acts), x.draw(t, append(acts, "remove the user"))})
			},
			"time passes": func(t *rapid.T) {
				f.Clock.Advance(rapid.SampledFrom([]time.Duration{time.Millisecond, 30 * time.Second, 59999 * time.Millisecond, 2 * time.Minute}).Draw(t, "time"))
				if reason := x.differs(x.model); reason != "" {
					t.Fatal(reason)
				}
			},
		})
	})
}

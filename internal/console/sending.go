package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns the card of sending: what was sent and refused, where it is paused, and the limits (T-30).

// sendingCard is the data of the card about sending, on template "application".
type sendingCard struct {
	sending.State
	Limits    sending.Limits // as they hold
	Countries string
	Prices    string
	Budgets   []budgetField // of the application
	Counts    []budgetField // of one number, numbers alike, one address
	Fail      string
	typed     map[string]string // when it was refused
}

// budgetField is one number of the form.
type budgetField struct{ Name, Label, Value, Default string }

// budgetFields are the budgets that an operator sets: the form's names, and where each is in the limits.
var budgetFields = []struct {
	name, label string
	of          func(*sending.Limits) *sending.Budget
}{
	{"hour", "An hour", func(l *sending.Limits) *sending.Budget { return &l.Hour }},
	{"day", "A day", func(l *sending.Limits) *sending.Budget { return &l.Day }},
	{"country_hour", "An hour, one country", func(l *sending.Limits) *sending.Budget { return &l.CountryHour }},
	{"country_day", "A day, one country", func(l *sending.Limits) *sending.Budget { return &l.CountryDay }},
}

// countFields are the other numbers that an operator sets, in the same way.
var countFields = []struct {
	name, label string
	least       int
	of          func(*sending.Limits) *int
}{
	{"number_burst", "To one number in ten minutes", 1, func(l *sending.Limits) *int { return &l.NumberBurst }},
	{"number_day", "To one number a day", 1, func(l *sending.Limits) *int { return &l.NumberDay }},
	{"prefix_hour", "Numbers alike, an hour", 1, func(l *sending.Limits) *int { return &l.PrefixHour }},
	{"address_hour", "From one address, an hour", 1, func(l *sending.Limits) *int { return &l.AddressHour }},
	{"mail_hour", "Mails an hour", 1, func(l *sending.Limits) *int { return &l.MailHour.Messages }},
	{"resend_wait", "Seconds before another", 0, func(l *sending.Limits) *int { return (*int)(&l.ResendWait) }},
}

func (c *console) fillSending(ctx context.Context, app tenant.Application, p *sendingCard) (err error) {
	p.State, err = c.Lists.SendingState(ctx, app.ID, c.Now())
	p.Limits = app.Settings.Sending.Filled()
	if p.typed == nil {
		p.typed = formOf(app.Settings.Sending)
	}
	p.Countries, p.Prices = p.typed["countries"], p.typed["prices"]
	standard := formOf(sending.Defaults())
	for _, f := range budgetFields {
		for _, unit := range []string{"messages", "cost"} {
			name := f.name + "_" + unit
			p.Budgets = append(p.Budgets, budgetField{name, f.label + ", " + unit, p.typed[name], standard[name]})
		}
	}
	for _, f := range countFields {
		p.Counts = append(p.Counts, budgetField{f.name, f.label, p.typed[f.name], standard[f.name]})
	}
	return err
}

// formOf is what the form holds for limits; a field is empty where the usual limit holds.
func formOf(l sending.Limits) map[string]string {
	form := map[string]string{"countries": strings.ReplaceAll(l.Countries, " ", ", "), "prices": strings.ReplaceAll(l.Prices, " ", ", ")}
	for _, f := range budgetFields {
		b := f.of(&l)
		if b.Messages != 0 {
			form[f.name+"_messages"] = strconv.Itoa(b.Messages)
		}
		if b.Cost != 0 {
			form[f.name+"_cost"] = b.Cost.String()
		}
	}
	for _, f := range countFields {
		if n := *f.of(&l); n != 0 {
			form[f.name] = strconv.Itoa(max(n, 0)) // below 0 is no wait at all
		}
	}
	return form
}

func (c *console) setSending(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	names := []string{"countries", "prices"}
	for _, f := range budgetFields {
		names = append(names, f.name+"_messages", f.name+"_cost")
	}
	for _, f := range countFields {
		names = append(names, f.name)
	}
	form, err := readForm(w, r, names...)
	if err != nil {
		return err
	}
	limits, err := parseLimits(app.Settings.Sending, form)
	if err == nil {
		err = c.Tenants.SetSending(r.Context(), app, limits, actor(ses))
	}
	if fault.KindOf(err) == fault.Invalid {
		return c.renderApplication(w, r, http.StatusUnprocessableEntity, ses, app, application{Sending: sendingCard{Fail: fault.DetailOf(err), typed: form}})
	}
	return c.saved(w, r, app, "sending", err)
}

// parseLimits reads the form into the limits; what it does not name stays.
func parseLimits(l sending.Limits, form map[string]string) (_ sending.Limits, err error) {
	if l.Countries, err = sending.ParseCountries(form["countries"]); err != nil {
		return l, err
	}
	if l.Prices, err = sending.ParsePrices(form["prices"]); err != nil {
		return l, err
	}
	for _, f := range budgetFields {
		n, err := strconv.Atoi(cmp.Or(form[f.name+"_messages"], "0"))
		cost, ok := sending.ParseMoney(cmp.Or(form[f.name+"_cost"], "0"))
		if err != nil || !ok {
			return l, sending.ErrLimits.Saying("A budget is a whole number of messages and an amount such as 12.50. Leave a field empty for the usual one.")
		}
		*f.of(&l) = sending.Budget{Messages: n, Cost: cost}
	}
	for _, f := range countFields {
		*f.of(&l) = 0
		if typed := form[f.name]; typed != "" {
			n, err := strconv.Atoi(typed)
			if err != nil || n < f.least {
				return l, sending.ErrLimits.Saying(fmt.Sprintf("%q is a whole number, at least %d. Leave the field empty for the usual one.", f.label, f.least))
			}
			if *f.of(&l) = n; n == 0 {
				*f.of(&l) = -1
			}
		}
	}
	return l, nil
}

func (c *console) resumeSending(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "scope", "place")
	if err != nil {
		return err
	}
	return c.saved(w, r, app, "resumed", c.Tenants.EndPause(r.Context(), app, form["scope"], form["place"], actor(ses)))
}

// guessCountry proposes the country of the operator's browser, and theirs to change: nothing is sent anywhere that nobody named.
func guessCountry(r *http.Request) string {
	first, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ",")
	if _, region, ok := strings.Cut(first, "-"); ok {
		if country, err := sending.ParseCountries(region[:min(2, len(region))]); err == nil {
			return country
		}
	}
	return "US"
}

// refusalWords are what an operator reads for the rules of sending.
var refusalWords = map[string]string{
	sending.ErrNumber.Code:   "not a number that a person reads texts on",
	sending.ErrLandline.Code: "a landline",
	sending.ErrCountry.Code:  "the country is not among those you named",
	sending.ErrNumMany.Code:  "too many to one number",
	sending.ErrWait.Code:     "too soon after the last to the same number",
	sending.ErrPrefix.Code:   "too many numbers that differ in their last digits only",
	sending.ErrAddress.Code:  "too many from one network address",
	sending.ErrHour.Code:     "the budget of the hour was spent",
	sending.ErrDay.Code:      "the budget of the day was spent",
	sending.ErrCalls.Code:    "the budget was spent, for a call",
	sending.ErrMail.Code:     "too many mails in the hour",
	sending.ErrPaused.Code:   "paused, because hardly anybody typed the codes",
	sending.ErrNoCall.Code:   "calls paused, because hardly anybody typed the codes",
}

// refusedWhy says in words what a rule refused and where.
func refusedWhy(x sending.Refused) string {
	why := cmp.Or(refusalWords[x.Rule], x.Rule)
	if x.Country != "" && x.Country != sending.Email {
		return fmt.Sprintf("%s (%s)", why, x.Country)
	}
	return why
}

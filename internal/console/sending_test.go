package console

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

// T-30: an operator names countries, sets budgets and prices, sees what was refused, and ends a pause.
func TestSendingCard(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	b.post(t, "/applications", 422, "name", "Shop", "defaults", "new", "countries", "Narnia")
	b.post(t, "/applications", 303, "name", "Shop", "defaults", "new", "countries", "us, pt")
	app := onlyApp(t, f)
	if app.Settings.Sending.Countries != "PT US" {
		t.Fatalf("countries %q", app.Settings.Sending.Countries)
	}
	page := "/applications/" + app.ID
	british, err := f.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: "x@example.com", CountryCode: "44", Phone: "7400123456"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Codes.Send(t.Context(), app, british, otp.Request{Channel: otp.SMS, Force: true}); err == nil {
		t.Error("a code left to a country that nobody named")
	}
	if text := b.get(t, page, 200).text(); !strings.Contains(text, "PT US") || !strings.Contains(text, "1 × the country is not among those you named (GB)") {
		t.Errorf("the page: %s", text)
	}

	form := []string{"countries", "GB", "prices", "+44=0.04", "day_messages", "100", "day_cost", "12.5"}
	b.post(t, page+"/sending", 303, form...)
	got := onlyApp(t, f).Settings.Sending
	if want := (sending.Limits{Countries: "GB", Prices: "+44=0.04", Day: sending.Budget{Messages: 100, Cost: 12_500_000}}); got != want {
		t.Errorf("saved %+v, want %+v", got, want)
	}
	for _, bad := range [][]string{{"countries", "Narnia"}, {"prices", "44"}, {"day_messages", "many"}, {"day_cost", "-1"}, {"day_messages", "-5"}, {"hour_cost", "1e9"}, {"number_day", "0"}, {"address_hour", "few"}, {"prefix_hour", "1000001"}, {"resend_wait", "-1"}, {"resend_wait", "86401"}} {
		a := b.post(t, page+"/sending", 422, bad...)
		if !strings.Contains(a.body, `value="`+bad[1]+`"`) || onlyApp(t, f).Settings.Sending != got {
			t.Errorf("%v is lost, or was saved", bad)
		}
	}

	counts := []string{"countries", "GB", "number_burst", "2", "number_day", "4", "prefix_hour", "6", "address_hour", "30", "mail_hour", "50", "resend_wait", "0"}
	b.post(t, page+"/sending", 303, counts...)
	got = onlyApp(t, f).Settings.Sending
	want := sending.Limits{Countries: "GB", NumberBurst: 2, NumberDay: 4, PrefixHour: 6, AddressHour: 30, MailHour: sending.Budget{Messages: 50}, ResendWait: -1}
	if got != want {
		t.Errorf("saved %+v, want %+v", got, want)
	}
	shown := b.get(t, page, 200).body
	for i := 2; i < len(counts); i += 2 {
		if !strings.Contains(shown, `name="`+counts[i]+`" value="`+counts[i+1]+`"`) {
			t.Errorf("%s is not shown as %s", counts[i], counts[i+1])
		}
	}
	for range 2 { // without a wait between them
		if _, err := f.Codes.Send(t.Context(), onlyApp(t, f), british, otp.Request{Channel: otp.SMS, Force: true}); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Codes.Send(t.Context(), onlyApp(t, f), british, otp.Request{Channel: otp.SMS, Force: true}); !errors.Is(err, sending.ErrNumMany) {
		t.Errorf("a third in ten minutes: %v", err)
	}

	f.Clock.Advance(24 * time.Hour)
	app.Settings.Sending = sending.Limits{Countries: "GB", PrefixHour: 1000}
	for i := range 40 { // codes that nobody types
		u, err := f.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: "x@example.com", CountryCode: "44", Phone: fmt.Sprintf("740012%04d", i)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = f.Codes.Send(t.Context(), app, u, otp.Request{Channel: otp.SMS, Force: true}); errors.Is(err, sending.ErrPaused) {
			break
		}
		f.Clock.Advance(time.Minute)
	}
	b = f.dev(t) // signed out meanwhile
	if text := b.get(t, page, 200).text(); !strings.Contains(text, "Nothing is sent to GB until") || !strings.Contains(text, "of the last 20 codes 0 were typed") {
		t.Errorf("the page: %s", text)
	}
	b.post(t, page+"/sending/resume", 303, "scope", "country", "place", "GB")
	b.post(t, page+"/sending/resume", 404, "scope", "country", "place", "GB")
	if text := b.get(t, page, 200).text(); strings.Contains(text, "Nothing is sent to GB") {
		t.Error("the pause is still shown")
	}
}

// This file tests the texts: that every language says everything, briefly and safely, and which language is chosen.

package message

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/message/smpp"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

var now = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// outgoing is a code of an application whose name is as long as names get.
func outgoing(c otp.Channel, locale, about string) otp.Outgoing {
	return otp.Outgoing{
		App: tenant.Application{ID: "a", Name: strings.Repeat("Example Ba", 3)}, Channel: c, Address: "+12025550123", Code: "12345678",
		About: about, Locale: locale, ExpiresAt: now.Add(otp.SentLife),
	}
}

// Every language has every text, and each text says what its English one says: the same placeholders.
func TestEveryLanguageIsWhole(t *testing.T) {
	if len(catalogue) < 10 {
		t.Errorf("%d languages", len(catalogue))
	}
	english := reflect.ValueOf(catalogue[fallback])
	placeholders := func(s string) (found []string) {
		for _, p := range []string{"{code}", "{app}", "{about}", "{minutes}", "{when}"} {
			for range strings.Count(s, p) {
				found = append(found, p)
			}
		}
		return found
	}
	for tag, texts := range catalogue {
		v := reflect.ValueOf(texts)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "calling" {
				continue
			}
			got, want := v.Field(i).String(), english.Field(i).String()
			if got == "" || strings.TrimSpace(got) != got {
				t.Errorf("%s %s is %q", tag, name, got)
			}
			if tag != fallback && name != "speech" && got == want {
				t.Errorf("%s %s is not translated", tag, name)
			}
			if !slices.Equal(placeholders(got), placeholders(want)) || strings.Count(got, "{") != len(placeholders(got)) {
				t.Errorf("%s %s has %v, want %v", tag, name, placeholders(got), placeholders(want))
			}
		}
		if !strings.HasPrefix(texts.speech, tag+"-") {
			t.Errorf("%s is spoken as %s", tag, texts.speech)
		}
	}
}

func TestCallingCodesAreOfOneLanguage(t *testing.T) {
	seen := map[string]string{}
	for tag, texts := range catalogue {
		for _, code := range texts.calling {
			if seen[code] != "" {
				t.Errorf("+%s is of %s and %s", code, seen[code], tag)
			}
			seen[code] = tag
		}
	}
}

// A text message begins with its code, asks for no sharing of it, and takes one segment: two where the language's own letters need it.
func TestTextMessagesAreShort(t *testing.T) {
	wide := map[string]bool{"pt": true, "pl": true, "tr": true, "ja": true} // á, ś, ğ and kana are not in the GSM alphabet
	for tag := range catalogue {
		for what, out := range map[string]otp.Outgoing{"code": outgoing(otp.SMS, tag, ""), "enrolment": {Channel: otp.SMS, Code: "1234567", Locale: tag}} {
			m := compose(out, now)
			coding, parts := smpp.Split(m.Body)
			if coding == smpp.UCS2 && !wide[tag] {
				t.Errorf("%s %s needs letters outside of the GSM alphabet: %s", tag, what, m.Body)
			}
			if most := map[smpp.Coding]int{smpp.GSM7: 1, smpp.UCS2: 2}[coding]; len(parts) > most {
				t.Errorf("%s %s takes %d segments: %s", tag, what, len(parts), m.Body)
			}
			if !strings.HasPrefix(m.Body, out.Code+" ") || strings.Count(m.Body, out.Code) != 1 {
				t.Errorf("%s %s does not begin with its code: %s", tag, what, m.Body)
			}
		}
		for _, notice := range []otp.Notice{otp.NumberChanged, otp.ResetAllowed} {
			out := outgoing(otp.SMS, tag, "")
			out.Notice, out.When = notice, now
			m := compose(out, now)
			coding, parts := smpp.Split(m.Body)
			if coding == smpp.UCS2 && !wide[tag] || len(parts) > map[smpp.Coding]int{smpp.GSM7: 1, smpp.UCS2: 2}[coding] || m.Code != "" {
				t.Errorf("%s %s takes %d segments, and other letters: %v: %s", tag, notice, len(parts), coding == smpp.UCS2, m.Body)
			}
		}
		about := compose(outgoing(otp.SMS, tag, "5 EUR to Bob"), now).Body
		if !strings.HasPrefix(about, "12345678 ") || !strings.Contains(about, "5 EUR to Bob") {
			t.Errorf("%s: %s", tag, about)
		}
	}
}

func TestLanguageIsChosen(t *testing.T) {
	for _, row := range []struct{ locale, address, want string }{
		{"de", "+12025550123", "de"},
		{"pt-BR", "+12025550123", "pt"},
		{"PT_br", "+12025550123", "pt"},
		{"ES", "+4915123456789", "es"},
		{"xx", "+4915123456789", "en"}, // asked for, and not there
		{"zh-CN", "ana@example.com", "en"},
		{"", "+4915123456789", "de"},
		{"", "+5511912345678", "pt"},
		{"", "+819012345678", "ja"},
		{"", "+12025550123", "en"},
		{"", "+41791234567", "en"}, // several languages: none is guessed
		{"", "ana@example.com", "en"},
		{strings.Repeat("x", 5000), "", "en"},
	} {
		if got := language(row.locale, row.address); got.sms != catalogue[row.want].sms {
			t.Errorf("%q to %s: %q, want %s", row.locale, row.address, got.sms, row.want)
		}
	}
}

// The origin-bound form of wicg.github.io/sms-one-time-codes: the last line, and nothing after it.
func TestOriginBoundLastLine(t *testing.T) {
	for tag := range catalogue {
		out := outgoing(otp.SMS, tag, "")
		out.Host = "login.example.com"
		if body := compose(out, now).Body; !strings.HasSuffix(body, "\n\n@login.example.com #12345678") {
			t.Errorf("%s: %q", tag, body)
		}
		out.Channel = otp.Email
		if body := compose(out, now).Body; strings.Contains(body, "@login") {
			t.Errorf("%s: a mail with %q", tag, body)
		}
	}
}

// A call says the digits one by one, twice, in the voice of its language.
func TestSpokenCode(t *testing.T) {
	for tag, texts := range catalogue {
		for _, about := range []string{"", "5 € to Bob"} {
			m := compose(outgoing(otp.Voice, tag, about), now)
			digits := strings.Split(m.Code, "")
			first := slices.Index(m.Speech, "1")
			if first < 1 || !slices.Equal(m.Speech[first:first+8], digits) || !slices.Equal(m.Speech[first+9:first+17], digits) || len(m.Speech) != first+18 {
				t.Errorf("%s says %q", tag, m.Speech)
			}
			if m.Language != texts.speech || strings.Contains(m.Body, "{") || m.Body != strings.Join(m.Speech, " ") || strings.Contains(m.Body, "Bob") != (about != "") {
				t.Errorf("%s: %+v", tag, m)
			}
		}
	}
}

// A mail names the code in its subject, where the notification shows it, and alone in its first line.
func TestWrittenCode(t *testing.T) {
	for tag := range catalogue {
		m := compose(outgoing(otp.Email, tag, "5 € to Bob"), now)
		if !strings.HasPrefix(m.Subject, m.Code) || !strings.HasPrefix(m.Body, m.Code+"\n\n") || !strings.Contains(m.Body, "5 € to Bob\n\n") || strings.Contains(m.Subject+m.Body, "{") {
			t.Errorf("%s: %+v", tag, m)
		}
	}
}

// How long a code is good is said of the code that is sent, also when most of its time is over.
func TestMinutesLeft(t *testing.T) {
	out := outgoing(otp.SMS, "en", "")
	for left, want := range map[time.Duration]string{10 * time.Minute: "10 min", 9*time.Minute + 59*time.Second: "9 min", time.Second: "1 min"} {
		out.ExpiresAt = now.Add(left)
		if body := compose(out, now).Body; !strings.Contains(body, "for "+want+".") {
			t.Errorf("with %v left: %s", left, body)
		}
	}
}

// What others chose stays in its place: it fills no other place, whatever it holds.
func TestWordsOfOthersAreNoPlaceholders(t *testing.T) {
	out := outgoing(otp.SMS, "en", "{code} {app} {minutes}")
	out.App.Name = "{about}"
	if body := compose(out, now).Body; body != "12345678 is your {about} code for: {code} {app} {minutes}. It is good for 10 min. Give it to nobody." {
		t.Error(body)
	}
}

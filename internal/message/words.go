package message

import (
	"strconv"
	"strings"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// This file owns how a code or a notice becomes words: language, text, and what a call says.

// language returns the texts for a locale such as pt-BR, or without one for a phone number.
func language(locale, address string) texts {
	tag, _, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(locale, "_", "-")), "-")
	if t, ok := catalogue[tag]; ok {
		return t
	}
	if _, cc, ok := tenant.ParseE164(address); ok && locale == "" {
		if tag, ok := callingCodes[strconv.Itoa(cc)]; ok {
			return catalogue[tag]
		}
	}
	return catalogue[fallback]
}

// callingCodes is the language for each calling code.
var callingCodes = func() map[string]string {
	codes := map[string]string{}
	for tag, t := range catalogue {
		for _, code := range t.calling {
			codes[code] = tag
		}
	}
	return codes
}()

// compose puts a code or a notice into words.
func compose(out otp.Outgoing, now time.Time) Message {
	t := language(out.Locale, out.Address)
	if out.Notice != "" {
		return t.notice(out)
	}
	m := Message{Channel: out.Channel, To: out.Address, Code: out.Code, ExpiresAt: out.ExpiresAt.UTC()}
	about := receipt.CleanText(out.About) // others chose it, and the application's name
	fill := strings.NewReplacer("{code}", out.Code, "{app}", receipt.CleanText(out.App.Name), "{about}", about,
		"{minutes}", strconv.Itoa(max(1, int(out.ExpiresAt.Sub(now)/time.Minute)))).Replace
	enrolment := out.App.ID == ""
	switch out.Channel {
	case otp.Voice:
		m.Language, m.Speech = t.speech, t.spoken(out.Code, about, enrolment)
		for i := range m.Speech {
			m.Speech[i] = fill(m.Speech[i])
		}
		m.Body = strings.Join(m.Speech, " ")
	case otp.Email:
		m.Subject, m.Body = fill(choose(enrolment, t.subjectEnrol, t.subject)), fill(t.written(about))
	default:
		m.Body = fill(choose(enrolment, t.smsEnrol, choose(about != "", t.smsAbout, t.sms)))
		if out.Host != "" {
			m.Body += "\n\n@" + out.Host + " #" + out.Code // wicg.github.io/sms-one-time-codes: the last line, and nothing after it
		}
	}
	return m
}

// notice says what happened to somebody's account.
func (t texts) notice(out otp.Outgoing) Message {
	fill := strings.NewReplacer("{app}", receipt.CleanText(out.App.Name), "{when}", out.When.UTC().Format("2006-01-02 15:04 UTC")).Replace
	m := Message{Channel: out.Channel, To: out.Address, ExpiresAt: out.ExpiresAt.UTC()}
	switch {
	case out.Notice == otp.NumberChanged:
		m.Body = fill(t.numberChanged)
	case out.Channel == otp.Email:
		m.Subject, m.Body = fill(t.resetSubject), fill(t.resetMail)+"\n"
	default:
		m.Body = fill(t.reset)
	}
	return m
}

// spoken returns what a call says, phrase by phrase: the digits one by one, and all of them twice.
func (t texts) spoken(code, about string, enrolment bool) []string {
	phrases := []string{choose(enrolment, t.sayEnrol, t.say)}
	if about != "" {
		phrases = append(phrases, t.sayAbout)
	}
	digits := strings.Split(code, "")
	phrases = append(append(phrases, digits...), t.again)
	return append(append(phrases, digits...), t.end)
}

// written returns a mail's text: the code alone in the first line, so that it is found and copied at a glance.
func (t texts) written(about string) string {
	paragraphs := []string{"{code}"}
	if about != "" {
		paragraphs = append(paragraphs, t.mailAbout)
	}
	return strings.Join(append(paragraphs, t.mail), "\n\n") + "\n"
}

func choose(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// This file owns what people do with the sample application and their phone, step by step.

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// person is somebody with an account at the sample application.
type person struct {
	d                             *dev
	name, email, number, password string
	desk                          *tab     // the browser at the desk
	hand                          *tab     // the phone
	codes                         []string // the recovery codes
}

// newPerson has an empty browser and an empty phone, and no account yet.
func newPerson(t *testing.T, d *dev, name string) *person {
	t.Helper()
	number := newNumber()
	return &person{
		d: d, name: name, email: strings.ToLower(name) + number + "@example.com", number: number, password: "correct horse " + number,
		desk: newDesk(t, name+" desk"), hand: newHand(t, name+" hand"),
	}
}

// enrolled is a person who signed up with a ticket and stands on the account page.
func enrolled(t *testing.T, d *dev, name string) *person {
	t.Helper()
	p := newPerson(t, d, name)
	p.signUp()
	p.enrolByTicket()
	return p
}

// signUp proves address and number, up to the page that asks for the second factor.
func (p *person) signUp() {
	p.desk.t.Helper()
	p.askForAccount()
	p.desk.open(p.mailedLink("Open your account"))
	p.fillIn()
	p.desk.click(submit("/signup/details"))
	p.proveNumber()
}

// askForAccount gives the address, up to the page that says to look into the mail.
func (p *person) askForAccount() {
	p.desk.t.Helper()
	p.desk.open(p.d.LoginURL + "/signup")
	p.desk.fill(named("email"), p.email)
	p.desk.leave(func() { p.desk.click(submit("/signup")) })
	p.desk.see("main", "Look into your mail", p.email)
}

// fillIn fills in the form that the mail's link leads to.
func (p *person) fillIn() {
	p.desk.t.Helper()
	p.desk.fill(named("name"), p.name)
	p.desk.fill(named("country_code"), "1")
	p.desk.fill(named("phone"), p.number)
	p.desk.fill(named("password"), p.password)
}

// proveNumber types the first text message's code.
func (p *person) proveNumber() {
	p.desk.t.Helper()
	p.desk.stand(p.d.LoginURL + "/enrol")
	p.desk.fill(named("code"), p.firstText())
	p.desk.leave(func() { p.desk.click(submit("/enrol/number")) })
	p.desk.see("main", "With the authenticator")
}

// firstText is the code of the first text message to the person's number.
func (p *person) firstText() string {
	p.desk.t.Helper()
	if p.d.texts != nil {
		return p.d.texts(p.desk.t, p.number)
	}
	return p.d.sentCode(p.number, 1)
}

// mailedLink is the link in the newest mail to a person about this.
func (p *person) mailedLink(subject string) string {
	p.desk.t.Helper()
	text := p.mailed(subject)
	at := strings.Index(text, p.d.LoginURL)
	if at < 0 {
		p.desk.t.Fatalf("no link in %q", text)
	}
	return strings.Fields(text[at:])[0]
}

// mailed waits for a mail to a person about this, and returns its text.
func (p *person) mailed(subject string) (text string) {
	p.desk.t.Helper()
	eventually(p.desk.t, waitWithin, "a mail to "+p.email+" about "+subject, func() error {
		list := p.d.outbox
		if p.d.mails != nil {
			list = p.d.mails
		}
		mails, err := list(p.email)
		if err != nil {
			return err
		}
		for _, m := range mails {
			if strings.Contains(m.Subject, subject) {
				text = m.Body
				return nil
			}
		}
		return fmt.Errorf("there are %d about something else", len(mails))
	})
	return text
}

// enrolByTicket follows the link of the sign-up page on the phone, and approves the first request there.
func (p *person) enrolByTicket() {
	p.desk.t.Helper()
	link, err := evaluate[string](p.desk, `document.querySelector('[data-testid="ticket-link"]').href`)
	if err != nil || !strings.HasPrefix(link, p.d.AuthenticatorURL+"/enroll#") {
		p.desk.t.Fatalf("the ticket link is %q, %v", link, err)
	}
	p.hand.open(link)
	p.hand.see("main", "Owlgate", p.maskedEmail())
	p.hand.fill(testid("device-name"), p.name+"'s phone")
	p.hand.click(testid("enrol-confirm"))
	// The page at the desk notices by itself, and asks the new device.
	p.decide("approve")
	p.saveCodes()
}

// saveCodes sees the recovery codes, once, and says that they are saved: then the account is open.
func (p *person) saveCodes() {
	p.desk.t.Helper()
	p.desk.stand(p.d.LoginURL + "/codes")
	p.desk.click(testid("codes-show"))
	p.codes = strings.Fields(p.desk.see(testid("codes"), "-"))
	p.desk.click(testid("codes-saved"))
	p.desk.click(testid("codes-done"))
	p.desk.stand(p.d.LoginURL + "/account")
	p.desk.see(testid("account-name"), p.name)
}

// maskedEmail is how much of the address a phone shows to whoever holds a ticket.
func (p *person) maskedEmail() string { return p.email[strings.Index(p.email, "@"):] }

// logIn gives the password at a desk, up to the waiting page.
func (p *person) logIn(desk *tab) {
	desk.t.Helper()
	p.typePassword(desk)
	desk.stand(p.d.LoginURL + "/login/verify")
}

// typePassword fills in the log-in form.
func (p *person) typePassword(desk *tab) {
	desk.t.Helper()
	desk.open(p.d.LoginURL + "/login")
	desk.fill(named("email"), p.email)
	desk.fill(named("password"), p.password)
	desk.click(submit("/login"))
}

// logOut presses the button, and makes sure that nobody is signed in.
func (p *person) logOut(desk *tab) {
	desk.t.Helper()
	desk.click(testid("logout"))
	desk.stand(p.d.LoginURL + "/?")
	desk.open(p.d.LoginURL + "/account")
	desk.stand(p.d.LoginURL + "/login")
}

// decide opens the one request that waits on the phone and presses "approve", "deny", or "not-me", which denies too.
func (p *person) decide(decision string) {
	p.hand.t.Helper()
	p.openRequest("")
	p.press(decision)
}

// openRequest opens a waiting request on the phone, by its id, or the first one.
func (p *person) openRequest(uuid string) {
	p.hand.t.Helper()
	item := testid("request-item")
	if uuid != "" {
		item += fmt.Sprintf("[data-uuid=%q]", uuid)
	}
	p.showRequests()
	p.hand.click(item)
	p.hand.attribute(testid("request-state"), "data-state", "pending")
}

// showRequests leads the phone to its list of requests.
func (p *person) showRequests() {
	p.hand.t.Helper()
	if at, err := evaluate[string](p.hand, `location.pathname`); err != nil || at != "/" {
		p.hand.click(`a[href="/"]`)
	}
}

// press answers the request that the phone shows. "not-me" denies and says why, "deny" says that it was a mistake.
func (p *person) press(decision string) {
	p.hand.t.Helper()
	if decision == "approve" {
		p.hand.click(testid("approve"))
	} else {
		p.hand.click(testid("deny"))
		p.hand.click(testid(map[string]string{"deny": "deny-mistake", "not-me": "deny-not-me"}[decision]))
	}
	p.hand.attribute(testid("request-state"), "data-state", map[string]string{"approve": "approved", "deny": "denied", "not-me": "not-me"}[decision])
}

// request is the id of the request that a waiting page is about, from its link to the authenticator.
func (p *person) request(desk *tab) string {
	desk.t.Helper()
	desk.state("push_pending")
	link, err := evaluate[string](desk, `document.querySelector('[data-testid="open-authenticator"]').href`)
	if err != nil {
		desk.t.Fatal(err)
	}
	return link[strings.LastIndex(link, "/")+1:]
}

// otherWays opens the code form of a waiting page, where it is not open already.
func (p *person) otherWays() {
	p.desk.t.Helper()
	open, err := evaluate[bool](p.desk, `(() => { const ways = document.querySelector('details[data-testid="other-ways"]'); return !ways || ways.open; })()`)
	if err != nil {
		p.desk.t.Fatal(err)
	}
	if !open {
		p.desk.click(testid("other-ways") + " summary")
	}
}

// enterCode types a code at the desk, and the Enter key: a hint that appears just then moves a button away, and no key.
func (p *person) enterCode(code string) {
	p.desk.t.Helper()
	p.otherWays()
	p.desk.fill(named("token"), code)
	p.desk.leave(func() { p.desk.write(kb.Enter) })
}

// appCode reads the code that the phone shows.
func (p *person) appCode() (code string) {
	p.hand.t.Helper()
	p.showRequests() // where the tabs are
	p.hand.click(testid("nav-codes"))
	eventually(p.hand.t, waitWithin, "a code on the phone", func() error {
		text, err := p.hand.text(testid("code"))
		code = strings.Join(strings.Fields(text), "")
		if err == nil && len(code) != 7 {
			err = fmt.Errorf("it shows %q", text)
		}
		return err
	})
	return code
}

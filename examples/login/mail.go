// This file owns what the owner of an account is told: as a line of the history, and by mail where it matters.

package login

import (
	"cmp"
	"context"
	"net/http"

	"countersign.dev/secondfactor"
)

// Mail is a message to the owner of an account.
type Mail struct{ To, Subject, Text string }

// send sends a mail. That one cannot be sent stops nothing that was done already; the log has it, without its text.
func (a *App) send(ctx context.Context, to, subject, text string) {
	if err := a.config.Mail(ctx, Mail{To: to, Subject: a.config.Name + ": " + subject, Text: text}); err != nil {
		a.config.Logger.ErrorContext(ctx, "mail not sent", "subject", subject, "error", err)
	}
}

// tell notes something in an account's history and mails it to the owner: changes of what protects the account, and attacks on it.
func (a *App) tell(ctx context.Context, u user, from secondfactor.Origin, what, advice string) error {
	now := a.config.Clock()
	if err := a.users.record(ctx, u.ID, what, from, now); err != nil {
		return err
	}
	a.send(ctx, u.Email, what, what+".\n"+now.UTC().Format("2 January 2006, 15:04")+" UTC, "+cmp.Or(place(from), "unknown place")+"\n\n"+advice+
		"\nIf this was not you, change your password at "+a.config.PublicURL+"/security")
	return nil
}

// happened is called by the guard for what the owner of an account should hear of.
func (a *App) happened(ctx context.Context, e secondfactor.Event) {
	u, err := a.users.byID(ctx, e.User)
	if err == nil {
		err = a.note(ctx, u, e)
	}
	if err != nil {
		a.config.Logger.ErrorContext(ctx, "event not noted", "kind", e.Kind, "user", e.User, "error", err)
	}
}

func (a *App) note(ctx context.Context, u user, e secondfactor.Event) error {
	const changeIt = "Somebody who is not you may know your password. Change it."
	switch e.Kind {
	case secondfactor.NotMe:
		if err := a.users.setAlarm(ctx, u.ID, a.config.Clock().Unix()); err != nil {
			return err
		}
		return a.tell(ctx, u, e.Origin, "You said that a request was not yours", changeIt)
	case secondfactor.TooManyCodes:
		return a.tell(ctx, u, e.Origin, "Too many wrong codes after the right password", changeIt)
	case secondfactor.TrustStolen:
		return a.tell(ctx, u, e.Origin, "A copy of a trusted browser was used", "That browser is not trusted any more. "+changeIt)
	case secondfactor.RecoveryUsed:
		return a.tell(ctx, u, e.Origin, "A recovery code was used", "Set up a new device, and make new recovery codes when few are left.")
	case secondfactor.BrowserTrusted:
		return a.tell(ctx, u, e.Origin, "A browser is trusted for 30 days", "In it your password is enough.")
	case secondfactor.WrongNumber:
		return a.users.record(ctx, u.ID, "A wrong number was typed on the device", e.Origin, a.config.Clock())
	default:
		return a.users.record(ctx, u.ID, "Denied on the device", e.Origin, a.config.Clock())
	}
}

// origin is where a request comes from, as the guard sees it.
func (a *App) origin(r *http.Request) secondfactor.Origin {
	return a.guard.Origin(r)
}

// Package secondfactor is the second step of a log-in for net/http applications: the person has given a password, and now
// a phone says yes, or a code is typed. The same machinery proves a factor at enrolment and asks for one act at a time (a
// transfer, say) with exactly the values that are shown.
//
// The application keeps its users, its passwords and its pages. It calls [Guard.Login] after the password was right, [Guard.Enrol]
// when a person sets up the factor, [Guard.StepUp] before an act, and wraps what needs a signed-in person in [Guard.Require], what
// changes settings in [Guard.RequireConfirmed]. The package owns the waiting page, the attempts, the sessions, recovery codes and
// trusted browsers.
//
// # One attempt
//
// An attempt is one row: one browser (by the hash of its pending cookie), one user, one purpose, at most one live approval at the provider.
//
//	choosing ─┬─▶ push_pending ─┬─▶ approved ──▶ consumed
//	          └─▶ code_pending ─┤      │
//	                            └──────┴─▶ denied, locked, cancelled, expired
//
// Denied, locked, cancelled, expired and consumed are final and never change: every write is conditional on the version that was
// read, so the first decision wins. An approval that runs out does not end the attempt: within its life another may
// be sent, and the page says "expired" meanwhile.
//
// # Rules
//
//   - Only POST /login/verify/complete signs in. It needs the pending cookie and an approved attempt of that browser, consumes it
//     in the same transaction that inserts the session, and gives the browser a new session value.
//   - Before it consumes an approval it asks the provider for the state by UUID, and checks the receipt when there is
//     one: that what was approved is what was asked, and, with pinned keys, who approved.
//   - The row is the truth. The callback, the long poll at the provider and the stream to the browser are hints to read again, so
//     everything works with any one of them missing.
//   - Browsers never name an approval, a user or a state. Cookies carry random values that are stored hashed.
//   - Denial opens no other door.
//   - Trust stands in for the factor at a log-in and nowhere else; settings need a fresh proof, an act one of its own.
//
// # Routes
//
//	GET  /login/verify           the waiting page
//	GET  /login/verify/events    its stream (server-sent events)
//	GET  /authy/status           the same as JSON, for polling; 401 without an attempt
//	POST /login/verify/push      ask the device, or ask again after the last request ended
//	POST /authy/send_token       send a code by text message
//	POST /authy/verify           check a code (field token)
//	POST /login/verify/recovery  check a recovery code (field recovery)
//	POST /login/verify/cancel    give up; the request disappears from the phone
//	POST /login/verify/complete  sign in
//	POST /login/trust            whether to trust this browser (field trust: yes or no), after a log-in
//	GET  /login/confirm          prove the factor once more, before settings are changed
//	POST /login/confirm          begin that
//	POST /logout                 end the session
//	POST /authy/callback         the provider tells a decision (or GET, as the application is set up there)
//
// All POSTs but the callback refuse other origins ([http.CrossOriginProtection]) and the cookies are SameSite=Lax.
package secondfactor

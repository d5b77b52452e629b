// Package client owns the calls that an application makes to a Countersign server, or to any server that speaks the Authy API.
//
// A login with a second factor takes four calls:
//
//	id, err := c.AddUser(ctx, client.NewUser{Email: email, CountryCode: "1", Phone: phone}) // once, at sign-up
//	approval, err := c.CreateApproval(ctx, id, client.ApprovalRequest{Message: "Log in to Example?"})
//	approval, err = c.Decision(ctx, approval.UUID) // waits
//	_, err = c.VerifyCode(ctx, id, code, client.CodeOptions{}) // when the person would rather type a code
//
// Errors of the server are [*Error]; test for the usual ones with errors.Is and a sentinel such as [ErrCodeWrong]. Whatever is not clearly a
// success is an error: a code is right only when VerifyCode returns nil, and an approval is given only when its status
// is [StatusApproved].
//
// A call is tried again only where that cannot do harm: reading, creating an approval (which carries an idempotency key), and any call that
// certainly was not sent. [Client.VerifyCode] and [Client.SendSMS], and what is like them for calls, mails and phone verification, are never sent twice.
//
// Package receipt, below this one, checks the proof that comes with a decision; package callback receives decisions.
package client

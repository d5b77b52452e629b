// This file owns the receipt and its verification against what an application asked for.

package receipt

import (
	"errors"
	"fmt"
	"slices"
)

// Errors of [Receipt.Verify], beside [ErrMalformed] and [ErrSignature].
var (
	// ErrUnpinned says that the receipt's key is none of the keys the application pinned.
	ErrUnpinned = errors.New("receipt: key is not pinned")
	// ErrMismatch says that a sound, signed answer is to something else than the application expected. The error's text names the member.
	ErrMismatch = errors.New("receipt: answer to something else")
)

// Receipt is the proof of a decision. It comes as "receipt" in the approval's status and in the POST callback.
type Receipt struct {
	Answer     string     `json:"answer"`     // b64 of the signed bytes, see [ParseAnswer]
	Signature  string     `json:"signature"`  // by the device's key, see [VerifySignature]
	Logo       string     `json:"logo"`       // hex SHA-256 of the picture shown, "" without one
	Enrollment Enrollment `json:"enrollment"` // the provider's record of the key
}

// Enrollment is the provider's word on how a key came to act for a user. It is not signed by the device.
type Enrollment struct {
	Device     string `json:"device"`      // device id
	Grant      int64  `json:"grant"`       // the device's id in the user's status
	PublicKey  string `json:"public_key"`  // see [ParsePublicKey]
	Method     string `json:"method"`      // "ticket" or "sms"
	EnrolledAt int64  `json:"enrolled_at"` // Unix seconds
}

// Expected is what an application knows about an approval from itself: take every value from your own records, never
// from the message that brought the receipt. A zero value never matches a real answer, so a forgotten field is refused.
type Expected struct {
	Origin string // public origin of the authenticator
	// Application is the id that "countersign app show" prints as Id, 24 hexadecimal digits: not the number that it prints as Number, which Authy's
	// clients know as app_id. Put it into your configuration, beside the API key.
	Application string
	User        int64    // authy_id of whoever had to decide
	Approval    string   // uuid
	Content     Content  // what was to be shown, as ApprovalRequest.Content of package client tells; with a Logo of "" any picture is accepted
	Hidden      []Field  // hidden details as sent, nil without any
	Decision    string   // [Approve], [Deny] or [NotMe]
	Match       string   // the number to be typed, "" without one
	Keys        []string // pinned public keys; any of them may have signed
}

// Verify checks that a pinned key signed exactly the expected answer. It needs no server and no clock: nil means that the decision is
// proved, and an error (test with errors.Is) that nothing is.
//
// What was shown goes through [Content.Clean] before it is compared, as the server cleaned it; hidden details are compared as they
// are, because nobody reads them. The picture is the exception: its digest comes from the receipt, because the server shrinks and stores pictures and an application does not know the result.
// So a receipt proves which text was agreed to, and only on the server's word which picture stood beside it.
//
// Without pinned keys Verify refuses everything, because then a dishonest server could bring a key of its own. Pin at enrolment, from the
// user's status ("public_key"). Match is compared for approvals only, because nobody types a number to deny.
func (r Receipt) Verify(want Expected) error {
	if !slices.Contains(want.Keys, r.Enrollment.PublicKey) {
		return ErrUnpinned
	}
	key, err := ParsePublicKey(r.Enrollment.PublicKey)
	if err != nil {
		return err
	}
	signed, err := decode(r.Answer)
	if err != nil {
		return fmt.Errorf("%w receipt: %w", ErrMalformed, err)
	}
	if err := VerifySignature(key, signed, r.Signature); err != nil {
		return err
	}
	answer, err := ParseAnswer(signed)
	if err != nil {
		return err
	}
	if member := r.differs(answer, want); member != "" {
		return fmt.Errorf("%w: %s", ErrMismatch, member)
	}
	return nil
}

// differs names the first member in which an answer is not the expected one, "" when there is none.
func (r Receipt) differs(answer Answer, want Expected) string {
	content := want.Content.Clean()
	if content.Logo == "" {
		content.Logo = r.Logo
	}
	switch {
	case answer.Origin != want.Origin:
		return "origin"
	case answer.Application != want.Application:
		return "application"
	case answer.User != want.User:
		return "user"
	case answer.Approval != want.Approval:
		return "approval"
	case answer.Decision != want.Decision:
		return "decision"
	case answer.Decision == Approve && answer.Match != want.Match:
		return "match"
	case answer.Shown != content.Digest():
		return "shown"
	case answer.Hidden != HiddenDigest(want.Hidden):
		return "hidden"
	case answer.Device != r.Enrollment.Device:
		return "device"
	}
	return ""
}

// This file owns the last question before an approval counts: what does the provider say, and what did the person sign?

package secondfactor

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"countersign.dev/client"
	"countersign.dev/client/receipt"
)

// errUnconfirmed says that the provider or the receipt contradicts the approval. Any other error means that nobody knows.
var errUnconfirmed = errors.New("secondfactor: approval is not confirmed")

// confirm asks the provider for the approval's state by the UUID in our row, and verifies the receipt. It returns the key of the device.
func (g *Guard) confirm(ctx context.Context, a Attempt) (deviceKey string, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.config.Limits.Provider)
	defer cancel()
	approval, err := g.config.Provider.Approval(ctx, a.Request)
	switch {
	case errors.Is(err, client.ErrApprovalNotFound):
		return "", fmt.Errorf("%w: unknown to the provider", errUnconfirmed)
	case err != nil:
		return "", err
	case approval.AuthyID != a.AuthyID || approval.Status != client.StatusApproved:
		return "", fmt.Errorf("%w: provider says %q", errUnconfirmed, approval.Status)
	case approval.Receipt == nil && len(a.Keys) > 0:
		return "", fmt.Errorf("%w: keys are pinned and there is no receipt", errUnconfirmed)
	case approval.Receipt == nil:
		return "", nil
	}
	if err := g.verify(a, approval); err != nil {
		return "", fmt.Errorf("%w: %w", errUnconfirmed, err)
	}
	return approval.Receipt.Enrollment.PublicKey, nil
}

// verify checks that the signed answer is a yes to exactly what this attempt asked. Everything is compared with the attempt. Where the
// application pinned no keys or gave no [Trust], the provider's word stands in for what is missing.
func (g *Guard) verify(a Attempt, approval client.Approval) error {
	r := *approval.Receipt
	trust := g.config.Trust
	if trust == (Trust{}) {
		signed, err := base64.RawURLEncoding.DecodeString(r.Answer)
		if err != nil {
			return err
		}
		answer, err := receipt.ParseAnswer(signed)
		if err != nil {
			return err
		}
		trust = Trust{Origin: answer.Origin, Application: approval.ApplicationID, Name: approval.Application}
	}
	keys := a.Keys
	if len(keys) == 0 {
		keys = []string{r.Enrollment.PublicKey}
	}
	asked := client.ApprovalRequest{Message: a.Ask.Message, Details: a.Ask.Details, Context: g.context(a)}
	return r.Verify(receipt.Expected{
		Origin: trust.Origin, Application: trust.Application, User: a.AuthyID, Approval: a.Request,
		Content: asked.Content(trust.Name), Hidden: a.Ask.Hidden, Decision: receipt.Approve, Match: a.Match, Keys: keys,
	})
}

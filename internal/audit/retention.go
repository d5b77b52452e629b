package audit

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"
)

// This file owns the retention of the chain: its oldest links leave, up to a checkpoint, and from then on it begins behind that.
//
// Where it begins is signed, with the checkpoints' key and for that purpose alone. So whoever can write to the database cannot make it begin
// elsewhere: links that are missing behind the signed beginning are found, and so is a beginning that nobody signed. What left is in the exports
// that were made before.

// Beginning says that the chain begins behind a link, because that one and all before it left by retention.
type Beginning struct {
	Head
	At        time.Time
	Signature string // hex Ed25519
}

func (b Beginning) message() []byte {
	return fmt.Appendf(nil, "countersign audit beginning 1\n%d\n%s\n%d\n", b.Seq, b.Hash, b.At.UnixMilli())
}

// Begin returns the beginning behind a head.
func (h Head) Begin(key ed25519.PrivateKey, at time.Time) Beginning {
	b := Beginning{Head: h, At: time.UnixMilli(at.UnixMilli()).UTC()}
	b.Signature = sign(key, b.message())
	return b
}

// SignedBy reports whether the beginning is that key's.
func (b Beginning) SignedBy(key ed25519.PublicKey) bool {
	return isSigned(key, b.message(), b.Signature)
}

// retentionStore is what retention needs to keep.
type retentionStore interface {
	// AuditBeginning returns where the chain begins, the zero value when that is its first link.
	AuditBeginning(ctx context.Context) (Beginning, error)
	// CheckpointUntil returns the newest checkpoint that was signed then or before, the zero value when there is none.
	CheckpointUntil(ctx context.Context, at time.Time) (Checkpoint, error)
	// BeginAudit has the chain begin there, if it does not begin there or later already.
	BeginAudit(ctx context.Context, b Beginning, rec Record) error
	// ForgetAudit removes at most limit links and checkpoints each from before the chain's beginning, and returns how many it removed.
	ForgetAudit(ctx context.Context, limit int) (int64, error)
}

// beginEvery is how far apart beginnings are at least, so that there are not more records of them than of what happens.
const beginEvery = 24 * time.Hour

// Forget has the chain begin behind the newest checkpoint that is as old as before, and removes at most limit links that are no part of it any
// more. It returns how many it removed.
func (c *Chainer) Forget(ctx context.Context, before time.Time, limit int) (int64, error) {
	point, err := c.Store.CheckpointUntil(ctx, before)
	if err != nil {
		return 0, err
	}
	begins, err := c.Store.AuditBeginning(ctx)
	if err != nil {
		return 0, err
	}
	if point.Seq > begins.Seq && point.At.Sub(begins.At) >= beginEvery {
		if err := c.begin(ctx, point); err != nil {
			return 0, err
		}
	}
	return c.Store.ForgetAudit(ctx, limit)
}

// begin has the chain begin behind a checkpoint, if that is ours and its link stands: nothing is signed that was exchanged.
func (c *Chainer) begin(ctx context.Context, point Checkpoint) error {
	linked, err := c.Store.AuditLinked(ctx, point.Head)
	if err != nil {
		return err
	}
	if !linked || !point.SignedBy(c.Key.Public().(ed25519.PublicKey)) {
		return errExchanged
	}
	now := c.Now()
	b := point.Head.Begin(c.Key, point.At)
	rec := New(now, "", "system", "audit.shortened", "audit").Noting(fmt.Sprintf("up to link %d, signed %s", point.Seq, point.At.Format(time.DateTime+" UTC")))
	if err := c.Store.BeginAudit(ctx, b, rec); err != nil {
		return err
	}
	c.Log.Info("audit beginning", "link", b.Seq, "hash", b.Hash, "at", b.At.UnixMilli(), "signature", b.Signature)
	return nil
}

// left reports whether a link is one that left by retention.
func (c *Chainer) left(ctx context.Context, h Head) (bool, error) {
	b, err := c.Store.AuditBeginning(ctx)
	return err == nil && h.Seq <= b.Seq && b.SignedBy(c.Key.Public().(ed25519.PublicKey)), err
}

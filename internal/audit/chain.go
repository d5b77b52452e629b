package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// This file owns the chain (T-52): each link carries the hash of the one before, and signed checkpoints say how far it had come.
//
// A record commits with the change that it tells of. Where the database runs one transaction at a time it is linked there and then, where it runs
// several, one chainer links what they left within a second. So what is in the chain cannot be
// changed, removed, moved or repeated unseen, but for the last minute before the next checkpoint: until then whoever can write to the database
// can build the end of the chain anew. Whoever also deletes the checkpoints can build all of it anew: a running chainer signs nothing that does
// not hold what it signed before, but one that starts knows no more than the database. So checkpoints are also logged, and whoever keeps the
// log sees a chain that was cut or exchanged.

// Head is the newest link of a chain; the zero value is that of an empty one.
type Head struct {
	Seq  int64
	Hash string // hex SHA-256
}

// Link is a record in its place.
type Link struct {
	Head
	Record
}

// Next returns the head of the chain with r behind h.
func (h Head) Next(r Record) Head {
	next := Head{Seq: h.Seq + 1}
	b := []byte("countersign audit link 1\x00")
	b = binary.BigEndian.AppendUint64(b, uint64(next.Seq))
	for _, field := range []string{
		h.Hash, r.ID, fmt.Sprint(r.At.UnixMilli()), r.AccountID, r.AppID, r.Actor, r.Action, r.Target, r.Outcome, r.Note,
	} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(field))) // so that no two records read alike
		b = append(b, field...)
	}
	sum := sha256.Sum256(b)
	next.Hash = hex.EncodeToString(sum[:])
	return next
}

// Checkpoint says that the chain had come so far.
type Checkpoint struct {
	Head
	At        time.Time
	Signature string // hex Ed25519
}

func (c Checkpoint) message() []byte {
	return fmt.Appendf(nil, "countersign audit checkpoint 1\n%d\n%s\n%d\n", c.Seq, c.Hash, c.At.UnixMilli())
}

// Sign returns the checkpoint of a head.
func (h Head) Sign(key ed25519.PrivateKey, at time.Time) Checkpoint {
	c := Checkpoint{Head: h, At: time.UnixMilli(at.UnixMilli()).UTC()}
	c.Signature = sign(key, c.message())
	return c
}

// SignedBy reports whether the checkpoint is that key's.
func (c Checkpoint) SignedBy(key ed25519.PublicKey) bool {
	return isSigned(key, c.message(), c.Signature)
}

// sign returns a signature in hex.
func sign(key ed25519.PrivateKey, message []byte) string {
	return hex.EncodeToString(ed25519.Sign(key, message))
}

func isSigned(key ed25519.PublicKey, message []byte, signature string) bool {
	raw, err := hex.DecodeString(signature)
	return err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, raw)
}

// SigningKey makes the checkpoints' key of 32 bytes that whoever reads the database does not know.
func SigningKey(seed []byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed) }

// KeyLabel names the purpose of that seed where it is derived.
const KeyLabel = "audit checkpoints"

// ChainStore is what the chainer needs to keep.
type ChainStore interface {
	// LinkAudit links at most limit records by next, if holder has the lease or can take it until then, and returns the
	// newest link and how many it added. Nothing to link, or another one's lease, is 0.
	LinkAudit(ctx context.Context, holder string, now, until time.Time, limit int, next func(Head, Record) Head) (Head, int, error)
	AuditHead(ctx context.Context) (Head, error)
	// AuditLinked reports whether the link stands in the chain with its hash.
	AuditLinked(ctx context.Context, h Head) (bool, error)
	// AddCheckpoint keeps a checkpoint; one of the same link that is there already stays.
	AddCheckpoint(ctx context.Context, c Checkpoint) error
	retentionStore
}

const (
	linkBatch = 100              // records in one write, so that it never holds up others
	linkLease = 10 * time.Second // how long a process that died keeps others from linking
)

// Chainer links records and signs checkpoints. Any number of processes may run one.
type Chainer struct {
	Store  ChainStore
	Key    ed25519.PrivateKey
	Holder string // unique for this process
	Now    func() time.Time
	Log    *slog.Logger

	mu     sync.Mutex // guards what follows
	newest Head       // that this process ever saw
	signed Head       // of the newest checkpoint it made
}

// Link links what waits.
func (c *Chainer) Link(ctx context.Context) error {
	for {
		now := c.Now()
		head, n, err := c.Store.LinkAudit(ctx, c.Holder, now, now.Add(linkLease), linkBatch, Head.Next)
		if err != nil {
			return err
		}
		if n > 0 {
			c.saw(head)
		}
		if n < linkBatch {
			return nil
		}
	}
}

// endWithin is how long the last checkpoint of a process may take.
const endWithin = 2 * time.Second

// End links for so long what waits, and signs how far the chain has come, at the end of a process. After much load more may wait than there is time for, which is
// no error: it is linked after the next start, or by another process.
func (c *Chainer) End(ctx context.Context, linking time.Duration) error {
	link, cancel := context.WithTimeout(ctx, linking)
	defer cancel()
	err := c.Link(link)
	if err != nil && link.Err() != nil {
		c.Log.Info("audit records are left, which are linked after the next start")
		err = nil
	}
	sign, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	return errors.Join(err, c.Checkpoint(sign))
}

// saw remembers the newest link, and raises the alarm when the chain is shorter than it was.
func (c *Chainer) saw(head Head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if head.Seq < c.newest.Seq {
		c.Log.Error("the audit record was cut: run countersign audit verify", "link", head.Seq, "was", c.newest.Seq)
	}
	c.newest = head
}

// errExchanged says that the chain is not the one that was signed. No more is signed: a signature would make the new one good.
var errExchanged = errors.New("the audit record was exchanged or cut behind a checkpoint, so no more is signed: run countersign audit verify with that checkpoint from the log")

// Checkpoint signs how far the chain has come, if it has come further and still holds what was signed before.
func (c *Chainer) Checkpoint(ctx context.Context) error {
	head, err := c.Store.AuditHead(ctx)
	if err != nil {
		return err
	}
	c.saw(head)
	c.mu.Lock()
	signed := c.signed
	c.mu.Unlock()
	if head == signed {
		return nil
	}
	if signed.Seq > 0 {
		same, err := c.Store.AuditLinked(ctx, signed)
		if err != nil {
			return err
		}
		if !same {
			same, err = c.left(ctx, signed)
			if err != nil {
				return err
			}
		}
		if !same {
			return errExchanged
		}
	}
	point := head.Sign(c.Key, c.Now())
	if err := c.Store.AddCheckpoint(ctx, point); err != nil {
		return err
	}
	c.mu.Lock()
	c.signed = head
	c.mu.Unlock()
	c.Log.Info("audit checkpoint", "link", point.Seq, "hash", point.Hash, "at", point.At.UnixMilli(), "signature", point.Signature)
	return nil
}

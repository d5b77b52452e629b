package audit

import (
	"crypto/ed25519"
	"fmt"
	"iter"
)

// This file owns the verification of a chain: of the database, or of an export without it.

// Item is one part of a chain in its order: its beginning, if some of it left, a link, or a checkpoint behind the link that it covers.
type Item struct {
	Link       *Link
	Checkpoint *Checkpoint
	Beginning  *Beginning
}

// Fault is what is wrong, and where.
type Fault struct {
	Seq  int64  `json:"link"`
	What string `json:"what"`
}

// Report is the outcome of a verification.
type Report struct {
	Links       int64   `json:"links"`
	Checkpoints int64   `json:"checkpoints"`
	Signed      int64   `json:"signed"` // the newest link that a good checkpoint covers
	Left        int64   `json:"left"`   // the newest link that left by retention, as was signed; 0: none did
	Head        string  `json:"head"`   // hash of the newest link
	Faults      []Fault `json:"faults"` // at most maxFaults, in the order in which they were found
}

const maxFaults = 20

func (r *Report) fault(seq int64, format string, args ...any) {
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, Fault{seq, fmt.Sprintf(format, args...)})
	}
}

// Verify checks a whole chain. Kept are checkpoints that were stored elsewhere; a chain that was cut behind the last checkpoint
// of its own is only found with them. An error is one of items.
func Verify(items iter.Seq2[Item, error], key ed25519.PublicKey, kept ...Checkpoint) (Report, error) {
	r := Report{Faults: []Fault{}}
	var last Head // as it stands in the chain
	wanted := map[int64]Checkpoint{}
	for _, c := range kept {
		if !c.SignedBy(key) {
			r.fault(c.Seq, "the checkpoint that was kept elsewhere is not signed by this key")
			continue
		}
		wanted[c.Seq] = c
	}
	for item, err := range items {
		if err != nil {
			return r, err
		}
		if b := item.Beginning; b != nil {
			last = r.begin(last, *b, key, wanted)
		}
		if link := item.Link; link != nil {
			r.Links++
			r.link(last, *link)
			last = link.Head
			if c, ok := wanted[link.Seq]; ok {
				r.checkpoint(last, c, key)
				delete(wanted, link.Seq)
			}
		}
		if c := item.Checkpoint; c != nil {
			r.Checkpoints++
			r.checkpoint(last, *c, key)
		}
	}
	for _, c := range wanted {
		r.fault(c.Seq, "a checkpoint kept elsewhere covers %d links, the chain ends with link %d: its end was cut off", c.Seq, last.Seq)
	}
	r.Head = last.Hash
	return r, nil
}

// begin checks a beginning and returns what the chain goes on from. Checkpoints of links before it cover nothing any more.
func (r *Report) begin(last Head, b Beginning, key ed25519.PublicKey, wanted map[int64]Checkpoint) Head {
	switch {
	case last.Seq > 0:
		r.fault(b.Seq, "a beginning stands behind link %d: one was inserted, or the order was changed", last.Seq)
		return last
	case !b.SignedBy(key):
		r.fault(b.Seq, "the beginning is not signed by this key: links up to here were removed, but not by retention")
		return last
	}
	for seq, c := range wanted {
		if seq == b.Seq && c.Hash != b.Hash {
			r.fault(seq, "the chain up to its beginning is not the one that the checkpoint signed")
		}
		if seq <= b.Seq {
			delete(wanted, seq)
		}
	}
	r.Left, r.Signed = b.Seq, b.Seq
	return b.Head
}

// link checks one link against the one before it.
func (r *Report) link(last Head, link Link) {
	switch {
	case link.Seq == last.Seq:
		r.fault(link.Seq, "the link is there twice")
	case link.Seq < last.Seq:
		r.fault(link.Seq, "the link stands behind link %d: the order was changed, or it was inserted", last.Seq)
	case link.Seq == last.Seq+2:
		r.fault(last.Seq+1, "the link is missing")
	case link.Seq > last.Seq+1:
		r.fault(last.Seq+1, "the links up to %d are missing", link.Seq-1)
	case last.Next(link.Record).Hash != link.Hash:
		r.fault(link.Seq, "the record was changed, or one before it was put in its place (%s of %s)", link.Action, link.Target)
	}
}

// checkpoint checks one that covers the chain up to last.
func (r *Report) checkpoint(last Head, c Checkpoint, key ed25519.PublicKey) {
	switch {
	case !c.SignedBy(key):
		r.fault(c.Seq, "the checkpoint is not signed by this key")
	case c.Seq > last.Seq:
		r.fault(c.Seq, "the checkpoint covers %d links, the chain ends with link %d: its end was cut off", c.Seq, last.Seq)
	case c.Seq < last.Seq:
		r.fault(c.Seq, "the checkpoint stands behind link %d: its own link is missing", last.Seq)
	case c.Hash != last.Hash:
		r.fault(c.Seq, "the chain up to here is not the one that the checkpoint signed")
	default:
		r.Signed = max(r.Signed, c.Seq)
	}
}

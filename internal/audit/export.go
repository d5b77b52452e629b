package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// This file owns the export: JSON, one item a line, in the order of the chain. The first line names the format and the key that signed
// the checkpoints; whoever verifies should have that key from elsewhere.

// exportFormat is the first line's name for what follows.
const exportFormat = "countersign audit 1"

// maxLine bounds one line, in bytes.
const maxLine = 1 << 20

type headerLine struct {
	Format string `json:"format"`
	Key    string `json:"public_key"` // hex Ed25519
	At     int64  `json:"exported_at"`
}

// line is an item as it is written; times are Unix milliseconds.
type line struct {
	Seq        int64  `json:"link"`
	Hash       string `json:"hash"`
	At         int64  `json:"at"`
	Signature  string `json:"signature,omitempty"` // of a checkpoint or beginning; else the fields of a record follow
	ID         string `json:"id,omitempty"`
	Account    string `json:"account,omitempty"`
	App        string `json:"application,omitempty"`
	Actor      string `json:"actor,omitempty"`
	Action     string `json:"action,omitempty"`
	Target     string `json:"target,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	Note       string `json:"note,omitempty"`
	Checkpoint bool   `json:"checkpoint,omitempty"`
	Beginning  bool   `json:"beginning,omitempty"`
}

// Export writes a chain and returns how many links it has.
func Export(w io.Writer, items iter.Seq2[Item, error], key ed25519.PublicKey, now time.Time) (links int64, err error) {
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(headerLine{exportFormat, hex.EncodeToString(key), now.UnixMilli()}); err != nil {
		return 0, err
	}
	for item, err := range items {
		if err != nil {
			return links, err
		}
		var l line
		if b := item.Beginning; b != nil {
			l = line{Seq: b.Seq, Hash: b.Hash, At: b.At.UnixMilli(), Signature: b.Signature, Beginning: true}
		} else if c := item.Checkpoint; c != nil {
			l = line{Seq: c.Seq, Hash: c.Hash, At: c.At.UnixMilli(), Signature: c.Signature, Checkpoint: true}
		} else {
			k := item.Link
			l = line{
				Seq: k.Seq, Hash: k.Hash, At: k.At.UnixMilli(), ID: k.ID, Account: k.AccountID, App: k.AppID,
				Actor: k.Actor, Action: k.Action, Target: k.Target, Outcome: k.Outcome, Note: k.Note,
			}
			links++
		}
		if err := encoder.Encode(l); err != nil {
			return links, err
		}
	}
	return links, out.Flush()
}

// Import reads an export: the key that it names, and its items.
func Import(r io.Reader) (ed25519.PublicKey, iter.Seq2[Item, error], error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	if !lines.Scan() {
		return nil, nil, errors.Join(errors.New("the file is empty: export it again with countersign audit export"), lines.Err())
	}
	var head headerLine
	if err := strict(lines.Bytes(), &head); err != nil || head.Format != exportFormat {
		return nil, nil, errors.New("the file is no audit export: make one with countersign audit export")
	}
	key, err := hex.DecodeString(head.Key)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, nil, errors.New("line 1: the public key is not one")
	}
	return key, func(yield func(Item, error) bool) {
		for n := 2; lines.Scan(); n++ {
			var l line
			if err := strict(lines.Bytes(), &l); err != nil {
				yield(Item{}, fmt.Errorf("line %d: %w", n, err))
				return
			}
			if !yield(l.item(), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Item{}, fmt.Errorf("read the export: %w", err))
		}
	}, nil
}

func (l line) item() Item {
	head, at := Head{l.Seq, l.Hash}, time.UnixMilli(l.At).UTC()
	if l.Beginning {
		return Item{Beginning: &Beginning{Head: head, At: at, Signature: l.Signature}}
	}
	if l.Checkpoint {
		return Item{Checkpoint: &Checkpoint{Head: head, At: at, Signature: l.Signature}}
	}
	return Item{Link: &Link{head, Record{
		ID: l.ID, At: at, AccountID: l.Account, AppID: l.App, Actor: l.Actor, Action: l.Action, Target: l.Target, Outcome: l.Outcome, Note: l.Note,
	}}}
}

// strict reads exactly one JSON value with no field that we do not know.
func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("is not as it was exported: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("is not as it was exported: there is something behind it")
	}
	return nil
}

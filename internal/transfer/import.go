package transfer

import (
	"context"
	"errors"
	"io"
	"strconv"
)

// This file owns carrying a whole file: one goroutine reads and checks while the batch before is being written.

// Progress says how far an import or export is.
type Progress struct {
	Rows    int64 `json:"rows"`
	Added   int64 `json:"added"` // with a dry run: would be
	Same    int64 `json:"same"`  // were there already
	Refused int64 `json:"refused"`
	Bytes   int64 `json:"bytes"` // of the file
}

// batch is what was read of the file since the batch before.
type batch struct {
	rows    []Row
	refused []Refusal
	bytes   int64 // of the file up to here
	err     error // why there are no more; nil: there are
}

// Import reads the whole file. Send takes in a batch of at most size; refuse is told of each row that was not taken, by line within a batch; tell is called after
// each batch.
func Import(ctx context.Context, from *Reader, size int, dry bool, send func([]Row) (Imported, error), refuse func(Refusal) error, tell func(Progress)) (Progress, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	batches := make(chan batch, 1)
	var again *repeats
	if dry {
		again = &repeats{ids: map[int64]bool{}, phones: map[int64]bool{}}
	}
	go from.batches(ctx, size, again, batches)
	var p Progress
	for b := range batches {
		var done Imported
		if len(b.rows) > 0 {
			var err error
			if done, err = send(b.rows); err != nil {
				return p, err
			}
		}
		p.Bytes = b.bytes
		p.Added += done.Added
		p.Same += done.Same
		for _, refused := range [][]Refusal{b.refused, done.Refused} {
			p.Refused += int64(len(refused))
			for _, r := range refused {
				if err := refuse(r); err != nil {
					return p, err
				}
			}
		}
		p.Rows = p.Added + p.Same + p.Refused
		tell(p)
		if b.err != nil && !errors.Is(b.err, io.EOF) {
			return p, b.err
		}
	}
	return p, ctx.Err()
}

// batches reads until the file or ctx ends.
func (d *Reader) batches(ctx context.Context, size int, again *repeats, to chan<- batch) {
	defer close(to)
	for {
		b := batch{rows: make([]Row, 0, size)}
		for b.err == nil && len(b.rows) < size && len(b.refused) < size {
			row, refused, err := d.Next()
			if err == nil && refused == nil {
				refused = again.refuse(row)
			}
			switch {
			case err != nil:
				b.err = err
			case refused != nil:
				b.refused = append(b.refused, *refused)
			default:
				b.rows = append(b.rows, row)
			}
		}
		b.bytes = d.bytes
		select {
		case to <- b:
		case <-ctx.Done():
			return
		}
		if b.err != nil {
			return
		}
	}
}

// repeats finds users that are in the file twice, for a dry run, which the database cannot tell. It needs about 40 bytes of memory for each user.
type repeats struct{ ids, phones map[int64]bool }

func (r *repeats) refuse(row Row) *Refusal {
	if r == nil {
		return nil
	}
	phone, _ := strconv.ParseInt(row.Phone, 10, 64) // a plus and at most 15 digits
	refused := &Refusal{Line: row.Line, AuthyID: row.AuthyID}
	switch {
	case r.ids[row.AuthyID]:
		refused.Code, refused.Reason = "authy-id-taken", "the authy_id is in the file already"
	case r.phones[phone]:
		refused.Code, refused.Reason = "phone-taken", "the phone number is in the file already"
	default:
		r.ids[row.AuthyID], r.phones[phone] = true, true
		return nil
	}
	return refused
}

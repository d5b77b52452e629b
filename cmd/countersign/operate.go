// This file owns the commands for keeping an installation well: `keys list`, `keys rotate`, `keys rotate-master`, `backup`, `restore` and
// `audit`. All but restore open the database beside a running serve, SQLite too; package claim says why they may.

package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/claim"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/store"
)

// openDatabase opens the database of an installation that is there already, beside the process that may be serving it.
func openDatabase(ctx context.Context, s *settings.Storage) (*store.Store, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if !s.Database.Postgres() {
		if _, err := os.Stat(string(s.Database)); err != nil {
			return nil, fmt.Errorf("there is no database %s (%w): name the one that serve uses with --data or --database", s.Database, err)
		}
	}
	db, err := store.Open(ctx, store.Config{URL: string(s.Database), Beside: true})
	if err != nil {
		return nil, fmt.Errorf("cannot use the database %s: %w", s.Database, err)
	}
	return db, nil
}

// withDatabase opens the database, does what do does, and closes it.
func withDatabase(ctx context.Context, s *settings.Storage, do func(*store.Store) error) error {
	db, err := openDatabase(ctx, s)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

// openRing opens the data keys of an installation that is there already.
func openRing(ctx context.Context, db *store.Store, s *settings.Storage) (*seal.Ring, error) {
	stored, err := db.StoredKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the data keys: %w", err)
	}
	return seal.Open(s.MasterKey, stored, s.FormerMasters()...)
}

type keysList struct {
	settings.Storage
	JSON bool `name:"json" help:"Print JSON."`
}

// keyView is what is told of a data key.
type keyView struct {
	ID      uint32     `json:"id"`
	Purpose string     `json:"purpose"`
	Made    time.Time  `json:"created_at"`
	Retired *time.Time `json:"retired_at,omitempty"`
}

func (c *keysList) Run(ctx context.Context, out *output) error {
	return withDatabase(ctx, &c.Storage, func(db *store.Store) error {
		keys, err := db.StoredKeys(ctx)
		if err != nil {
			return err
		}
		views := []keyView{}
		for _, k := range keys {
			v := keyView{ID: k.ID, Purpose: k.Purpose, Made: k.CreatedAt}
			if !k.RetiredAt.IsZero() {
				v.Retired = &k.RetiredAt
			}
			views = append(views, v)
		}
		if c.JSON {
			return out.json(views)
		}
		table := tabwriter.NewWriter(out.Out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(table, "KEY\tPURPOSE\tMADE\tRETIRED")
		for _, v := range views {
			retired := "in use"
			if v.Retired != nil {
				retired = v.Retired.Format(time.RFC3339)
			}
			fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", v.ID, v.Purpose, v.Made.Format(time.RFC3339), retired)
		}
		return table.Flush()
	})
}

type keysRotate struct {
	settings.Storage
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is printed by keys rotate --help.
func (*keysRotate) Help() string {
	return `A new data key is made, every secret in the database is sealed again under it, and the former key is retired. Servers go on meanwhile and
learn of the new key by themselves. What was interrupted goes on when the command is run again. A retired key stays in the database for a
day and leaves with the first rotation after that.`
}

func (c *keysRotate) Run(ctx context.Context, out *output) error {
	return withDatabase(ctx, &c.Storage, func(db *store.Store) error {
		r := seal.Rotation{Store: db, Master: c.MasterKey, Former: c.FormerMasters(), Now: time.Now, Wait: wait}
		var said time.Time
		r.Progress = func(p seal.Progress) {
			if now := time.Now(); !c.JSON && (p.Waiting || now.Sub(said) > time.Second) {
				said = now
				what := p.Column
				if p.Waiting {
					what = "waiting for servers to learn of the new key"
				}
				fmt.Fprintf(out.Err, "pass %d: %d values looked at, %d sealed again; %s\n", p.Pass, p.Looked, p.Resealed, what)
			}
		}
		p, err := r.DataKey(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return out.json(p)
		}
		_, err = fmt.Fprintf(out.Out, "Everything is sealed under data key %d: %d values were sealed again. The former key is retired.\n", p.Key, p.Resealed)
		return err
	})
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type keysRotateMaster struct {
	settings.Storage
	File string `arg:"" help:"The file with the new master key, made with: countersign keys new FILE"`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help is printed by keys rotate-master --help.
func (*keysRotateMaster) Help() string {
	return `1. countersign keys new NEW
2. restart every serve with --master-key-file NEW and --former-master-key-file OLD
3. countersign keys rotate-master NEW     (with the same two settings)
4. restart every serve with --master-key-file NEW alone, and destroy OLD when no backup needs it any more`
}

func (c *keysRotateMaster) Run(ctx context.Context, out *output) error {
	fresh, err := settings.ReadKey(c.File)
	if err != nil {
		return err
	}
	return withDatabase(ctx, &c.Storage, func(db *store.Store) error {
		r := seal.Rotation{Store: db, Master: c.MasterKey, Former: c.FormerMasters(), Now: time.Now}
		n, err := r.MasterKey(ctx, fresh)
		if err != nil {
			return err
		}
		if c.JSON {
			return out.json(map[string]int{"keys": n})
		}
		_, err = fmt.Fprintf(out.Out, "%d data keys are wrapped by the key in %s. Backups made until now still need the old one.\n", n, c.File)
		return err
	})
}

// backupCmd is `countersign backup`.
type backupCmd struct {
	settings.Storage
	File string `arg:"" help:"The file to make. One that is there is never touched."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help is printed by backup --help.
func (*backupCmd) Help() string {
	return `The copy of an SQLite database is complete and consistent while serve goes on. The master key is not in it: keep a copy of the key
elsewhere, because without it the backup cannot be used, and with it whoever has the backup can read every secret. PostgreSQL brings its
own tools: pg_dump and pg_restore.`
}

func (c *backupCmd) Run(ctx context.Context, out *output) error {
	if err := c.Given(); err != nil {
		return err
	}
	if c.Database.Postgres() {
		return errors.New("this database is PostgreSQL: back it up with pg_dump --format=custom, and restore it with pg_restore")
	}
	b, err := store.Backup(ctx, string(c.Database), c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(b)
	}
	_, err = fmt.Fprintf(out.Out, "Made %s: %d bytes, schema version %d, checked. The master key is not in it; keep a copy of the key elsewhere.\n", b.File, b.Bytes, b.Version)
	return err
}

// restoreCmd is `countersign restore`.
type restoreCmd struct {
	settings.Storage
	File string `arg:"" help:"The backup."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help is printed by restore --help.
func (*restoreCmd) Help() string {
	return `The backup is checked first: that it is whole, that this program knows its version, and that the master key opens it. A database that is
there already is never overwritten: move it away, and serve must not run.`
}

func (c *restoreCmd) Run(ctx context.Context, out *output) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Database.Postgres() {
		return errors.New("this database is PostgreSQL: restore it with pg_restore")
	}
	if err := os.MkdirAll(c.Folder(), 0o700); err != nil {
		return err
	}
	own, err := claim.Folder(c.Folder())
	if err != nil {
		return fmt.Errorf("the database's folder %w: stop serve first", err)
	}
	b, err := store.Restore(ctx, c.File, string(c.Database), func(keys []seal.StoredKey) error {
		_, err := seal.Open(c.MasterKey, keys, c.FormerMasters()...)
		return err
	})
	if err = errors.Join(err, own.Close()); err != nil {
		return err
	}
	if c.JSON {
		return out.json(b)
	}
	_, err = fmt.Fprintf(out.Out, "Restored %s: %d bytes, schema version %d. Start serve.\n", b.File, b.Bytes, b.Version)
	return err
}

// auditCmd is `countersign audit`.
type auditCmd struct {
	Verify auditVerify `cmd:"" help:"Verify the chain of the audit record, in the database or in an export."`
	Export auditExport `cmd:"" help:"Write the chained audit record to a file, or to standard output with -."`
}

type auditVerify struct {
	settings.Storage
	File       string   `arg:"" optional:"" help:"An export. Without it the database is verified."`
	PublicKey  string   `name:"public-key" placeholder:"HEX" help:"The key that signed the checkpoints, when an export is verified; audit export prints it. An export's own word for it proves little."`
	Checkpoint []string `placeholder:"LINK:HASH:AT:SIGNATURE" help:"A checkpoint that was kept elsewhere, for example in the log. Finds a chain whose end was cut off together with its checkpoints."`
	JSON       bool     `name:"json" help:"Print JSON."`
}

func (c *auditVerify) Run(ctx context.Context, out *output) error {
	kept, err := c.kept()
	if err != nil {
		return err
	}
	if c.File != "" {
		return c.offline(out, kept)
	}
	return withDatabase(ctx, &c.Storage, func(db *store.Store) error {
		ring, err := openRing(ctx, db, &c.Storage)
		if err != nil {
			return err
		}
		report, err := audit.Verify(db.AuditChain(ctx), publicKey(ring), kept...)
		if err != nil {
			return err
		}
		return c.print(out, report)
	})
}

func publicKey(ring *seal.Ring) ed25519.PublicKey {
	return audit.SigningKey(ring.Derive(audit.KeyLabel)).Public().(ed25519.PublicKey)
}

func (c *auditVerify) offline(out *output, kept []audit.Checkpoint) error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	key, items, err := audit.Import(file)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.PublicKey == "" {
		fmt.Fprintln(out.Err, "countersign: the key that checkpoints are checked with is the export's own word: give the one you know with --public-key")
	} else if key, err = hex.DecodeString(c.PublicKey); err != nil || len(key) != ed25519.PublicKeySize {
		return errors.New("--public-key is not one: it has 64 hex digits, and audit export prints it")
	}
	report, err := audit.Verify(items, key, kept...)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	return c.print(out, report)
}

// kept reads the checkpoints that were given.
func (c *auditVerify) kept() (kept []audit.Checkpoint, err error) {
	for _, text := range c.Checkpoint {
		var p audit.Checkpoint
		var at int64
		parts := strings.Split(text, ":")
		if len(parts) == 4 {
			_, err1 := fmt.Sscan(parts[0], &p.Seq)
			_, err2 := fmt.Sscan(parts[2], &at)
			p.Hash, p.At, p.Signature = parts[1], time.UnixMilli(at), parts[3]
			err = errors.Join(err1, err2)
		}
		if len(parts) != 4 || err != nil {
			return nil, fmt.Errorf("--checkpoint %q is not one: write LINK:HASH:AT:SIGNATURE as the log has them", text)
		}
		kept = append(kept, p)
	}
	return kept, nil
}

func (c *auditVerify) print(out *output, r audit.Report) error {
	if c.JSON {
		if err := out.json(r); err != nil {
			return err
		}
	} else {
		for _, f := range r.Faults {
			fmt.Fprintf(out.Out, "link %d: %s\n", f.Seq, f.What)
		}
		fmt.Fprintf(out.Out, "%d links, %d checkpoints, signed up to link %d.\n", r.Links, r.Checkpoints, r.Signed)
		if r.Left > 0 {
			fmt.Fprintf(out.Out, "The record begins behind link %d: what was before left by retain-audit, as was signed. Earlier exports have it.\n", r.Left)
		}
		if r.Signed == 0 && r.Links > 0 {
			fmt.Fprintln(out.Out, "No checkpoint covers any of them: a server that runs signs one each minute. If it did, they were removed.")
		}
	}
	if len(r.Faults) > 0 {
		return errors.New("the audit record is not as it was written: keep a copy of the database as it is, and find out who could change it")
	}
	return nil
}

type auditExport struct {
	settings.Storage
	File string `arg:"" help:"The file to make, or - for standard output."`
	JSON bool   `name:"json" help:"Print what was exported as JSON."`
}

func (c *auditExport) Run(ctx context.Context, out *output) error {
	return withDatabase(ctx, &c.Storage, func(db *store.Store) error {
		ring, err := openRing(ctx, db, &c.Storage)
		if err != nil {
			return err
		}
		to, end := out.Out, func() error { return nil }
		if c.File != "-" {
			file, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			to, end = io.Writer(file), file.Close
		}
		key := publicKey(ring)
		n, err := audit.Export(to, db.AuditChain(ctx), key, time.Now())
		if err = errors.Join(err, end()); err != nil || c.File == "-" {
			return err
		}
		if c.JSON {
			return out.json(map[string]any{"file": c.File, "links": n, "public_key": hex.EncodeToString(key)})
		}
		_, err = fmt.Fprintf(out.Out, "Made %s: %d links. Verify it with: countersign audit verify %s --public-key %x\n", c.File, n, c.File, []byte(key))
		return err
	})
}

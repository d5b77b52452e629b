package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// This file owns copying a whole database to another one, of either engine. It knows no table: the migrations, run on a
// database in memory, tell what there is. How far the copy is stands in a table of the target, written with the rows it tells
// of, so that a copy that was killed goes on where it stopped; while that table is there no store opens the target.

// Progress tells how far a copy is.
type Progress struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"` // copied, or compared
	Of    int64  `json:"of"`   // in the source
	Check bool   `json:"check,omitempty"`
}

// Copied is a table that is the same in both databases.
type Copied struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"` // over all rows, whatever their order
}

// ErrHalfCopied says that the database is the target of a copy that did not end.
var ErrHalfCopied = errors.New("the database is an unfinished copy: run the same countersign copy again, and it goes on where it stopped")

const (
	copyState  = "copy_state" // table name → the last key copied
	copyRows   = 500          // in one transaction
	copyValues = 30_000       // in one INSERT: SQLite takes 32,766
)

// Copy copies every row of one database into another that is empty, or that an earlier Copy of the same source was not
// finished with, and compares both at the end. Nobody may use either meanwhile.
func Copy(ctx context.Context, from, to string, tell func(Progress)) (_ []Copied, err error) {
	source, err := openSource(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("copy from: %w", err)
	}
	defer source.Close()
	target, err := openTarget(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("copy to: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	schema, err := readSchema(ctx)
	if err != nil {
		return nil, err
	}
	c := &copying{source: source, target: target, schema: schema, tell: tell}
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	for _, t := range schema {
		if err := c.copy(ctx, t); err != nil {
			return nil, fmt.Errorf("copy %s: %w", t.name, err)
		}
	}
	copied, err := c.compare(ctx)
	if err != nil {
		return nil, err
	}
	_, err = target.ExecContext(ctx, `DROP TABLE `+copyState)
	return copied, err
}

// side is one of the two databases.
type side struct {
	*sql.DB
	postgres bool
}

// Close also folds SQLite's log into its file.
func (s *side) Close() error {
	if s.postgres {
		return s.DB.Close()
	}
	var busy, pages, folded int
	fold := s.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &folded)
	return errors.Join(fold, s.DB.Close())
}

func openSource(ctx context.Context, url string) (*side, error) {
	s, err := openSide(url)
	if err != nil {
		return nil, err
	}
	if !s.postgres {
		if _, err := os.Stat(url); err != nil {
			return nil, errors.Join(err, s.DB.Close())
		}
	}
	if err := s.usable(ctx); err != nil {
		return nil, errors.Join(err, s.DB.Close())
	}
	return s, nil
}

// openTarget creates what is not there yet.
func openTarget(ctx context.Context, url string) (*side, error) {
	if err := Migrate(ctx, url); err != nil && !errors.Is(err, ErrHalfCopied) {
		return nil, err
	}
	return openSide(url)
}

func openSide(url string) (*side, error) {
	postgres, err := isPostgres(url)
	if err != nil {
		return nil, err
	}
	if !postgres {
		dsn, err := sqliteAddress(url)
		if err != nil {
			return nil, err
		}
		db, err := sql.Open("sqlite", dsn+writing)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		return &side{DB: db}, nil
	}
	cfg, err := postgresConfig(url)
	if err != nil {
		return nil, err
	}
	return &side{stdlib.OpenDB(*cfg.ConnConfig), true}, nil
}

// has reports whether there is a table of that name.
func (s *side) has(ctx context.Context, table string) (there bool, err error) {
	q := `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = $1)`
	if s.postgres {
		q = `SELECT to_regclass($1) IS NOT NULL`
	}
	return there, s.QueryRowContext(ctx, q, table).Scan(&there)
}

// filled reports whether a table has a row.
func (s *side) filled(ctx context.Context, table string) (filled bool, err error) {
	return filled, s.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM `+table+`)`).Scan(&filled)
}

// tableSchema is a table as the migrations make it.
type tableSchema struct {
	name         string
	columns, key []string // key: the columns of the primary key
	bytes        []string // columns of bytes that are never NULL
	refers       []string // tables that must be filled before
}

func (t tableSchema) list() string { return strings.Join(t.columns, ", ") }

// readSchema returns all tables, those first that others refer to.
func readSchema(ctx context.Context) ([]tableSchema, error) {
	db, err := sql.Open("sqlite", "file::memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection has a memory of its own
	if err := migrate(ctx, goose.DialectSQLite3, db); err != nil {
		return nil, err
	}
	names, err := texts(db.QueryContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version' ORDER BY name`))
	if err != nil {
		return nil, err
	}
	var left []tableSchema
	for _, name := range names {
		t := tableSchema{name: name}
		if t.columns, err = texts(db.QueryContext(ctx, `SELECT name FROM pragma_table_info($1) ORDER BY cid`, name)); err != nil {
			return nil, err
		}
		if t.key, err = texts(db.QueryContext(ctx, `SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk`, name)); err != nil {
			return nil, err
		}
		if t.bytes, err = texts(db.QueryContext(ctx, `SELECT name FROM pragma_table_info($1) WHERE type = 'BYTEA' AND "notnull" = 1`, name)); err != nil {
			return nil, err
		}
		if t.refers, err = texts(db.QueryContext(ctx, `SELECT "table" FROM pragma_foreign_key_list($1)`, name)); err != nil {
			return nil, err
		}
		if len(t.key) == 0 {
			return nil, fmt.Errorf("the table %s has no primary key, so it cannot be copied", name)
		}
		left = append(left, t)
	}
	return inOrder(left)
}

func inOrder(left []tableSchema) (ordered []tableSchema, err error) {
	done := map[string]bool{}
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(t tableSchema) bool {
			return !slices.ContainsFunc(t.refers, func(other string) bool { return other != t.name && !done[other] })
		})
		if i < 0 {
			return nil, fmt.Errorf("tables refer to each other in a circle: %s and others", left[0].name)
		}
		done[left[i].name] = true
		ordered = append(ordered, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return ordered, nil
}

func texts(r *sql.Rows, err error) ([]string, error) {
	found, err := result(r, err)
	return collect(found, err, scanText)
}

type copying struct {
	source, target *side
	schema         []tableSchema
	tell           func(Progress)
}

// begin makes the target's table of what is done, or finds that of an earlier copy of the same source.
func (c *copying) begin(ctx context.Context) error {
	fingerprint, err := c.fingerprint(ctx)
	if err != nil {
		return err
	}
	began, err := c.target.has(ctx, copyState)
	if err != nil {
		return err
	}
	if began {
		var earlier string
		if err := c.target.QueryRowContext(ctx, `SELECT last FROM `+copyState+` WHERE name = ''`).Scan(&earlier); err != nil {
			return err
		}
		if earlier != fingerprint {
			return errors.New("the target is an unfinished copy of another database: copy from that one, or name an empty database (or a new file)")
		}
		return nil
	}
	for _, t := range c.schema {
		filled, err := c.target.filled(ctx, t.name)
		if err != nil {
			return err
		}
		if filled {
			return fmt.Errorf("the target holds data already (in %s), which a copy would mix with the source's: name an empty database or a new file", t.name)
		}
	}
	tx, err := c.target.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE `+copyState+` (name TEXT PRIMARY KEY, last TEXT NOT NULL)`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO `+copyState+` (name, last) VALUES ('', $1)`, fingerprint); err != nil {
		return err
	}
	return tx.Commit()
}

// fingerprint tells one deployment's database from another's: by its accounts and the keys that it began with.
func (c *copying) fingerprint(ctx context.Context) (string, error) {
	ids, err := texts(c.source.QueryContext(ctx, `SELECT id FROM accounts ORDER BY created_at, id LIMIT 1`))
	if err != nil {
		return "", err
	}
	var made sql.NullInt64
	err = c.source.QueryRowContext(ctx, `SELECT MIN(created_at) FROM seal_keys`).Scan(&made)
	return fmt.Sprint(ids, made.Int64), err
}

// copy copies what is left of a table, a bounded number of rows in each transaction.
func (c *copying) copy(ctx context.Context, t tableSchema) error {
	p := Progress{Table: t.name}
	if err := c.source.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+t.name).Scan(&p.Of); err != nil {
		return err
	}
	if err := c.target.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+t.name).Scan(&p.Rows); err != nil {
		return err
	}
	last, err := c.last(ctx, t)
	if err != nil {
		return err
	}
	for {
		rows, err := c.read(ctx, t, last)
		if err != nil || len(rows) == 0 {
			return err
		}
		if last, err = c.insert(ctx, t, rows); err != nil {
			return err
		}
		p.Rows += int64(len(rows))
		c.tell(p)
	}
}

// last returns the key of the last row copied, nil at the beginning.
func (c *copying) last(ctx context.Context, t tableSchema) (key []any, err error) {
	var text string
	err = c.target.QueryRowContext(ctx, `SELECT last FROM `+copyState+` WHERE name = $1`, t.name).Scan(&text)
	if err != nil {
		return nil, missing(err, nil)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber() // ids do not fit into a float
	if err := decoder.Decode(&key); err != nil {
		return nil, fmt.Errorf("read how far the copy was: %w", err)
	}
	for i, v := range key {
		if number, ok := v.(json.Number); ok {
			if key[i], err = number.Int64(); err != nil {
				return nil, err
			}
		}
	}
	return key, nil
}

// read returns the next rows behind a key, in the source's order.
func (c *copying) read(ctx context.Context, t tableSchema, after []any) ([][]any, error) {
	key := strings.Join(t.key, ", ")
	where := ""
	if after != nil {
		where = ` WHERE (` + key + `) > (` + c.source.places(1, len(after)) + `)`
	}
	limit := min(copyRows, copyValues/len(t.columns))
	return c.source.rows(ctx, t, `SELECT `+t.list()+` FROM `+t.name+where+` ORDER BY `+key+fmt.Sprint(` LIMIT `, limit), after...)
}

func (s *side) rows(ctx context.Context, t tableSchema, q string, args ...any) ([][]any, error) {
	found, err := result(s.QueryContext(ctx, q, args...))
	return collect(found, err, t.scan)
}

func (t tableSchema) scan(r scanner) ([]any, error) {
	row, into := make([]any, len(t.columns)), make([]any, len(t.columns))
	for i := range row {
		into[i] = &row[i]
	}
	err := r.Scan(into...)
	for i, v := range row {
		if b, ok := v.([]byte); ok && len(b) == 0 || v == nil { // SQLite's driver makes no difference between nothing and no bytes
			if row[i] = nil; slices.Contains(t.bytes, t.columns[i]) {
				row[i] = []byte{}
			}
		}
	}
	return row, err
}

// insert keeps rows, and that they are kept, in one transaction, and returns the last one's key.
func (c *copying) insert(ctx context.Context, t tableSchema, rows [][]any) (last []any, err error) {
	tx, err := c.target.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	tuples, args := make([]string, len(rows)), make([]any, 0, len(rows)*len(t.columns))
	for i, row := range rows {
		tuples[i] = `(` + c.target.places(len(args)+1, len(row)) + `)`
		args = append(args, row...)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO `+t.name+` (`+t.list()+`) VALUES `+strings.Join(tuples, ", "), args...); err != nil {
		return nil, err
	}
	for _, name := range t.key {
		last = append(last, rows[len(rows)-1][slices.Index(t.columns, name)])
	}
	text, err := json.Marshal(last)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO `+copyState+` (name, last) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET last = $2`, t.name, string(text)); err != nil {
		return nil, err
	}
	return last, tx.Commit()
}

// places returns n placeholders. SQLite takes $1 for a name, and looks each name up among all before it: with thousands, that takes longer than
// anything else. A bare ? has none.
func (s *side) places(first, n int) string {
	p := make([]string, n)
	for i := range p {
		if p[i] = "?"; s.postgres {
			p[i] = fmt.Sprint("$", first+i)
		}
	}
	return strings.Join(p, ", ")
}

// compare reads both databases whole.
func (c *copying) compare(ctx context.Context) ([]Copied, error) {
	var all []Copied
	for _, t := range c.schema {
		var of int64
		if err := c.source.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+t.name).Scan(&of); err != nil {
			return nil, err
		}
		want, err := c.source.sum(ctx, t, func(n int64) { c.tell(Progress{t.name, n, of, true}) })
		if err != nil {
			return nil, fmt.Errorf("read %s again: %w", t.name, err)
		}
		got, err := c.target.sum(ctx, t, func(int64) {})
		if err != nil {
			return nil, fmt.Errorf("read %s of the target: %w", t.name, err)
		}
		if got != want {
			return nil, fmt.Errorf("%s differs: %d rows with the digest %s in the source, %d with %s in the target. Was the source or the target in use? Stop every server and copy again into an empty database",
				t.name, want.Rows, want.Digest, got.Rows, got.Digest)
		}
		all = append(all, want)
	}
	return all, nil
}

// sum counts and digests a table's rows. The two engines sort text differently, so the rows' own digests are added up.
func (s *side) sum(ctx context.Context, t tableSchema, tell func(rows int64)) (Copied, error) {
	found, err := s.QueryContext(ctx, `SELECT `+t.list()+` FROM `+t.name)
	if err != nil {
		return Copied{}, err
	}
	defer found.Close()
	var sum [sha256.Size / 8]uint64
	c := Copied{Table: t.name}
	for found.Next() {
		row, err := t.scan(found)
		if err != nil {
			return c, err
		}
		digest := sha256.Sum256(rowBytes(row))
		for i := range sum {
			sum[i] += binary.BigEndian.Uint64(digest[8*i:])
		}
		if c.Rows++; c.Rows%10_000 == 0 {
			tell(c.Rows)
		}
	}
	if c.Rows > 0 {
		tell(c.Rows)
	}
	var all []byte
	for _, part := range sum {
		all = binary.BigEndian.AppendUint64(all, part)
	}
	c.Digest = hex.EncodeToString(all)
	return c, found.Err()
}

// rowBytes writes a row so that different rows have different bytes.
func rowBytes(row []any) (b []byte) {
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
		case string:
			b = append(binary.BigEndian.AppendUint64(append(b, 't'), uint64(len(v))), v...)
		case []byte:
			b = append(binary.BigEndian.AppendUint64(append(b, 'b'), uint64(len(v))), v...)
		default:
			b = fmt.Appendf(append(b, '?'), "%T %v", v, v)
		}
	}
	return b
}

// result keeps a nil *sql.Rows from becoming rows that are not nil.
func result(r *sql.Rows, err error) (rows, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

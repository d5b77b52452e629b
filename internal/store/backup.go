package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"countersign.dev/internal/seal"
)

// This file owns backups of SQLite databases, and what is checked before one is restored.

// Archive is a database that was copied whole.
type Archive struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Version int64  `json:"schema_version"`
}

// Backup copies the SQLite database at path, which may be in use, into the new file at to. What was committed when it began is in the copy, and
// nothing of what came later.
func Backup(ctx context.Context, path, to string) (Archive, error) {
	if _, err := os.Stat(path); err != nil {
		return Archive{}, fmt.Errorf("there is no database %s: %w", path, err)
	}
	return place(to, func(part string) (Archive, error) {
		address, err := sqliteAddress(path)
		if err != nil {
			return Archive{}, err
		}
		db, err := sql.Open("sqlite", address+"&_pragma=query_only(0)")
		if err != nil {
			return Archive{}, err
		}
		_, err = db.ExecContext(ctx, `VACUUM INTO $1`, part)
		if err = errors.Join(err, db.Close()); err != nil {
			return Archive{}, fmt.Errorf("copy the database: %w", err)
		}
		c, _, err := examine(ctx, part)
		return c, err
	})
}

// Restore copies a backup to the new database at to, after the backup was found whole and opens accepts its keys.
func Restore(ctx context.Context, backup, to string, opens func([]seal.StoredKey) error) (Archive, error) {
	if _, err := os.Stat(backup); err != nil {
		return Archive{}, fmt.Errorf("there is no backup %s: %w", backup, err)
	}
	for _, rest := range []string{to + "-wal", to + "-shm"} {
		if _, err := os.Stat(rest); err == nil {
			return Archive{}, fmt.Errorf("%s belongs to another database: move it away together with that", rest)
		}
	}
	return place(to, func(part string) (Archive, error) {
		if err := copyFile(backup, part); err != nil {
			return Archive{}, err
		}
		c, keys, err := examine(ctx, part)
		if err != nil {
			return Archive{}, fmt.Errorf("%s cannot be restored: %w", backup, err)
		}
		return c, opens(keys)
	})
}

// place has make fill a new file that only its owner can read, and gives it its name when it is whole and on the disk.
func place(to string, make func(part string) (Archive, error)) (c Archive, err error) {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("%s is there already: move it away, or choose another name", to)
	}
	file, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part-*") // with mode 0600
	if err != nil {
		return c, err
	}
	part := file.Name()
	defer func() {
		for _, rest := range []string{part, part + "-wal", part + "-shm"} {
			if e := os.Remove(rest); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	if c, err = make(part); err != nil {
		return c, errors.Join(err, file.Close())
	}
	info, err := os.Stat(part)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return c, err
	}
	c.File, c.Bytes = to, info.Size()
	if err := os.Link(part, to); err != nil { // unlike a rename it never replaces what somebody put there meanwhile
		return c, err
	}
	return c, syncFolder(filepath.Dir(to))
}

// copyFile fills the file at to with what is in the one at from.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// syncFolder makes a new name durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// examine checks that a file is a whole database that this program knows, and returns its keys.
func examine(ctx context.Context, path string) (c Archive, keys []seal.StoredKey, err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return c, nil, err
	}
	db, err := sql.Open("sqlite", "file:"+abs+"?_pragma=query_only(1)")
	if err != nil {
		return c, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return c, nil, fmt.Errorf("it is not a database, or not whole: %w", err)
	}
	if verdict != "ok" {
		return c, nil, fmt.Errorf("it is damaged: %s", verdict)
	}
	if err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&c.Version); err != nil {
		return c, nil, fmt.Errorf("it is no database of countersign: %w", err)
	}
	if c.Version > newestVersion() {
		return c, nil, ErrNewer
	}
	rows, err := db.QueryContext(ctx, `SELECT id, purpose, wrapped FROM seal_keys ORDER BY id`) // as every version has them
	if err != nil {
		return c, nil, err
	}
	keys, err = collect(rows, nil, func(r scanner) (k seal.StoredKey, err error) { return k, r.Scan(&k.ID, &k.Purpose, &k.Wrapped) })
	return c, keys, err
}

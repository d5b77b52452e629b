// Package claim owns that one process at a time uses a folder: the one that serves the SQLite database in it.
//
// This is the rule for every command, while serve may be running on the database's folder:
//
//   - Whoever makes, moves or replaces the database, or changes its schema, takes the folder first, and is refused while another has it:
//     serve, dev, migrate up, copy, restore.
//   - Whoever changes what the serving process keeps in mind or must tell others of (applications, callbacks, API and push keys, operators)
//     takes the folder too; when another process has it, that one is asked to do it, over the socket of package admin.
//   - Whoever only reads (backup, doctor, audit, keys list), and the exchange of keys, opens the file beside the serving process, with
//     store.Config.Beside. SQLite lets several processes take turns; such a command never changes the schema, does none of what a process
//     does that has just started, and holds the database for moments. The exchange of keys is made for any number of writers: every
//     statement of it changes only what still is as it was read, and servers read the keys again by themselves.
//
// PostgreSQL is for any number of processes: there nobody takes anything.
package claim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrTaken says that another process has the folder.
var ErrTaken = errors.New("in use by another countersign")

// fileLock is the name of the lock in the folder.
const fileLock = "lock"

// Claim is a folder that this process has for itself.
type Claim struct{ lock *os.File }

// Folder makes the folder when it is not there, and takes it, or reports ErrTaken. Errors begin with the folder's name.
func Folder(dir string) (*Claim, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%s cannot be made (%w)", dir, reasonOf(err))
	}
	lock, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be written (%w)", dir, reasonOf(err))
	}
	if err := lockFile(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is %w", dir, ErrTaken)
	}
	return &Claim{lock}, nil
}

// Close gives the folder back; nil has none. The claim ends with the process in any case.
func (c *Claim) Close() error {
	if c == nil {
		return nil
	}
	return c.lock.Close()
}

// reasonOf drops the path that os errors repeat.
func reasonOf(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

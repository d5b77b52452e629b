// This file opens what tests need to see.

package login

// ReadPhone is readPhone.
var ReadPhone = readPhone

// Patterns is every page of the application beside the guard's own.
func (a *App) Patterns() (patterns []string) {
	for _, r := range a.pageRoutes() {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}

// Exec changes the database as nobody does but a test.
func (a *App) Exec(query string, args ...any) error {
	_, err := a.users.db.Exec(query, args...)
	return err
}

// CutOff is how many resets are noted as begun.
func (a *App) CutOff() (n int, err error) {
	err = a.users.db.QueryRow(`SELECT count(*) FROM restarts`).Scan(&n)
	return n, err
}

// PasswordLinks is how many links by mail are kept.
func (a *App) PasswordLinks() (n int, err error) {
	return n, a.users.db.QueryRow(`SELECT count(*) FROM links`).Scan(&n)
}

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

// PasswordLinks is how many links by mail are kept.
func (a *App) PasswordLinks() (n int, err error) {
	return n, a.users.db.QueryRow(`SELECT count(*) FROM links`).Scan(&n)
}

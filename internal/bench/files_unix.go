//go:build unix

package bench

import "syscall"

// fileLimit is how many files a process may have open; 0: not known. The Go runtime raises the soft limit to the hard one by itself.
func fileLimit() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Max, 1<<20))
}

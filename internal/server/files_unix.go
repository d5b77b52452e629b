//go:build unix

package server

import "syscall"

// openFiles returns how many files and connections this process may have open; 0 when that is not known.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<31-1))
}

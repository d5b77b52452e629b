//go:build !linux

package bench

import "syscall"

// dependent needs Linux to have a child process end when this one is killed; elsewhere it ends when this one is interrupted.
func dependent() *syscall.SysProcAttr { return nil }

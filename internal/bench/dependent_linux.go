package bench

import "syscall"

// dependent has a child process end when this one does, however it ends.
func dependent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

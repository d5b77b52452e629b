package web

import (
	"net"
	"syscall"
	"time"
)

// unacknowledged is how long what was sent may stay without a word from the other side; by itself Linux waits a quarter of an hour. A phone
// that lost its network is then woken by a push message instead.
const unacknowledged = time.Minute

const tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT (RFC 5482), which package syscall does not name

// giveUp has the kernel end a connection whose other side is silent.
func giveUp(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unacknowledged.Milliseconds()))
	})
}

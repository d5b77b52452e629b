package serve

import (
	"fmt"
	"net"
	"os"
)

// This file owns what systemd is told (sd_notify).

// notify sends the state to the service manager, when there is one that asked for it.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // a name with @ in front is Linux's abstract one, here as there
	if err == nil {
		_, err = conn.Write([]byte(state))
		conn.Close()
	}
	if err != nil {
		return fmt.Errorf("tell systemd %s: %w", state, err)
	}
	return nil
}

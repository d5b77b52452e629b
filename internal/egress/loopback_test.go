package egress

import "testing"

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.1": true, "127.255.255.255": true, "::1": true, "0:0:0:0:0:0:0:1": true,
		"::ffff:127.0.0.1": true, "::ffff:7f00:1": true,

		"": false, "0.0.0.0": false, "::": false, "128.0.0.1": false, "10.0.0.1": false, "::2": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false,
		"fe80::1": false, "169.254.169.254": false,

		"localhost:8302": false, "127.0.0.1:8302": false, "[::1]:8302": false, "[::1]": false, // callers take the port off
		"LOCALHOST": false, "Localhost": false, // and fold where case does not matter
		"localhost.": false, ".localhost": false, "app.localhost": false, "localhost.evil.example": false, "notlocalhost": false, "127.0.0.1.evil.example": false,
		"localhost ": false, " 127.0.0.1": false, "localhost\x00": false, "::1%lo": false, "::1%": false,
		"127.1": false, "127": false, "2130706433": false, "0x7f000001": false, "0177.0.0.1": false, "127.000.000.001": false, // what some resolvers take
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

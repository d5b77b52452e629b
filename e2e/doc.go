// Package e2e tests the whole product from outside: the real binary, a real browser, real client libraries, kill -9.
//
// Each test starts a `countersign dev` of its own, on free ports and in a new folder, so tests share nothing.
//
//	dev_test.go       the server under test: start, stop, kill
//	browser_test.go   Chromium: one browser, a context for each person and each phone
//	people_test.go    what people do, in steps: sign up, log in, approve
//	phone_test.go     phones without a browser, and users made through the API
//	gateways_test.go  a message centre and a mail server
//
//	walk_test.go      every way through the sample application      timing_test.go    how fast an approval reaches the browser
//	command_test.go   `countersign dev` itself                      terminal_test.go  `countersign device`
//	dashboard_test.go webhooks of events, and registration by token
//	npm_test.go       the npm clients, every method                  race_test.go      200 codes at once
//	integrate_test.go docs/integrate, as it is written
//	callback_test.go  a receiver that fails                         tenants_test.go   two applications, one hostile
//	accept_*_test.go  the acceptance list of the log-in, line by line; its table is docs/acceptance.md, made by ./acceptance
//	serve_test.go     `countersign serve`: two nodes on PostgreSQL, certificates, nginx in front, restarts under load
//	disk_test.go      a disk that is full, or fails to flush
//	soak_test.go      nothing is left behind by hours of work
//	nodes_test.go     three nodes, one of which dies in each step of a log-in
//	wakeups_test.go   two nodes that tell each other over NATS
//	crash_test.go     kill -9 in a loop                             flush_*test.go    the disk flush before the answer, on both engines
//
// The binary comes from COUNTERSIGN_BINARY, and one with the race detector from COUNTERSIGN_RACE_BINARY; without them
// it is built. script/test runs everything and installs what is needed.
package e2e

// This file runs docs/migrate-from-authy.md as operations_test.go runs its documents.

package e2e

import "testing"

// The document begins with a service that was installed and started as docs/operations.md says.
func TestMigrationDocument(t *testing.T) {
	t.Parallel()
	out := follow(t, shellBlocks(t, "../docs/operations.md", "## Watch")+shellBlocks(t, "../docs/migrate-from-authy.md", ""), nil, []string{
		"COUNTERSIGN_API_URL=http://localhost:8301", "COUNTERSIGN_SHUTDOWN_GRACE=1ms",
	})
	mentions(t, out, "migrate-from-authy.md, block 8", "2 users would be added", "4,1637,phone-invalid", "3 users added, 0 were there already.", "0 users added, 3 were there already.",
		`"authy_id":1635`, `"enrollment_ticket":{"link":"https://auth.example.com/enroll#`, "3 users written", "1637,1,2025550125,carla@example.com,,,,")
}

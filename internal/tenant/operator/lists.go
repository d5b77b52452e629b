package operator

import (
	"countersign.dev/internal/approval"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/tenant"
)

// This file owns what lists for operators say beyond the things they list.

// ListedUser is a user with how many devices act for them.
type ListedUser struct {
	tenant.User
	Devices int
}

// ListedApproval is an approval with the name of the device that answered, "" when none did.
type ListedApproval struct {
	approval.Approval
	AnsweredBy string
}

// ListedReset is a reset that is under way, with its user.
type ListedReset struct {
	tenant.User
	Reset reset.Reset
}

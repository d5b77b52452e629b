package store_test

import (
	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/transfer"
	"countersign.dev/internal/webhook"
)

// The store satisfies what the domain packages ask for, without knowing them as interfaces.
var (
	_ approval.Store   = (*store.Store)(nil)
	_ audit.ChainStore = (*store.Store)(nil)
	_ callback.Store   = (*store.Store)(nil)
	_ device.Store     = (*store.Store)(nil)
	_ job.Store        = (*store.Store)(nil)
	_ message.Store    = (*store.Store)(nil)
	_ notify.Store     = (*store.Store)(nil)
	_ operator.Store   = (*store.Store)(nil)
	_ otp.Store        = (*store.Store)(nil)
	_ reset.Store      = (*store.Store)(nil)
	_ seal.KeyStore    = (*store.Store)(nil)
	_ reporting.Store  = (*store.Store)(nil)
	_ tenant.Store     = (*store.Store)(nil)
	_ transfer.Store   = (*store.Store)(nil)
	_ webhook.Store    = (*store.Store)(nil)
)

// Package console is the surface for operators: server-rendered pages on which
// a developer creates an application, gets its key, sets its callback, and sees
// what happened to each request, message and callback.
//
// Everything shown belongs to the operator's account (INV-11); what belongs to
// another one is not found. State changes by POST only, showing an API key asks
// for a fresh proof (T-53), and pages work without script. The routes are in
// routes below.
package console

import (
	"context"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/device"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/live"
	"countersign.dev/internal/message"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/web"
	"countersign.dev/internal/webhook"
	consoleui "countersign.dev/ui/console"
)

// Lists is what the console reads beside the domain's services: newest first, at most limit.
type Lists interface {
	ListedUsers(ctx context.Context, appID string, limit int) ([]operator.ListedUser, error)
	Activities(ctx context.Context, appID, userID string, limit int) ([]tenant.Activity, error)
	OpenResets(ctx context.Context, appID string, now time.Time, limit int) ([]operator.ListedReset, error)
	ListedApprovals(ctx context.Context, appID string, limit int) ([]operator.ListedApproval, error)
	Tries(ctx context.Context, appID string, limit int) ([]callback.Try, error)
	TriesOf(ctx context.Context, appID, uuid string, limit int) ([]callback.Try, error)
	Audit(ctx context.Context, appID string, limit int) ([]audit.Record, error)
	SentMessages(ctx context.Context, appID, channel, status string, limit int) ([]message.Record, error)
	SendingState(ctx context.Context, appID string, now time.Time) (sending.State, error)
	AccountAudit(ctx context.Context, accountID string, limit int) ([]audit.Record, error)
}

// Config is what the surface is made of. All fields but Outbox, Streams and Proxies must be set.
type Config struct {
	Tenants   *tenant.Service
	Approvals *approval.Service
	Devices   *device.Service
	Resets    *reset.Service
	Operators *operator.Service
	Webhooks  *webhook.Service
	Lists     Lists
	Live      *live.Hub
	Gateways  func() []message.Condition // how those that carry messages do
	// Again sends the callback of a decided approval once more.
	Again func(ctx context.Context, app tenant.Application, uuid, actor string) error

	URL     string           // the console's public URL, without trailing slash
	APIURL  string           // what applications use as their base URL
	Shared  fs.FS            // ui/shared: tokens.css, base.css, fonts and marks
	Outbox  *message.Service // only for `dev`: /outbox shows what would have gone out
	Streams *web.Streams     // of that page; nil: each waits in its handler
	Proxies web.Proxies      // whose X-Forwarded-For is believed

	Now func() time.Time
	Log *slog.Logger
}

// console is the surface.
type console struct {
	Config
	public    *url.URL
	local     bool // the public URL names this machine
	cookie    http.Cookie
	assets    *assets
	templates map[string]*template.Template
	strangers *web.Limiter
}

// New returns the whole surface: log, headers, the checks of host and origin, and the pages. It panics when URL is no
// URL, or when the embedded templates do not parse.
func New(cfg Config) http.Handler { return newConsole(cfg).handler() }

func newConsole(cfg Config) *console {
	public, err := url.Parse(cfg.URL)
	if err != nil || public.Host == "" {
		panic("console: the public URL " + cfg.URL + " is not an absolute address")
	}
	return &console{
		Config: cfg, public: public, local: egress.IsLoopback(strings.ToLower(public.Hostname())), cookie: sessionCookie(public.Scheme == "https"),
		assets: newAssets(consoleui.FS(), cfg.Shared), templates: parseTemplates(consoleui.FS()),
		strangers: web.NewLimiter(1, 20, cfg.Now),
	}
}

func (c *console) handler() http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(web.Handler(func(http.ResponseWriter, *http.Request) error { return errOrigin }).Or(c.tell))
	h := web.ToPublic(c.public)(web.Host(c.public.Host)(origins.Handler(c.mux())))
	return web.Log(c.Log, c.Now, c.tell, web.Headers(strict(h)))
}

// strict adds to the shared policy that no script of ours turns text into markup.
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", web.Policy+"; require-trusted-types-for 'script'; trusted-types 'none'")
		next.ServeHTTP(w, r)
	})
}

// access says who may use a route. Every route states it; there is no default.
type access string

const (
	anybody   access = "anybody"
	machine   access = "machine"  // who sits at the machine
	signedIn  access = "operator" // an operator who is signed in
	ofAccount access = "account"  // the same, and the application is of their account
)

// route is one line of the map of this surface.
type route struct {
	method, path string
	access       access
	handler      http.Handler
}

func (c *console) routes() []route {
	all := []route{
		{"GET", "/assets/", anybody, c.assets},
		{"GET", "/signin", anybody, c.open(c.signInPage)},
		{"POST", "/signin", anybody, c.open(c.signIn)},
		{"GET", "/signin/dev", anybody, c.open(c.signInDev)},
		{"GET", "/setup", anybody, c.open(c.setupPage)},
		{"POST", "/setup", anybody, c.open(c.setupBegin)},
		{"POST", "/setup/confirm", anybody, c.open(c.setupConfirm)},

		{"POST", "/signout", signedIn, c.signedIn(c.signOut)},
		{"GET", "/account", signedIn, c.signedIn(c.accountPage)},
		{"POST", "/operators/invite", signedIn, c.onOperator("invite an operator", c.inviteOperator)},
		{"POST", "/operators/reset", signedIn, c.onOperator("set an operator up anew", c.resetOperator)},
		{"POST", "/operators/remove", signedIn, c.onOperator("remove an operator", c.removeOperator)},
		{"GET", "/{$}", signedIn, c.signedIn(c.applicationsPage)},
		{"GET", "/applications/new", signedIn, c.signedIn(c.newApplicationPage)},
		{"POST", "/applications", signedIn, c.signedIn(c.createApplication)},

		{"GET", "/applications/{app}", ofAccount, c.ofApp(c.applicationPage)},
		{"POST", "/applications/{app}/key", ofAccount, c.ofApp(c.showKey)},
		{"POST", "/applications/{app}/callback", ofAccount, c.ofApp(c.setCallback)},
		{"POST", "/applications/{app}/webhook-secret", ofAccount, c.ofApp(c.showSigningKeys)},
		{"POST", "/applications/{app}/webhook-secret/rotate", ofAccount, c.ofApp(c.rotateSigningKeys)},
		{"POST", "/applications/{app}/webhook-secret/end", ofAccount, c.ofApp(c.endOldSigningKeys)},
		{"POST", "/applications/{app}/match", ofAccount, c.ofApp(c.setMatch)},
		{"POST", "/applications/{app}/site", ofAccount, c.ofApp(c.setSite)},
		{"POST", "/applications/{app}/logo", ofAccount, c.ofApp(c.setLogo)},
		{"POST", "/applications/{app}/sending", ofAccount, c.ofApp(c.setSending)},
		{"POST", "/applications/{app}/sending/resume", ofAccount, c.ofApp(c.resumeSending)},
		{"POST", "/applications/{app}/switches", ofAccount, c.ofApp(c.setSwitches)},
		{"GET", "/applications/{app}/users", ofAccount, c.ofApp(c.usersPage)},
		{"GET", "/applications/{app}/users/{authy_id}", ofAccount, c.ofApp(c.userPage)},
		{"POST", "/applications/{app}/users/{authy_id}/reset", ofAccount, c.ofApp(c.allowReset)},
		{"POST", "/applications/{app}/users/{authy_id}/reset/refuse", ofAccount, c.ofApp(c.refuseReset)},
		{"POST", "/applications/{app}/reset-wait", ofAccount, c.ofApp(c.setResetWait)},
		{"GET", "/applications/{app}/approvals", ofAccount, c.ofApp(c.approvalsPage)},
		{"GET", "/applications/{app}/approvals/{uuid}", ofAccount, c.ofApp(c.approvalPage)},
		{"GET", "/applications/{app}/messages", ofAccount, c.ofApp(c.messagesPage)},
		{"POST", "/applications/{app}/approvals/{uuid}/callback", ofAccount, c.ofApp(c.sendAgain)},
		{"GET", "/applications/{app}/callbacks", ofAccount, c.ofApp(c.callbacksPage)},
		{"GET", "/applications/{app}/audit", ofAccount, c.ofApp(c.auditPage)},
		{"GET", "/applications/{app}/webhooks", ofAccount, c.ofApp(c.webhooksPage)},
		{"POST", "/applications/{app}/webhooks", ofAccount, c.ofApp(c.createWebhook)},
		{"POST", "/applications/{app}/webhooks/{webhook}/key", ofAccount, c.ofApp(c.showWebhookKey)},
		{"POST", "/applications/{app}/webhooks/{webhook}/remove", ofAccount, c.ofApp(c.removeWebhook)},
		{"POST", "/applications/{app}/webhooks/{webhook}/resume", ofAccount, c.ofApp(c.resumeWebhook)},
		{"POST", "/applications/{app}/webhooks/{webhook}/events/{record}", ofAccount, c.ofApp(c.tellAgain)},
		{"POST", "/applications/{app}/access-keys", ofAccount, c.ofApp(c.createAccessKey)},
		{"POST", "/applications/{app}/access-keys/{key}/end", ofAccount, c.ofApp(c.endAccessKey)},
	}
	if c.Outbox != nil {
		all = append(all,
			route{"GET", "/outbox", machine, c.onThisMachine(c.outboxPage)},
			route{"GET", "/outbox/events", machine, c.onThisMachine(c.outboxEvents)})
	}
	return all
}

func (c *console) mux() http.Handler {
	mux := http.NewServeMux()
	for _, r := range c.routes() {
		mux.Handle(r.method+" "+r.path, r.handler)
	}
	mux.Handle("/", c.open(func(http.ResponseWriter, *http.Request) error { return errPage }))
	return mux
}

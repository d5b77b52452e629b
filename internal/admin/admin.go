// Package admin owns what is done with an installation at its server's command line: applications, their keys and users, and its operators.
//
// One process at a time serves an SQLite database. What it keeps in mind, and what somebody waits for, is changed by nobody else; so a
// command asks it, over a Unix socket in the database's folder, which the file system keeps for its owner (Serve, Dial). With nobody there,
// or on PostgreSQL, the command does the same itself (Local). Package claim says which commands may go beside it instead.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/transfer"
)

// actor is who does all this, in the audit record.
const actor = "command"

// Admin does what is asked, in the process that has the database.
type Admin struct {
	Tenants   *tenant.Service
	Operators *operator.Service
	Push      *notify.Service
	Users     *transfer.Service
	Account   tenant.Account
}

// Request is what is asked. Each act reads its own fields.
type Request struct {
	Act       string `json:"act"`
	App       string `json:"app,omitempty"` // id, number or name
	Name      string `json:"name,omitempty"`
	DropIn    bool   `json:"drop_in,omitempty"`   // settings that an old integration expects
	Countries string `json:"countries,omitempty"` // where codes may be sent
	URL       string `json:"url,omitempty"`
	Reveal    bool   `json:"reveal,omitempty"`

	Email string `json:"email,omitempty"` // of an operator

	Switch string `json:"switch,omitempty"`
	On     bool   `json:"on,omitempty"`

	Rows    []transfer.Row `json:"rows,omitempty"` // a batch to import
	DryRun  bool           `json:"dry_run,omitempty"`
	After   int64          `json:"after,omitempty"` // authy_id of the last user exported
	Secrets bool           `json:"secrets,omitempty"`
}

// Application is what is told of an application.
type Application struct {
	ID             string    `json:"id"`
	Number         int64     `json:"app_id"` // as Authy clients know it
	Name           string    `json:"name"`
	CallbackURL    string    `json:"callback_url"`
	DisabledReason string    `json:"callback_disabled_reason,omitempty"`
	Match          string    `json:"match"`
	CreatedAt      time.Time `json:"created_at"`
	Keys           []Key     `json:"keys,omitempty"`
	APIKey         string    `json:"api_key,omitempty"` // only when it was just made, or asked for
}

// Key is what is told of an API key.
type Key struct {
	ID        string     `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	Signs     bool       `json:"signs"`
	EndsAt    *time.Time `json:"ends_at,omitempty"`
}

// Link is a set-up link.
type Link struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Operator is what is told of an operator.
type Operator struct {
	Email     string    `json:"email"`
	CreatedAt time.Time `json:"created_at"`
}

// PushKey is the key that devices subscribe with.
type PushKey struct {
	Key string `json:"key"` // base64url of the uncompressed point
}

var (
	errAct    = fault.New(fault.Invalid, "act-unknown", "The running countersign does not know this command: it is of another version. Restart it with this one.")
	errNames  = fault.New(fault.Conflict, "name-ambiguous", "Several applications have that name: use the id instead.")
	errSwitch = fault.New(fault.Invalid, "switch-unknown", "There is no such switch: countersign app switch --help names them.")
	errInput  = fault.New(fault.Invalid, "request-invalid", "That is not a request of this version.")
)

// acts are what can be asked.
var acts = map[string]func(*Admin, context.Context, Request) (any, error){
	"app.create":      (*Admin).create,
	"app.list":        (*Admin).list,
	"app.show":        (*Admin).show,
	"app.callback":    (*Admin).callback,
	"app.switch":      (*Admin).turn,
	"key.add":         (*Admin).addKey,
	"key.promote":     rotation((*tenant.Service).PromoteKey),
	"key.finish":      rotation((*tenant.Service).FinishKey),
	"key.cancel":      rotation((*tenant.Service).CancelKey),
	"operator.invite": (*Admin).invite,
	"operator.reset":  (*Admin).reset,
	"operator.remove": (*Admin).remove,
	"operator.list":   (*Admin).operators,
	"push.rotate":     (*Admin).rotatePush,
	"users.import":    (*Admin).importUsers,
	"users.export":    (*Admin).exportUsers,
}

func (a *Admin) do(ctx context.Context, r Request) (any, error) {
	act := acts[r.Act]
	if act == nil {
		return nil, errAct
	}
	return act(a, ctx, r)
}

func (a *Admin) create(ctx context.Context, r Request) (any, error) {
	set := tenant.NewIntegration()
	if r.DropIn {
		set = tenant.DropIn()
	}
	var err error
	if set.Sending.Countries, err = sending.ParseCountries(r.Countries); err != nil {
		return nil, err
	}
	app, err := a.Tenants.CreateApplication(ctx, a.Account.ID, r.Name, set, actor)
	if err != nil {
		return nil, err
	}
	return a.told(ctx, app, true)
}

func (a *Admin) list(ctx context.Context, _ Request) (any, error) {
	apps, err := a.Tenants.Store.Applications(ctx, a.Account.ID)
	out := make([]Application, len(apps))
	for i, app := range apps {
		out[i] = view(app)
	}
	return out, err
}

func (a *Admin) show(ctx context.Context, r Request) (any, error) {
	app, err := a.find(ctx, r.App)
	if err != nil {
		return nil, err
	}
	return a.told(ctx, app, r.Reveal)
}

func (a *Admin) callback(ctx context.Context, r Request) (any, error) {
	app, err := a.find(ctx, r.App)
	if err == nil {
		err = a.Tenants.SetCallback(ctx, a.Account.ID, app.ID, r.URL, actor)
	}
	if err != nil {
		return nil, err
	}
	return a.show(ctx, Request{App: app.ID})
}

func (a *Admin) turn(ctx context.Context, r Request) (any, error) {
	app, err := a.find(ctx, r.App)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(tenant.Switches, func(w tenant.Switch) bool { return w.Name == r.Switch }) {
		return nil, errSwitch
	}
	if err := a.Tenants.SetSwitches(ctx, app, map[string]bool{r.Switch: r.On}, actor); err != nil {
		return nil, err
	}
	return a.show(ctx, Request{App: app.ID})
}

func (a *Admin) importUsers(ctx context.Context, r Request) (any, error) {
	app, err := a.find(ctx, r.App)
	if err != nil {
		return nil, err
	}
	return a.Users.Import(ctx, app, r.Rows, r.DryRun, actor)
}

func (a *Admin) exportUsers(ctx context.Context, r Request) (any, error) {
	app, err := a.find(ctx, r.App)
	if err != nil {
		return nil, err
	}
	return a.Users.Export(ctx, app, r.After, r.Secrets, actor)
}

func (a *Admin) addKey(ctx context.Context, r Request) (any, error) {
	app, err := a.find(ctx, r.App)
	if err != nil {
		return nil, err
	}
	key, err := a.Tenants.AddKey(ctx, app, actor)
	if err != nil {
		return nil, err
	}
	out, err := a.told(ctx, app, false)
	out.APIKey = key
	return out, err
}

// rotation is an act that takes a rotation one step further.
func rotation(step func(*tenant.Service, context.Context, tenant.Application, string) error) func(*Admin, context.Context, Request) (any, error) {
	return func(a *Admin, ctx context.Context, r Request) (any, error) {
		app, err := a.find(ctx, r.App)
		if err == nil {
			err = step(a.Tenants, ctx, app, actor)
		}
		if err != nil {
			return nil, err
		}
		return a.told(ctx, app, false)
	}
}

func (a *Admin) invite(ctx context.Context, r Request) (any, error) {
	if r.Email == "" {
		return a.link(a.Operators.SetupLink(ctx))
	}
	return a.link(a.Operators.Invite(ctx, a.Account.ID, r.Email, actor))
}

func (a *Admin) reset(ctx context.Context, r Request) (any, error) {
	return a.link(a.Operators.Reset(ctx, a.Account.ID, r.Email, actor))
}

func (a *Admin) link(url string, err error) (any, error) {
	return Link{URL: url, ExpiresAt: a.Operators.Now().Add(operator.SetupLife)}, err
}

func (a *Admin) remove(ctx context.Context, r Request) (any, error) {
	if err := a.Operators.Remove(ctx, a.Account.ID, r.Email, actor); err != nil {
		return nil, err
	}
	return a.operators(ctx, r)
}

func (a *Admin) operators(ctx context.Context, _ Request) (any, error) {
	all, err := a.Operators.Store.Operators(ctx, a.Account.ID)
	out := make([]Operator, len(all))
	for i, o := range all {
		out[i] = Operator{o.Email, o.CreatedAt}
	}
	return out, err
}

func (a *Admin) rotatePush(ctx context.Context, _ Request) (any, error) {
	key, err := a.Push.RotateKey(ctx, actor)
	return PushKey{key}, err
}

// find returns the application that is meant by an id, a number or a name.
func (a *Admin) find(ctx context.Context, which string) (found tenant.Application, err error) {
	apps, err := a.Tenants.Store.Applications(ctx, a.Account.ID)
	if err != nil {
		return found, err
	}
	for _, app := range apps {
		switch {
		case app.ID == which || strconv.FormatInt(app.Serial, 10) == which:
			return app, nil
		case app.Name == which && found.ID != "":
			return found, errNames
		case app.Name == which:
			found = app
		}
	}
	if found.ID == "" {
		err = tenant.ErrApplication
	}
	return found, err
}

// told is an application with its keys, and with the secret of the one that signs when it is to be shown.
func (a *Admin) told(ctx context.Context, app tenant.Application, reveal bool) (Application, error) {
	out := view(app)
	keys, err := a.Tenants.Keys(ctx, app)
	if err != nil {
		return out, err
	}
	for _, k := range keys {
		key := Key{ID: k.ID, CreatedAt: k.CreatedAt, Signs: k.Signs}
		if !k.EndsAt.IsZero() {
			key.EndsAt = &k.EndsAt
		}
		out.Keys = append(out.Keys, key)
	}
	if reveal {
		out.APIKey, err = a.Tenants.RevealKey(ctx, app, actor)
	}
	return out, err
}

func view(app tenant.Application) Application {
	return Application{
		ID: app.ID, Number: app.Serial, Name: app.Name, CallbackURL: app.Callback.URL, DisabledReason: app.Callback.DisabledReason,
		Match: string(app.Settings.Match), CreatedAt: app.CreatedAt,
	}
}

// Client asks for acts.
type Client struct {
	ask   func(ctx context.Context, r Request) (answer []byte, err error)
	Batch int // how many users it is sent at a time
}

// Local returns a client that does everything in this process.
func Local(a *Admin) *Client { return &Client{ask: a.reply, Batch: transfer.BatchSize} }

// Do asks for an act and reads its result into result. Refusals are *fault.Error.
func (c *Client) Do(ctx context.Context, r Request, result any) error {
	text, err := c.ask(ctx, r)
	if err != nil {
		return err
	}
	var got answer
	if err := json.Unmarshal(text, &got); err != nil {
		return errors.New("what answers in the database's folder is no countersign of this version: restart it")
	}
	if got.Refused != nil {
		return got.Refused
	}
	return json.Unmarshal(got.Result, result)
}

// answer is what a request is answered with.
type answer struct {
	Result  json.RawMessage `json:"result,omitempty"`
	Refused *fault.Error    `json:"refused,omitempty"`
}

// answer does what a request from another process asks. An error is one that nobody meant to report.
func (a *Admin) answer(ctx context.Context, request []byte) ([]byte, error) {
	var r Request
	decoder := json.NewDecoder(bytes.NewReader(request))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&r) != nil {
		return json.Marshal(answer{Refused: errInput})
	}
	return a.reply(ctx, r)
}

func (a *Admin) reply(ctx context.Context, r Request) ([]byte, error) {
	result, err := a.do(ctx, r)
	var out answer
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		out.Refused = refused
	} else if err != nil {
		return nil, err
	} else if out.Result, err = json.Marshal(result); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

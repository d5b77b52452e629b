// This file owns the commands for whoever runs an installation: `migrate`, `app`, `operator` and `keys`. They take the settings of
// the database as `serve` does. What they do is in internal/admin.

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"countersign.dev/internal/admin"
	"countersign.dev/internal/claim"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/server"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/store"
	"countersign.dev/internal/transfer"
)

// administer opens the way to the installation, does what do does, and closes it: through the process that has the SQLite
// database, or on it directly.
func administer(ctx context.Context, s *settings.Storage, console settings.URL, errs io.Writer, do func(*admin.Client) error) (err error) {
	if err := s.Check(); err != nil {
		return err
	}
	if !s.Database.Postgres() {
		own, err := claim.Folder(s.Folder())
		if errors.Is(err, claim.ErrTaken) {
			client, err := admin.Dial(ctx, s.Folder())
			if err != nil {
				return fmt.Errorf("%s is in use by a countersign that takes no commands (%w): wait until it has started, or stop it", s.Folder(), err)
			}
			return do(client)
		}
		if err != nil {
			return fmt.Errorf("the database's folder %w: choose another one with --data or --database, or change its permissions", err)
		}
		defer func() { err = errors.Join(err, own.Close()) }()
	}
	log := newLog(errs, settings.Running{LogLevel: settings.Level(slog.LevelWarn), LogFormat: "text"})
	local, err := server.Open(ctx, server.Config{Database: string(s.Database), Master: s.MasterKey, FormerMasters: s.FormerMasters(), ConsoleURL: string(console), Now: time.Now, Log: log})
	if err != nil {
		return fmt.Errorf("cannot use the database %s: %w", s.Database, err)
	}
	client := admin.Local(&admin.Admin{Tenants: local.Tenants, Operators: local.Operators, Push: local.Push, Users: local.Users, Account: local.Account})
	if !s.Database.Postgres() {
		client.Batch = transfer.BatchMax
	}
	err = do(client)
	return errors.Join(err, local.Stop(ctx))
}

// applicationCmd is `countersign app`.
type applicationCmd struct {
	settings.Storage
	JSON bool `name:"json" help:"Print JSON."`

	Create   appCreate   `cmd:"" help:"Create an application and print its API key."`
	List     appList     `cmd:"" help:"List the applications."`
	Show     appShow     `cmd:"" help:"Show one application, and its API key when asked to."`
	Rotate   appRotate   `cmd:"" name:"rotate-key" help:"Replace an application's API key in three steps, without an interruption."`
	Callback appCallback `cmd:"" help:"Set the address that decisions are told to, or turn it off."`
	Switch   appSwitch   `cmd:"" help:"Turn a setting on or off: what the application may do and read."`
}

// Help is printed by app --help.
func (*applicationCmd) Help() string {
	return `An application is named by its id, its number or its name. While serve runs on SQLite, it is asked to do the work.

    countersign app create "Example Shop"
    countersign app callback "Example Shop" https://shop.example.com/authy/callback

Exit codes: 0 done, 1 failed, 2 wrong settings or usage.`
}

// do asks for an act on applications.
func (c *applicationCmd) do(ctx context.Context, out *output, r admin.Request, result any) error {
	return administer(ctx, &c.Storage, "", out.Err, func(client *admin.Client) error { return client.Do(ctx, r, result) })
}

// print asks for an act whose result is an application, and prints it.
func (c *applicationCmd) print(ctx context.Context, out *output, r admin.Request) error {
	var app admin.Application
	if err := c.do(ctx, out, r, &app); err != nil {
		return err
	}
	if c.JSON {
		return out.json(app)
	}
	return printApplication(out, app)
}

type appCreate struct {
	Name      string `arg:"" help:"What phones show as the one who asks."`
	Countries string `help:"Countries that codes are sent to by text and call, such as US,PT; * is everywhere. Without it nowhere." placeholder:"LIST"`
	DropIn    bool   `name:"drop-in" help:"With the settings that an integration written for Authy expects: long lives, 7-digit codes, no number match."`
}

func (c *appCreate) Run(ctx context.Context, out *output, app *applicationCmd) error {
	return app.print(ctx, out, admin.Request{Act: "app.create", Name: c.Name, DropIn: c.DropIn, Countries: c.Countries})
}

type appList struct{}

func (c *appList) Run(ctx context.Context, out *output, app *applicationCmd) error {
	var apps []admin.Application
	if err := app.do(ctx, out, admin.Request{Act: "app.list"}, &apps); err != nil {
		return err
	}
	if app.JSON {
		return out.json(apps)
	}
	table := tabwriter.NewWriter(out.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tID\tNUMBER\tCALLBACK")
	for _, a := range apps {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", a.Name, a.ID, a.Number, callbackOf(a))
	}
	return table.Flush()
}

type appShow struct {
	App string `arg:"" help:"Its id, number or name."`
	Key bool   `name:"key" help:"Show the API key too. That is recorded."`
}

func (c *appShow) Run(ctx context.Context, out *output, app *applicationCmd) error {
	return app.print(ctx, out, admin.Request{Act: "app.show", App: c.App, Reveal: c.Key})
}

type appRotate struct {
	App     string `arg:"" help:"Its id, number or name."`
	Promote bool   `help:"The new key signs callbacks from now on; the old one is accepted for seven days." xor:"step"`
	Finish  bool   `help:"The promoted key's predecessor ends now." xor:"step"`
	Cancel  bool   `help:"The new key ends, and the old one goes on as before." xor:"step"`
}

// Help is printed by app rotate-key --help.
func (*appRotate) Help() string {
	return `1. countersign app rotate-key APP            makes a second key; both are accepted, the old one signs callbacks
2. give the new key to the application, beside the old one where it checks callbacks
3. countersign app rotate-key APP --promote  the new key signs; the old one is accepted for seven days more
4. countersign app rotate-key APP --finish   ends the old key at once, when nobody uses it any more`
}

func (c *appRotate) Run(ctx context.Context, out *output, app *applicationCmd) error {
	act := "key.add"
	switch {
	case c.Promote:
		act = "key.promote"
	case c.Finish:
		act = "key.finish"
	case c.Cancel:
		act = "key.cancel"
	}
	return app.print(ctx, out, admin.Request{Act: act, App: c.App})
}

type appCallback struct {
	App string `arg:"" help:"Its id, number or name."`
	URL string `arg:"" optional:"" help:"The new address. It also enables a callback that was disabled."`
	Off bool   `help:"No callback; what is queued is dropped."`
}

// Validate refuses both, and neither.
func (c *appCallback) Validate() error {
	if (c.URL == "") != c.Off {
		return errors.New("give the new address, or --off")
	}
	return nil
}

func (c *appCallback) Run(ctx context.Context, out *output, app *applicationCmd) error {
	return app.print(ctx, out, admin.Request{Act: "app.callback", App: c.App, URL: c.URL})
}

type appSwitch struct {
	App    string `arg:"" help:"Its id, number or name."`
	Switch string `arg:"" help:"approvals, sms, calls, generic_tokens (codes of other authenticator apps), custom_codes, export_phones, export_secrets or any_code_at_once."`
	State  string `arg:"" enum:"on,off" help:"on or off."`
}

func (c *appSwitch) Run(ctx context.Context, out *output, app *applicationCmd) error {
	return app.print(ctx, out, admin.Request{Act: "app.switch", App: c.App, Switch: c.Switch, On: c.State == "on"})
}

func callbackOf(a admin.Application) string {
	switch {
	case a.DisabledReason != "":
		return "disabled: " + a.DisabledReason
	case a.CallbackURL == "":
		return "none"
	}
	return a.CallbackURL
}

func printApplication(out *output, a admin.Application) error {
	table := tabwriter.NewWriter(out.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "Name:\t%s\nId:\t%s\nNumber:\t%d\nCallback:\t%s\nNumber match:\t%s\nCreated:\t%s\n",
		a.Name, a.ID, a.Number, callbackOf(a), a.Match, a.CreatedAt.Format(time.RFC3339))
	for _, k := range a.Keys {
		fmt.Fprintf(table, "Key %s:\t%s\n", k.ID, wordsFor(k))
	}
	if a.APIKey != "" {
		fmt.Fprintf(table, "API key:\t%s\n", a.APIKey)
	}
	return table.Flush()
}

// wordsFor says what a key is good for.
func wordsFor(k admin.Key) string {
	words := "accepted, made " + k.CreatedAt.Format(time.RFC3339)
	if k.Signs {
		words = "signs callbacks, " + words
	}
	if k.EndsAt != nil {
		words += ", ends " + k.EndsAt.Format(time.RFC3339)
	}
	return words
}

// operatorCmd is `countersign operator`.
type operatorCmd struct {
	settings.Storage
	ConsoleURL settings.URL `name:"console-url" group:"Storage" placeholder:"URL" help:"The console's public address."`
	JSON       bool         `name:"json" help:"Print JSON."`

	Invite operatorInvite `cmd:"" help:"Print a link with which an operator is set up: once, within a day. An older link for the same address ends."`
	Reset  operatorReset  `cmd:"" help:"Print a link with which an operator chooses a new password and app. The old ones work until it is used."`
	List   operatorList   `cmd:"" help:"List the operators."`
	Remove operatorRemove `cmd:"" help:"Remove an operator, and sign them out everywhere."`
}

// link asks for an act whose result is a set-up link, and prints it.
func (c *operatorCmd) link(ctx context.Context, out *output, r admin.Request, whose string) error {
	if c.ConsoleURL == "" {
		return settings.Problems{{Setting: "console-url", Why: "is missing: name the console's public address, as serve is told"}}
	}
	var link admin.Link
	if err := c.do(ctx, out, r, &link); err != nil {
		return err
	}
	if c.JSON {
		return out.json(link)
	}
	_, err := fmt.Fprintf(out.Out, "%s\n%s It works once, until %s.\n", link.URL, whose, link.ExpiresAt.Format(time.RFC3339))
	return err
}

func (c *operatorCmd) do(ctx context.Context, out *output, r admin.Request, result any) error {
	return administer(ctx, &c.Storage, c.ConsoleURL, out.Err, func(client *admin.Client) error { return client.Do(ctx, r, result) })
}

// list asks for an act whose result are all operators, and prints them.
func (c *operatorCmd) list(ctx context.Context, out *output, r admin.Request) error {
	var all []admin.Operator
	if err := c.do(ctx, out, r, &all); err != nil {
		return err
	}
	if c.JSON {
		return out.json(all)
	}
	for _, o := range all {
		if _, err := fmt.Fprintf(out.Out, "%s  since %s\n", o.Email, o.CreatedAt.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

type operatorInvite struct {
	Email string `arg:"" optional:"" help:"Whom the link is for. It may be left out for the first operator, who is then whoever opens it first."`
}

func (c *operatorInvite) Run(ctx context.Context, out *output, operators *operatorCmd) error {
	whose := "Whoever opens it first becomes the operator."
	if c.Email != "" {
		whose = "It makes an operator of whoever opens it first and knows that it is for " + c.Email + "."
	}
	return operators.link(ctx, out, admin.Request{Act: "operator.invite", Email: c.Email}, whose)
}

type operatorReset struct {
	Email string `arg:"" help:"Who lost the password or the app."`
}

func (c *operatorReset) Run(ctx context.Context, out *output, operators *operatorCmd) error {
	return operators.link(ctx, out, admin.Request{Act: "operator.reset", Email: c.Email}, "It is for "+c.Email+" alone: be sure who asks you for it.")
}

type operatorList struct{}

func (c *operatorList) Run(ctx context.Context, out *output, operators *operatorCmd) error {
	return operators.list(ctx, out, admin.Request{Act: "operator.list"})
}

type operatorRemove struct {
	Email string `arg:"" help:"Who leaves. The last operator stays."`
}

func (c *operatorRemove) Run(ctx context.Context, out *output, operators *operatorCmd) error {
	return operators.list(ctx, out, admin.Request{Act: "operator.remove", Email: c.Email})
}

// keysCmd is `countersign keys`.
type keysCmd struct {
	List         keysList         `cmd:"" help:"List the data keys."`
	Rotate       keysRotate       `cmd:"" help:"Make a new data key and seal everything again under it, while serve goes on."`
	RotateMaster keysRotateMaster `cmd:"" name:"rotate-master" help:"Wrap the data keys by a new master key, while serve goes on."`

	RotatePush keysRotatePush `cmd:"" name:"rotate-push" help:"Make a new key for push messages. Each device subscribes with it when the authenticator is next opened there."`
	New        keysNew        `cmd:"" help:"Make a master key in a new file that only its owner can read. Keep a copy away from the database's backups."`
}

type keysNew struct {
	File string `arg:"" help:"The file to make. One that is there is never touched."`
}

func (c *keysNew) Run(out *output) error {
	file, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: choose another name, because without the old key its database cannot be read", c.File)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, hex.EncodeToString(seal.NewMaster()))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.Out, "Made %s. Give it to serve as --master-key-file, and keep a copy where the database's backups are not.\n", c.File)
	return err
}

// migrateCmd is `countersign migrate`.
type migrateCmd struct {
	settings.Storage
	JSON bool `name:"json" help:"Print JSON."`

	Status migrateStatus `cmd:"" default:"1" help:"Show the version of the database's schema, and this program's."`
	Up     migrateUp     `cmd:"" help:"Bring the schema up to date. Nodes of the version before go on working on PostgreSQL."`
}

// schema is what is told of the database's version.
type schema struct {
	Database string `json:"database"`
	Current  int64  `json:"current"` // 0: empty
	Newest   int64  `json:"newest"`
}

type migrateStatus struct{}

func (*migrateStatus) Run(ctx context.Context, out *output, m *migrateCmd) error {
	if err := m.Given(); err != nil {
		return err
	}
	return m.print(ctx, out)
}

type migrateUp struct{}

func (*migrateUp) Run(ctx context.Context, out *output, m *migrateCmd) error {
	if err := m.Given(); err != nil {
		return err
	}
	if !m.Database.Postgres() {
		own, err := claim.Folder(m.Folder())
		if err != nil {
			return fmt.Errorf("the database's folder %w: stop that one; serve brings an SQLite database up to date itself when it starts", err)
		}
		defer own.Close()
	}
	if err := store.Migrate(ctx, string(m.Database)); err != nil {
		return fmt.Errorf("cannot bring %s up to date: %w", m.Database, err)
	}
	left, err := store.Burdens(ctx, string(m.Database))
	if err != nil {
		return err
	}
	if len(left) > 0 {
		fmt.Fprintf(out.Err, "Somebody uses tables, or they are another role's: constraints that only cost time are still there (%s). Run this again in a quiet moment.\n",
			strings.Join(left, ", "))
	}
	return m.print(ctx, out)
}

func (m *migrateCmd) print(ctx context.Context, out *output) error {
	current, newest, err := store.SchemaVersion(ctx, string(m.Database))
	if err != nil {
		return err
	}
	if m.JSON {
		return out.json(schema{m.Database.String(), current, newest})
	}
	words := "up to date"
	switch {
	case current == 0:
		words = "no schema yet: run countersign migrate up"
	case current < newest:
		words = "older than this program: run countersign migrate up"
	case current > newest:
		words = "newer than this program: use the newer one"
	}
	_, err = fmt.Fprintf(out.Out, "%s: version %s of %s, %s\n", m.Database, strconv.FormatInt(current, 10), strconv.FormatInt(newest, 10), words)
	return err
}

// Package settings owns what `serve` and the commands beside it can be told: each setting is one field here, with its
// name, help, default and type, and may be given as a flag, as a COUNTERSIGN_ variable or in a TOML file, under one name.
//
// To add a setting, add a field with the tags name and help to the group it belongs to (default, placeholder, secret as
// needed; a secret also gets its twin NAME-file), and a row to the table in settings_test.go. Its type says which texts are right: see types.go.
//
// What depends on more than one setting is checked in check.go. Where values come from is sources.go.
package settings

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"countersign.dev/internal/store"
)

// Storage is what every command needs that opens the database.
type Storage struct {
	Config        File     `name:"config" group:"Storage" placeholder:"FILE" help:"TOML file with settings, under the same names as the flags."`
	Data          File     `name:"data" group:"Storage" placeholder:"DIR" default:"/var/lib/countersign" help:"Folder of this installation; made when it is not there."`
	Database      Database `name:"database" group:"Storage" placeholder:"PATH|URL" secret:"" help:"SQLite file, or postgres://USER@HOST/NAME (default: countersign.db in the data folder)."`
	DatabaseFile  File     `name:"database-file" group:"Storage" placeholder:"FILE" help:"File that holds the database's address, when there is a password in it."`
	MasterKey     Key      `name:"master-key" group:"Storage" placeholder:"HEX" secret:"" help:"Key that everything secret in the database is sealed under: 64 hex digits. Make one with: countersign keys new FILE"`
	MasterKeyFile File     `name:"master-key-file" group:"Storage" placeholder:"FILE" help:"File that holds the master key."`

	FormerMasterKey     Key  `name:"former-master-key" group:"Storage" placeholder:"HEX" secret:"" help:"Master key that may still be needed while it is exchanged; see countersign keys rotate-master --help."`
	FormerMasterKeyFile File `name:"former-master-key-file" group:"Storage" placeholder:"FILE" help:"File that holds the former master key."`

	given given // how the fields came to their values
}

// Serve is all of it.
type Serve struct {
	Storage
	Listeners
	Outgoing
	Push
	Retention
	Running
}

// Listeners says where the surfaces listen, and under which addresses the world knows them.
type Listeners struct {
	APIAddr           Addr `name:"api-addr" group:"Listeners" placeholder:"HOST:PORT" default:"127.0.0.1:8301" help:"Where the API listens, for application servers (default: ${default})."`
	AuthenticatorAddr Addr `name:"authenticator-addr" group:"Listeners" placeholder:"HOST:PORT" default:"127.0.0.1:8302" help:"Where the authenticator listens, for everybody's phones (default: ${default})."`
	ConsoleAddr       Addr `name:"console-addr" group:"Listeners" placeholder:"HOST:PORT" default:"127.0.0.1:8303" help:"Where the console listens, for operators (default: ${default})."`
	OpsAddr           Addr `name:"ops-addr" group:"Listeners" placeholder:"HOST:PORT" default:"127.0.0.1:8304" help:"Where health, readiness and profiles are told, without credentials: keep it off the internet (default: ${default})."`

	APIURL           URL `name:"api-url" group:"Listeners" placeholder:"URL" help:"The API's public address, for example https://api.example.com."`
	AuthenticatorURL URL `name:"authenticator-url" group:"Listeners" placeholder:"URL" help:"The authenticator's public address. Keys and signatures are bound to it: choose it once."`
	ConsoleURL       URL `name:"console-url" group:"Listeners" placeholder:"URL" help:"The console's public address."`

	TLSCert              File `name:"tls-cert" group:"Listeners" placeholder:"FILE" help:"Certificate chain (PEM) of all listeners but ops. Read again when it changes."`
	TLSKey               File `name:"tls-key" group:"Listeners" placeholder:"FILE" help:"Private key (PEM) to tls-cert."`
	APITLSCert           File `name:"api-tls-cert" group:"Listeners" placeholder:"FILE" help:"Certificate of the API alone, instead of tls-cert."`
	APITLSKey            File `name:"api-tls-key" group:"Listeners" placeholder:"FILE" help:"Private key to api-tls-cert."`
	AuthenticatorTLSCert File `name:"authenticator-tls-cert" group:"Listeners" placeholder:"FILE" help:"Certificate of the authenticator alone, instead of tls-cert."`
	AuthenticatorTLSKey  File `name:"authenticator-tls-key" group:"Listeners" placeholder:"FILE" help:"Private key to authenticator-tls-cert."`
	ConsoleTLSCert       File `name:"console-tls-cert" group:"Listeners" placeholder:"FILE" help:"Certificate of the console alone, instead of tls-cert."`
	ConsoleTLSKey        File `name:"console-tls-key" group:"Listeners" placeholder:"FILE" help:"Private key to console-tls-cert."`

	TrustedProxy []Network `name:"trusted-proxy" group:"Listeners" placeholder:"NETWORK" help:"Address or network (CIDR) of a reverse proxy whose X-Forwarded-For is believed, and that may speak to listeners without a certificate."`
}

// Outgoing says where our own requests may go, and what carries messages to people.
type Outgoing struct {
	OwnerEmail       Email    `name:"owner-email" group:"Outgoing" placeholder:"ADDRESS" help:"Mail address of the account's owner, who hears of disabled callbacks."`
	PrivateCallbacks bool     `name:"private-callbacks" group:"Outgoing" help:"Let callbacks and logos have addresses in private networks (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7, loopback), and push services in those but loopback."`
	EgressAllow      []Inside `name:"egress-allow" group:"Outgoing" placeholder:"NETWORK" help:"Part of a private network (CIDR, or one address) that callbacks, logos and push messages may go to: the narrower way to private-callbacks."`

	SMSGateway       []Gateway `name:"sms-gateway" group:"Outgoing" placeholder:"URL" secret:"" help:"Gateway for text messages, such as smpp://USER:PASSWORD@HOST:2775?from=SENDER. Several are tried in their order. All forms are in docs/gateways.md."`
	SMSGatewayFile   File      `name:"sms-gateway-file" group:"Outgoing" placeholder:"FILE" help:"File that holds the gateways for text messages, one a line."`
	VoiceGateway     []Gateway `name:"voice-gateway" group:"Outgoing" placeholder:"URL" secret:"" help:"The same for calls that say a code, such as twilio://SID:TOKEN@api.twilio.com?from=NUMBER."`
	VoiceGatewayFile File      `name:"voice-gateway-file" group:"Outgoing" placeholder:"FILE" help:"File that holds the gateways for calls, one a line."`
	MailGateway      []Gateway `name:"mail-gateway" group:"Outgoing" placeholder:"URL" secret:"" help:"The same for mail, codes and notices, such as smtp://USER:PASSWORD@HOST?from=ADDRESS."`
	MailGatewayFile  File      `name:"mail-gateway-file" group:"Outgoing" placeholder:"FILE" help:"File that holds the gateways for mail, one a line."`
}

// Retention says how long what is over stays. What is not over never leaves.
type Retention struct {
	RetainApprovals  Keep `name:"retain-approvals" group:"Retention" placeholder:"DAYS" default:"90d" help:"How long approvals stay after they were decided, withdrawn or ran out, with their receipts and the tries of their callbacks; or forever (default: ${default})."`
	RetainCodes      Keep `name:"retain-codes" group:"Retention" placeholder:"DAYS" default:"30d" help:"How long the rows of sent codes and phone verifications stay after their end, and wrong tries at a number after the last one; or forever (default: ${default})."`
	RetainMessages   Keep `name:"retain-messages" group:"Retention" placeholder:"DAYS" default:"30d" help:"How long it is told what became of a message; or forever (default: ${default})."`
	RetainActivities Keep `name:"retain-activities" group:"Retention" placeholder:"DAYS" default:"180d" help:"How long activities stay that applications register about their users; or forever (default: ${default})."`
	RetainAudit      Keep `name:"retain-audit" group:"Retention" placeholder:"DAYS" default:"forever" help:"How long audit records stay. Older ones leave up to a signed checkpoint, so export them first (default: ${default})."`
}

// Settings are how long what is over stays, for the server.
func (r Retention) Settings() store.Retention {
	return store.Retention{
		Approvals: time.Duration(r.RetainApprovals), Codes: time.Duration(r.RetainCodes), Messages: time.Duration(r.RetainMessages),
		Activities: time.Duration(r.RetainActivities), Audit: time.Duration(r.RetainAudit),
	}
}

// Running says how the process behaves.
type Running struct {
	StrangerRate     Rate     `name:"stranger-rate" group:"Running" placeholder:"N" default:"10" help:"Requests a second that one network address may send to the authenticator without a session (default: ${default})."`
	StrangerBurst    Count    `name:"stranger-burst" group:"Running" placeholder:"N" default:"200" help:"As many of them at once (default: ${default})."`
	WakeUps          NATS     `name:"wake-ups" group:"Running" placeholder:"URL" secret:"" help:"NATS server that carries wake-ups between nodes instead of PostgreSQL, like tls://USER:PASSWORD@HOST:4222; several of a cluster with commas between. See docs/scale.md."`
	WakeUpsFile      File     `name:"wake-ups-file" group:"Running" placeholder:"FILE" help:"File that holds its address, when there is a password in it."`
	LogLevel         Level    `name:"log-level" group:"Running" placeholder:"LEVEL" default:"info" help:"Log to stderr from this level on: debug, info, warn or error (default: ${default})."`
	LogFormat        Format   `name:"log-format" group:"Running" placeholder:"FORMAT" default:"json" help:"Log as json or as text (default: ${default})."`
	ShutdownGrace    Duration `name:"shutdown-grace" group:"Running" placeholder:"TIME" default:"2s" help:"How long /readyz says no before listeners close, so that load balancers notice (default: ${default})."`
	ShutdownPatience Duration `name:"shutdown-patience" group:"Running" placeholder:"TIME" default:"20s" help:"How long open requests, and after them running jobs, may take to end (default: ${default})."`
}

// Problem is what is wrong with one setting: one sentence that says which, why, and what to do.
type Problem struct {
	Setting string // its name
	Source  string // where the value came from; "" when there is none
	Why     string
}

func (p Problem) Error() string {
	if p.Source == "" {
		return p.Setting + ": " + p.Why
	}
	return p.Setting + " (" + p.Source + "): " + p.Why
}

// Problems are all that is wrong, a line for each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// err is nil when nothing is wrong.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// BeforeResolve is called by kong before flags that were not given get their values from elsewhere.
func (s *Storage) BeforeResolve(ctx *kong.Context) error {
	return s.given.read(ctx)
}

// AfterApply is called by kong when every field has its value.
func (s *Storage) AfterApply(ctx *kong.Context) error {
	s.given.readSecrets(ctx)
	if s.Database == "" {
		s.Database = Database(filepath.Join(string(s.Data), "countersign.db"))
	}
	return nil
}

// FormerMasters are the former master keys that were given.
func (s *Storage) FormerMasters() [][]byte {
	if len(s.FormerMasterKey) == 0 {
		return nil
	}
	return [][]byte{s.FormerMasterKey}
}

// Folder is where the SQLite database lies.
func (s *Storage) Folder() string { return filepath.Dir(string(s.Database)) }

// Effective is one setting as it counts.
type Effective struct {
	Name  string `json:"name"`
	Value string `json:"value"` // secrets masked
	From  string `json:"from"`
}

// Effective returns every setting of the command, in the order of its help.
func (s *Storage) Effective() []Effective { return s.given.effective() }

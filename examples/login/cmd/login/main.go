// Command login runs the sample application. Settings come from the environment:
//
//	AUTHY_API_KEY      the application's key at the provider; needed
//	AUTHY_API_URL      the provider; default http://localhost:8301
//	AUTHENTICATOR_URL  the authenticator, for links to it; default http://localhost:8302
//	PUBLIC_URL         where browsers reach this application; default http://localhost:8300
//	ADDR               where to listen; default localhost:8300
//	DATA               the SQLite file; default login.db
//	SMTP_ADDR          the mail server, such as mail.example.com:25; without one mails are printed here, for who tries this out
//	SMTP_FROM          the sender; default bank@example.com
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"countersign.dev/client"
	"countersign.dev/examples/login"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

// env is a setting, or its default.
func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func run(ctx context.Context) error {
	key := os.Getenv("AUTHY_API_KEY")
	if key == "" {
		return errors.New("AUTHY_API_KEY is not set: create an application in the provider's console and set its key")
	}
	provider, err := client.New(client.Config{BaseURL: env("AUTHY_API_URL", "http://localhost:8301"), APIKey: key})
	if err != nil {
		return err
	}
	public := env("PUBLIC_URL", "http://localhost:8300")
	app, err := login.New(login.Config{
		PublicURL: public, Provider: provider, APIKeys: []string{key}, DB: env("DATA", "login.db"),
		AuthenticatorURL: env("AUTHENTICATOR_URL", "http://localhost:8302"), Mail: sendMail,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	return serve(ctx, app, public)
}

// sendMail hands a mail to the mail server, or prints it. Addresses and subjects are one line each, which the application has checked. It waits for the
// mail server, without a limit: in production put mails into a queue.
func sendMail(_ context.Context, m login.Mail) error {
	server, from := env("SMTP_ADDR", ""), env("SMTP_FROM", "bank@example.com")
	text := fmt.Sprintf("From: %s\r\nTo: %s\r\nDate: %s\r\nSubject: %s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n",
		from, m.To, time.Now().Format(time.RFC1123Z), mime.QEncoding.Encode("utf-8", m.Subject), strings.ReplaceAll(m.Text, "\n", "\r\n"))
	if server == "" {
		_, err := fmt.Printf("A mail that would be sent if SMTP_ADDR were set:\n%s\n", text)
		return err
	}
	return smtp.SendMail(server, nil, from, []string{m.To}, []byte(text))
}

// serve runs until the context ends, and then lets open requests finish.
func serve(ctx context.Context, app *login.App, public string) error {
	listener, err := net.Listen("tcp", env("ADDR", "localhost:8300"))
	if err != nil {
		return errors.Join(err, app.Close())
	}
	// No WriteTimeout: the waiting page's stream is long, and sets a deadline on every write.
	server := &http.Server{Handler: app.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	server.RegisterOnShutdown(app.EndStreams)
	fmt.Printf("Open %s\nSet the callback of the application to %s (optional).\n", public, app.CallbackURL())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
		deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = server.Shutdown(deadline)
	}
	return errors.Join(err, app.Close())
}

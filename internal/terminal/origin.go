// This file owns what the person types to say where: an authenticator's address, and an enrolment link or its words.

package terminal

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"

	"countersign.dev/internal/egress"
)

// parseOrigin checks an authenticator's address and returns its one spelling: scheme://host[:port]. Plain HTTP is for
// this machine only, as in browsers: secrets for codes travel on it.
func parseOrigin(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the address of an authenticator; it looks like https://auth.example.com", address)
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case u.Scheme == "https" && port == "":
		port = "443"
	case u.Scheme == "http" && port == "":
		port = "80"
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%q is not the address of an authenticator; it begins with https:// or http://", address)
	}
	if u.Scheme == "http" && !egress.IsLoopback(host) {
		return nil, fmt.Errorf("%s is not safe: only on this machine may an authenticator be used without https", address)
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(host, port)}, nil
}

// sameServer reports whether two addresses name one authenticator. The three names of this machine count as one.
func sameServer(a, b string) bool {
	left, errLeft := parseOrigin(a)
	right, errRight := parseOrigin(b)
	if errLeft != nil || errRight != nil {
		return false
	}
	return left.Scheme == right.Scheme && left.Port() == right.Port() &&
		(left.Hostname() == right.Hostname() || isThisMachine(left.Hostname()) && isThisMachine(right.Hostname()))
}

func isThisMachine(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// parseTicket reads an enrolment link, or the words of one with spaces or dashes between them in any letter case. It
// returns the words joined by dashes, and the authenticator's address when a link was given.
func parseTicket(ticket string) (words, authenticator string, err error) {
	ticket = strings.TrimSpace(ticket)
	if strings.Contains(ticket, "/") {
		link, err := url.Parse(ticket)
		if err != nil || link.Host == "" {
			return "", "", errors.New("that is not an enrolment link; it looks like https://auth.example.com/enroll#lusab-babad-…")
		}
		origin := url.URL{Scheme: link.Scheme, Host: link.Host}
		if _, err := parseOrigin(origin.String()); err != nil {
			return "", "", err
		}
		ticket, authenticator = link.Fragment, origin.String()
	}
	list := strings.FieldsFunc(strings.ToLower(ticket), func(r rune) bool { return r == '-' || unicode.IsSpace(r) })
	for _, word := range list {
		if len(word) != 5 || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") != "" {
			return "", "", fmt.Errorf("%q is not a word of an enrolment ticket; each has five letters", word)
		}
	}
	if len(list) != 8 {
		return "", "", fmt.Errorf("an enrolment ticket has 8 words, this one has %d", len(list))
	}
	return strings.Join(list, "-"), authenticator, nil
}

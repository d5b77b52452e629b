// This file holds docs/api.md to what is served.

package authyapi

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/callback"
)

func apiPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestDocsNameEveryRouteAndCode(t *testing.T) {
	page := apiPage(t)
	for _, rt := range everyRoute {
		path := strings.ReplaceAll(rt.path, "{format}", "json")
		if short := strings.Replace(path, "/protected/json/", "…/", 1); !strings.Contains(page, "`"+rt.method+" "+path+"`") && !strings.Contains(page, "`"+short+"`") {
			t.Errorf("no %s %s", rt.method, path)
		}
	}
	served := map[string]bool{"60000 404": true, "60000 405": true, "60000 500": true, errNotUTF8.code + " 400": true, errTooLarge.code + " 400": true}
	for _, ref := range refusals {
		served[fmt.Sprint(ref.code, " ", ref.status)] = true
	}
	told := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d{5}) \| (\d{3}) \|`).FindAllStringSubmatch(page, -1) {
		told[row[1]+" "+row[2]] = true
	}
	for code := range served {
		if !told[code] {
			t.Errorf("%s is served and not told", code)
		}
	}
	for code := range told {
		if !served[code] {
			t.Errorf("%s is told and not served", code)
		}
	}
}

// The worked example of the signature is right.
func TestDocsSignature(t *testing.T) {
	page := apiPage(t)
	value := func(name string) string {
		m := regexp.MustCompile("(?m)^\\| " + name + " \\| `(.*)` \\|$").FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("no %s", name)
		}
		return m[1]
	}
	block := func(name string) string {
		m := regexp.MustCompile("(?s)\n" + name + ":\n\n```\n(.*?)\n```").FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("no %s", name)
		}
		return m[1]
	}
	params, err := callback.Canonical([]byte(block("Body")))
	if err != nil || params != block("Parameters") {
		t.Errorf("parameters %s, %v", params, err)
	}
	if got := callback.Sign(value("key"), value("nonce"), "POST", value("address"), params); got != block("Signature") {
		t.Errorf("signature %s", got)
	}
}

// So is the example of Standard Webhooks.
func TestDocsStandardWebhooks(t *testing.T) {
	page := apiPage(t)
	value := func(name string) string {
		m := regexp.MustCompile("(?m)^\\| `?" + name + "`? \\| `(.*)` \\|$").FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("no %s", name)
		}
		return m[1]
	}
	seconds, err := strconv.ParseInt(value("webhook-timestamp"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	got, err := callback.SignWebhook(value("secret"), value("webhook-id"), time.Unix(seconds, 0), []byte(value("body")))
	if err != nil || got != value("webhook-signature") {
		t.Errorf("signature %s, %v", got, err)
	}
}

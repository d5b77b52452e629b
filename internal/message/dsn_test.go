// This file tests how gateways are written in the settings.

package message

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"countersign.dev/internal/otp"
)

const hook = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestGatewayForms(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cretpw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, name := range map[string]string{
		"smpp://bank:s3cretpw@smsc.example.com:2775?from=Bank&window=5&system-type=OTP&alphabet=ucs2": "smpp://bank@smsc.example.com:2775",
		"smpp://bank@smsc.example.com?from=+12025550100&password-file=" + secret:                      "smpp://bank@smsc.example.com",
		"smpps://bank:s3cretpw@[2001:db8::1]:3550?from=72345":                                         "smpps://bank@[2001:db8::1]:3550",
		"twilio://AC1:s3cretpw@api.twilio.com?from=%2B12025550100":                                    "twilio://AC1@api.twilio.com",
		"twilio://AC1@api.twilio.com?service=MG1&password-file=" + secret:                             "twilio://AC1@api.twilio.com",
		"smtp://ana:s3cretpw@mail.example.com?from=Bank%20%3Ccodes@example.com%3E":                    "smtp://ana@mail.example.com",
		"smtp://codes:s3cretpw@mail.example.com?from=Bank <codes@example.com>":                        "smtp://codes@mail.example.com",
		"smtp://localhost:25?from=codes@example.com&tls=none":                                         "smtp://localhost:25",
		"smtps://ana%40example.com:p%40ss@mail.example.com:465?from=codes@example.com":                "smtps://ana@example.com@mail.example.com:465",
		"webhook+https://hooks.example.com/t0ken/send?secret=" + hook:                                 "webhook+https://hooks.example.com",
	} {
		g, err := ParseGateway(address)
		if err != nil || g.Name() != name {
			t.Errorf("%s: %v, %v", address, g, err)
		}
	}
}

// What is wrong is said with the right form, and never with what may be a secret.
func TestWrongGateways(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for address, want := range map[string]string{
		"":                    "a gateway is written as one of smpp://",
		"s3cretpw":            "a gateway is written as one of smpp://",
		"http://s3cretpw@x":   "a gateway is written as one of smpp://",
		"smpp:bank:s3cretpw@": "a gateway is written as one of smpp://",
		"smpp://bank:s3cretpw%zz@smsc.example.com?from=Bank":                                        "the address is malformed",
		"smpp://bank:s3cretpw@smsc.example.com?from=Bank&x=%zz":                                     "the options after ? are malformed",
		"smpp://bank:s3cretpw@?from=Bank":                                                           "it names no host",
		"smpp://bank:s3cretpw@smsc.example.com?from=Bank#s3cretpw":                                  "write it as %23",
		"smpp://bank:s3cretpw@smsc.example.com/s3cretpw?from=Bank":                                  "there is no path",
		"smpp://smsc.example.com?from=Bank":                                                         "it names no user and password",
		"smpp://bank:s3cretpw@smsc.example.com?from=Bank&window=many":                               "window is how many",
		"smpp://bank:s3cretpw@smsc.example.com?from=Bank&alphabet=morse":                            "alphabet is gsm",
		"smpp://bank:s3cretpw@smsc.example.com?from=Bank&frm=s3cretpw":                              `there is no option "frm"`,
		"smpp://bank:s3cretpw@smsc.example.com?from=Bank&from=Other":                                `the option "from" stands there twice`,
		"smpp://bank:s3cretpw-of-nine@smsc.example.com?from=Bank":                                   "the password has at most 8",
		"smpp://bank:s3cretpw@smsc.example.com?from=Bank&password-file=/nowhere":                    "name one of them",
		"smpp://bank@smsc.example.com?from=Bank&password-file=/nowhere":                             "no such file",
		"smpp://bank@smsc.example.com?from=Bank&password-file=" + file("open", "s3cretpw", 0o644):   "can be read by everybody",
		"smpp://bank@smsc.example.com?from=Bank&password-file=" + file("empty", "\n", 0o600):        "is empty",
		"smpp://bank@smsc.example.com?from=Bank&password-file=" + dir:                               "is no file with a secret",
		"smpps://bank:s3cretpw@smsc.example.com?from=Bank&ca-file=" + file("ca", "s3cretpw", 0o600): "holds no certificate",
		"twilio://AC1:s3cretpw@api.twilio.com":                                                      "neither from",
		"smtp://mail.example.com?from=nobody":                                                       "from is no mail address",
		"smtp://mail.example.com?from=a@example.com%0d%0aBcc:eve@example.com":                       "from is no mail address",
		"smtp://ana@mail.example.com?from=a@example.com":                                            "a user without password",
		"smtp://ana:s3cretpw@mail.example.com?from=a@example.com&tls=none":                          "everybody on the way could read the password",
		"smtps://ana:s3cretpw@mail.example.com?from=a@example.com&tls=none":                         "the option tls is none, or absent",
		"webhook+https://hooks.example.com/":                                                        "the secret is whsec_",
		"webhook+https://hooks.example.com/?secret=s3cretpw":                                        "the secret is whsec_",
		"webhook+https://hooks.example.com/?secret=whsec_c2hvcnQ=":                                  "the secret is whsec_",
		"webhook+https://ana:s3cretpw@hooks.example.com/?secret=" + hook:                            "it names a user",
		"webhook+https://hooks.example.com/?secret=" + hook + "&secret-file=/nowhere":               "name one of them",
		"webhook+https://hooks.example.com/?token=s3cretpw&secret=" + hook:                          `there is no option "token"`,
	} {
		_, err := ParseGateway(address)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
			continue
		}
		for _, secret := range []string{"s3cretpw", hook[6:]} {
			if strings.Contains(err.Error(), secret) || strings.Contains(MaskGateway(address), secret) {
				t.Errorf("the secret of %s is told: %v; %s", address, err, MaskGateway(address))
			}
		}
	}
}

func TestMaskGateway(t *testing.T) {
	for address, want := range map[string]string{
		"smpp://bank:s3cretpw@smsc.example.com:2775?window=5&from=Bank": "smpp://bank:…@smsc.example.com:2775?from=Bank&window=5",
		"webhook+https://hooks.example.com/t0ken?secret=" + hook:        "webhook+https://hooks.example.com/…?secret=…",
		"smtp://mail.example.com?from=a@example.com":                    "smtp://mail.example.com?from=a@example.com",
		"http://ana:s3cretpw@x":                                         "…",
		"smpp://bank:123/45@smsc.example.com?from=Bank":                 "smpp://…",
		"smpp://bank:123?45@smsc.example.com&from=Bank":                 "smpp://…",
		"smpp://bank:123#45@smsc.example.com?from=Bank":                 "smpp://…",
		"s3cretpw": "…",
	} {
		if got := MaskGateway(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestGatewaysOfAChannel(t *testing.T) {
	smsc, mail := "smpp://bank:s3cretpw@smsc.example.com?from=Bank", "smtp://mail.example.com?from=a@example.com"
	if all, err := ParseGateways(otp.SMS, []string{smsc, "webhook+https://x.example/?secret=" + hook}); err != nil || len(all) != 2 || all[0].Name() != "smpp://bank@smsc.example.com" {
		t.Error(all, err)
	}
	if all, err := ParseGateways(otp.SMS, nil); all != nil || err != nil {
		t.Error(all, err)
	}
	for want, addresses := range map[string][]string{
		"gateway 2: smtp://mail.example.com carries no text messages": {smsc, mail},
		"gateway 2: smpp://bank@smsc.example.com is named twice":      {smsc, smsc},
		"gateway 2: a gateway is written as":                          {smsc, "x"},
	} {
		if _, err := ParseGateways(otp.SMS, addresses); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// No part of a password is shown, written as it should be or with characters that end it early, whatever it is.
func TestNoPasswordIsShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringOfN(rapid.RuneFrom([]rune("9999Z/?#@:&+%é ;,![]")), 5, 20, -1).Draw(t, "password")
		if rapid.Bool().Draw(t, "written as it should be") {
			password = url.QueryEscape(password)
		}
		address := rapid.SampledFrom([]string{"smpp://ana:%s@smsc.example.com:2775?from=Bank", "twilio://ana:%s@api.twilio.com?from=+12025550100", "smtp://ana:%s@mail.example.com?from=a@example.com"}).Draw(t, "address")
		told := MaskGateway(strings.Replace(address, "%s", password, 1))
		if _, err := ParseGateway(strings.Replace(address, "%s", password, 1)); err != nil {
			told += err.Error()
		}
		for _, part := range []string{"99", "9Z", "Z9", "ZZ"} { // which stand nowhere but in a password
			if strings.Contains(told, part) {
				t.Fatalf("%q tells %q: %s", password, part, told)
			}
		}
	})
}

// FuzzParseGateway: whatever is written, it is a gateway or a sentence, and its password is told by neither.
func FuzzParseGateway(f *testing.F) {
	for _, address := range []string{
		"smpp://bank:s3cretpw@smsc.example.com:2775?from=Bank", "twilio://AC1:s3cretpw@api.twilio.com?from=+12025550100",
		"smtps://ana:s3cretpw@mail.example.com:465?from=codes@example.com", "webhook+https://hooks.example.com/t0ken?secret=" + hook,
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if strings.Contains(address, "-file") {
			return // of this machine
		}
		g, err := ParseGateway(address)
		if (g == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", address, g, err)
		}
		told := MaskGateway(address)
		if err != nil {
			told += err.Error()
		} else {
			told += g.Name()
		}
		if strings.Contains(address, ":s3cretpw@") && strings.Count(address, "s3cretpw") == 1 && strings.Contains(told, "s3cretpw") {
			t.Errorf("%q tells its password: %s", address, told)
		}
	})
}

// A centre may report in decimal what it answered in hexadecimal, or the other way round.
func TestSpellings(t *testing.T) {
	for id, want := range map[string]string{"1f": "1f 31", "31": "31 1f 1F 49", "msg-7": "msg-7", "": ""} {
		if got := strings.Join(spellings(id), " "); got != want {
			t.Errorf("%q: %s, want %s", id, got, want)
		}
	}
}

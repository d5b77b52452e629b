// This file owns the example of a whole integration. It has no tests, so that documentation shows all of it.

package secondfactor_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

// The whole second step of a web application: construct, mount, begin after the password, guard a page, ask for a step-up and carry it out.
func application(provider *client.Client, apiKey string) (http.Handler, error) {
	guard, err := secondfactor.New(secondfactor.Config{
		PublicURL: "https://app.example.com", Name: "Owlgate",
		Provider: provider, APIKeys: []string{apiKey},
		Store: secondfactor.NewMemoryStore(), // OpenSQLStore outlives a restart
		Completed: func(_ context.Context, done secondfactor.Completion) error {
			if done.Covers(transferTo("Jarod's vault", "1,000,000")) {
				fmt.Println("sent, approved by", done.Method)
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	ana := secondfactor.Person{ID: "ana", AuthyID: 1000, Account: "ana@example.com"} // from your user table
	mux := http.NewServeMux()
	guard.Routes(mux)
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "correct horse" { // check yours here
			http.Error(w, "E-mail or password is wrong.", http.StatusUnauthorized)
			return
		}
		guard.Login(w, r, ana, "/account")
	})
	mux.Handle("GET /account", guard.Require(func(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn) {
		fmt.Fprintln(w, "signed in:", who.User())
	}))
	mux.Handle("POST /transfer", guard.Require(func(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn) {
		guard.StepUp(w, r, who, ana, transferTo(r.FormValue("payee"), r.FormValue("amount")))
	}))
	return guard.Protect(mux), nil
}

// transferTo is an act with exact values.
func transferTo(payee, amount string) secondfactor.Act {
	return secondfactor.Act{Ref: "1", ReturnTo: "/account", StartOver: "/account", Ask: secondfactor.Ask{
		Message: "Send money to " + payee, Details: []client.Field{{Name: "Amount", Value: amount}},
	}}
}

func Example() {
	provider := secondfactortest.New()
	provider.AddDevice(provider.AddUser("ana@example.com", "1", "2025550123"))
	api, err := client.New(client.Config{BaseURL: "http://provider.test", APIKey: secondfactortest.APIKey, HTTPClient: &http.Client{Transport: provider}})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := application(api, secondfactortest.APIKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	cookies := map[string]*http.Cookie{}
	send := func(method, path, form string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "https://app.example.com"+path, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			cookies[c.Name] = c
		}
		return w
	}
	approve := func() {
		provider.ApproveAll()
		send("GET", "/login/verify", "") // a browser hears of it by the stream of this page
		send("POST", "/login/verify/complete", "")
	}

	fmt.Println("before:", send("GET", "/account", "").Code)
	fmt.Println("password:", send("POST", "/login", "password=correct+horse").Header().Get("Location"))
	fmt.Println("still out:", send("GET", "/account", "").Code)
	approve()
	fmt.Print(send("GET", "/account", "").Body)
	send("POST", "/transfer", "payee=Jarod%27s+vault&amount=1,000,000")
	approve()
	// Output:
	// before: 303
	// password: /login/verify
	// still out: 303
	// signed in: ana
	// sent, approved by push
}

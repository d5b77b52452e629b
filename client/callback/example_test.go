// This file shows the package in use.

package callback_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"countersign.dev/client/callback"
)

func ExampleVerifier_Handler() {
	verifier := &callback.Verifier{
		URL:  "https://app.example.com/authy/callback", // exactly as configured at the provider
		Keys: []string{"the-application-api-key", "the-old-key-while-rotating"},
		Now:  func() time.Time { return time.Unix(1700000123, 0) }, // leave out in a program
	}
	mux := http.NewServeMux()
	mux.Handle("/authy/callback", verifier.Handler(func(ctx context.Context, event callback.Event) error {
		switch event.Status {
		case callback.Approved, callback.Denied:
			// Find your own record by event.UUID, compare its user with event.AuthyID, then decide it once.
			fmt.Println(event.UUID, "was", event.Status, "by user", event.AuthyID)
		}
		return nil // also for what you do not know: an error asks for a retry
	}))

	// What the provider does.
	body := `{"authy_id":1635,"uuid":"8d031630-d15b-4134-b0a8-0a77bbe8093e","status":"approved"}`
	params, err := callback.Canonical([]byte(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest("POST", "https://app.example.com/authy/callback", strings.NewReader(body))
	r.Header.Set(callback.HeaderNonce, "1700000120.000000001")
	r.Header.Set(callback.HeaderSignature,
		callback.Sign("the-application-api-key", "1700000120.000000001", "POST", "https://app.example.com/authy/callback", params))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 8d031630-d15b-4134-b0a8-0a77bbe8093e was approved by user 1635
	// 200
}

func ExampleVerifyWebhook() {
	secrets := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} // two while one is being replaced
	header := http.Header{}
	header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set("webhook-timestamp", "1614265330")
	header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	now := time.Unix(1614265331, 0) // time.Now() in a program

	id, err := callback.VerifyWebhook(secrets, header, []byte(`{"test": 2432232314}`), now, callback.DefaultWindow)
	fmt.Println(id, err)
	// Output: msg_p5jXN8AQM9LWM0D4loKWxJek <nil>
}

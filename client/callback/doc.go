// Package callback owns the signature on the HTTP request by which the provider tells an application of a decision: making it,
// which the server does, and checking it, which the application does. It speaks the signature of the Authy API, so it checks
// callbacks of any compatible sender.
//
// An application mounts one handler:
//
//	verifier := &callback.Verifier{URL: "https://app.example.com/authy/callback", Keys: []string{apiKey}}
//	mux.Handle("/authy/callback", verifier.Handler(decided))
//
// Callbacks by POST are also signed by Standard Webhooks: give [Verifier.Secrets] in place of Keys, and what is compared is the body as it was sent.
//
// With Keys the signed string is nonce|METHOD|url|params, where params is the flattened, sorted and encoded body ([Canonical]). Flattening
// forgets JSON types (1 and "1", null and "" sign alike), so read scalars as text, and take what must not be forged from [Event.Receipt]
// or from the API. A callback makes things fast; it is not the only truth: it may come twice, late or never.
package callback

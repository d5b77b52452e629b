// This file owns the server that the examples call: it answers as the real one does.

package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"countersign.dev/client/receipt"
)

const exampleUUID = "8d031630-d15b-4134-b0a8-0a77bbe8093e"

// exampleAddress starts the server, which lives as long as the process.
func exampleAddress() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	answer := func(pattern string, status int, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	answer("POST /protected/json/users/new", 200, `{"message":"User created successfully.","user":{"id":1635},"success":true}`)
	answer("POST /onetouch/json/users/1635/approval_requests", 200, `{"approval_request":{"uuid":"`+exampleUUID+`","match":{"mode":"type","value":"042"}},"success":true}`)
	answer("GET /onetouch/json/approval_requests/", 200, `{"approval_request":{"uuid":"`+exampleUUID+`","_authy_id":1635,"status":"approved","receipt":`+exampleReceipt(key)+`},"success":true}`)
	answer("GET /protected/json/verify/1234567/1635", 401, `{"message":"Token is invalid","success":false,"errors":{},"error_code":"60020"}`)
	answer("GET /protected/json/users/1635/status", 200, `{"status":{"authy_id":1635,"detailed_devices":[{"device_id":7,"public_key":"`+receipt.EncodePublicKey(&key.PublicKey)+`"}]},"success":true}`)
	answer("POST /protected/json/phones/verification/start", 200, `{"uuid":"b8ebcd40","seconds_to_expire":600,"message":"Text message sent to +1 202-555-0123.","success":true}`)
	answer("GET /protected/json/phones/verification/check", 200, `{"message":"Verification code is correct.","success":true}`)
	return httptest.NewServer(mux).URL
}

// exampleReceipt is the proof that a person with the key agreed to send 10 €.
func exampleReceipt(key *ecdsa.PrivateKey) string {
	shown := receipt.Content{Application: "Example", Message: "Send money to Bo?", Details: []receipt.Field{{Name: "Amount", Value: "10 €"}}}
	signed := receipt.Answer{
		Origin: "https://auth.example.com", Application: "58547f6f4014250a11c201f6", User: 1635, Device: "589d12e07d558e6b91e9370a", Approval: exampleUUID,
		Shown: shown.Digest(), Hidden: receipt.HiddenDigest(nil), Decision: receipt.Approve, Nonce: "AAECAwQFBgcICQoLDA0ODw", IssuedAt: 1700000050, ExpiresAt: 1700000170,
	}.Canonical()
	signature, err := receipt.Sign(key, signed)
	if err != nil {
		panic(err)
	}
	proof, err := json.Marshal(receipt.Receipt{
		Answer: base64.RawURLEncoding.EncodeToString(signed), Signature: signature,
		Enrollment: receipt.Enrollment{Device: "589d12e07d558e6b91e9370a", Grant: 7, PublicKey: receipt.EncodePublicKey(&key.PublicKey), Method: "ticket", EnrolledAt: 1700000000},
	})
	if err != nil {
		panic(err)
	}
	return string(proof)
}

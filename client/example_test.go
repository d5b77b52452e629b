// This file shows the package in use.

package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/receipt"
)

func Example() {
	c, err := client.New(client.Config{
		BaseURL: exampleAddress(), // your server's address
		APIKey:  "the-application-api-key",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()

	// Once, at sign-up. Keep the id with the account.
	id, err := c.AddUser(ctx, client.NewUser{Email: "ana@example.com", CountryCode: "1", Phone: "202-555-0123"})
	if err != nil {
		fmt.Println(err)
		return
	}

	// At each log-in, after the password was right.
	approval, err := c.CreateApproval(ctx, id, client.ApprovalRequest{
		Message: "Log in to Example?",
		Details: []client.Field{{Name: "Account", Value: "ana@example.com"}, {Name: "Address", Value: "192.0.2.7"}},
		Expire:  2 * time.Minute,
		Match:   client.MatchType,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("Type on your device:", approval.Match.Value)

	approval, err = c.Decision(ctx, approval.UUID) // waits, at most two minutes here
	if err != nil {
		fmt.Println(err)
		return
	}
	if approval.Status == client.StatusApproved && approval.AuthyID == id {
		fmt.Println("Welcome.")
	}
	// Output:
	// Type on your device: 042
	// Welcome.
}

func ExampleClient_VerifyCode() {
	c, err := client.New(client.Config{
		BaseURL: exampleAddress(), // your server's address
		APIKey:  "the-application-api-key",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = c.VerifyCode(context.Background(), 1635, "123 4567", client.CodeOptions{})
	switch {
	case err == nil:
		fmt.Println("Welcome.")
	case errors.Is(err, client.ErrCodeWrong), errors.Is(err, client.ErrCodeUsed):
		fmt.Println("That code is not right. Type the one shown now.")
	case errors.Is(err, client.ErrSuspended):
		fmt.Println("Too many wrong codes. Use another way to sign in.")
	default:
		fmt.Println("Codes cannot be checked at the moment.") // and log err
	}
	// Output: That code is not right. Type the one shown now.
}

// An application that must not trust even the server pins the keys of a user's devices and checks the receipt of each decision.
func ExampleApproval() {
	c, err := client.New(client.Config{
		BaseURL: exampleAddress(), // your server's address
		APIKey:  "the-application-api-key",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()

	// When a device is enrolled: keep its key with the account.
	user, err := c.User(ctx, 1635)
	if err != nil {
		fmt.Println(err)
		return
	}
	var pinned []string
	for _, device := range user.DetailedDevices {
		pinned = append(pinned, device.PublicKey)
	}

	// When a decision arrives: everything expected comes from the application's own records and configuration.
	approval, err := c.Approval(ctx, "8d031630-d15b-4134-b0a8-0a77bbe8093e")
	if err != nil {
		fmt.Println(err)
		return
	}
	if approval.Receipt == nil {
		fmt.Println("Status", approval.Status, "without a proof.")
		return
	}
	asked := client.ApprovalRequest{
		Message: "Send money to Bo?",
		Details: []client.Field{{Name: "Amount", Value: "10 €"}},
	}
	expected := receipt.Expected{
		Origin:      "https://auth.example.com", // where devices open the authenticator
		Application: "58547f6f4014250a11c201f6", // the Id of "countersign app show"
		User:        1635,
		Approval:    "8d031630-d15b-4134-b0a8-0a77bbe8093e",
		Content:     asked.Content("Example"),
		Decision:    receipt.Approve,
		Keys:        pinned,
	}
	fmt.Println(approval.Receipt.Verify(expected))

	// The yes is to this amount, and to no other.
	asked.Details = []client.Field{{Name: "Amount", Value: "1,000 €"}}
	expected.Content = asked.Content("Example")
	fmt.Println(approval.Receipt.Verify(expected))
	// Output:
	// <nil>
	// receipt: answer to something else: shown
}

// A phone number is proved without a user, for example before there is an account.
func ExampleClient_StartPhoneVerification() {
	c, err := client.New(client.Config{
		BaseURL: exampleAddress(), // your server's address
		APIKey:  "the-application-api-key",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	phone := client.Phone{CountryCode: "1", Number: "202-555-0123"}
	started, err := c.StartPhoneVerification(ctx, client.PhoneVerification{Phone: phone})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(started.Message)
	switch err := c.CheckPhoneVerification(ctx, phone, "123 456"); {
	case err == nil:
		fmt.Println("proved")
	case errors.Is(err, client.ErrCodeWrong):
		fmt.Println("that is not the code")
	default:
		fmt.Println(err)
	}
	// Output:
	// Text message sent to +1 202-555-0123.
	// proved
}

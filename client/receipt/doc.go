// Package receipt owns the bytes that a person's device signs, and their verification.
//
// A device never signs what a server tells it to sign. It signs canonical JSON ([RFC 8785]) that it
// builds itself from what it shows: the [Answer] to an approval, the [EnrollmentProof] that a new key is held,
// and the [SessionProof] that a known device is back. Each names its format, so that one never passes
// for another. The server builds the same bytes from its own row, and an application that kept what it
// asked for builds them a third time: [Receipt.Verify] needs no server.
//
// The authenticator builds these bytes in TypeScript; testdata/vectors.json binds both to the same result.
//
// What a receipt proves: the holder of the pinned private key gave this decision about exactly this content.
// Whoever holds the provider's database or its API cannot invent that. What it does not prove: that the page
// which showed the content was honest. The authenticator's own origin remains trusted.
//
// Binary values are base64url without padding everywhere (called b64 below). Times are Unix seconds.
//
// [RFC 8785]: https://www.rfc-editor.org/rfc/rfc8785
package receipt

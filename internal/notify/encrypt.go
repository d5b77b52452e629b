package notify

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// This file owns message encryption for Web Push (RFC 8291), which is one aes128gcm record (RFC 8188).

const (
	recordSize = 4096 // what every push service takes
	maxPlain   = 3993 // RFC 8291 section 4
	padTo      = 128  // a message's length says nothing about what is in it
)

// encrypt returns the body of a push message that only the subscription's browser can read.
func encrypt(sub Subscription, plain []byte) ([]byte, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader) // a fresh one for each message
	if err != nil {
		return nil, err
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	return encryptWith(sub, plain, padding(len(plain)), key, salt)
}

// padding is how many bytes bring a record to a multiple of padTo.
func padding(plain int) int { return padTo - 1 - plain%padTo }

func encryptWith(sub Subscription, plain []byte, pad int, key *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	if len(plain)+pad > maxPlain {
		return nil, fmt.Errorf("a push message of %d bytes is too long", len(plain)+pad)
	}
	browser, err := ecdh.P256().NewPublicKey(sub.P256dh)
	if err != nil {
		return nil, fmt.Errorf("the subscription's key: %w", err)
	}
	shared, err := key.ECDH(browser)
	if err != nil {
		return nil, err
	}
	own := key.PublicKey().Bytes()
	// RFC 8291 section 3.4: the shared secret is bound to both keys and mixed with the subscription's own secret …
	secret, err := hkdf.Key(sha256.New, shared, sub.Auth, "WebPush: info\x00"+string(sub.P256dh)+string(own), 32)
	if err != nil {
		return nil, err
	}
	// … and gives the content's key and nonce (RFC 8188 section 2.2).
	contentKey, err := hkdf.Key(sha256.New, secret, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, secret, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	body := append(make([]byte, 0, recordSize), salt...)
	body = binary.BigEndian.AppendUint32(body, recordSize)
	body = append(append(body, byte(len(own))), own...)
	record := append(bytes.Clone(plain), 2) // 2: the last record
	return aead.Seal(body, nonce, append(record, make([]byte, pad)...), nil), nil
}

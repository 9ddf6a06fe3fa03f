package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"hearth/domain"
)

// KeysCmd is `hearth keys`.
type KeysCmd struct {
	New KeysNewCmd `cmd:"" help:"Print a fresh key, and the line for auth.api_keys or console.keys."`
}

// KeysNewCmd is `hearth keys new`.
type KeysNewCmd struct {
	ID string `help:"Id of the key, told as operator of what is sent with it. Default: made up."`
}

// Run prints the key, which is kept nowhere, and its hashed line.
func (c *KeysNewCmd) Run(p *Process) error {
	id := c.ID
	if id == "" {
		id = "key-" + hex.EncodeToString(randomBytes(3))
	}
	if err := domain.CheckID("--id", id); err != nil {
		return usageError{err}
	}
	key := "hk_" + base64.RawURLEncoding.EncodeToString(randomBytes(32))
	sum := sha256.Sum256([]byte(key))
	fmt.Fprintf(p.Stdout, "key    %s\nline   %s:%s\n", key, id, hex.EncodeToString(sum[:]))
	fmt.Fprintln(p.Stderr, "The app server sends the key (Authorization: Bearer …); it is not shown again. The line goes to auth.api_keys, or for the console to console.keys.")
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

// usageError is a mistake on the command line that the parser cannot see.
type usageError struct{ error }

// ExitCode makes it exit like the ones the parser sees.
func (usageError) ExitCode() int { return exitConfig }

func (e usageError) Unwrap() error { return e.error }

package configs

import (
	"fmt"
	"strings"
)

// minSecretBytes is what HS256 wants: a key no shorter than its hash (RFC 7518, 3.2).
const minSecretBytes = 32

// CheckServe reports, as Mistakes, why `hearth serve` must not start with c: what Load checks, and that the secret
// and the addresses of Redis and MySQL are there. LoadServe says the same with places in the file.
func (c Config) CheckServe() error {
	var mistakes Mistakes
	for _, b := range append(c.breaches(), c.forServe()...) {
		mistakes = append(mistakes, Mistake{Key: b.key, Message: b.message})
	}
	return mistakes.orNil()
}

// forServe checks what only serve needs.
func (c Config) forServe() []breach {
	var list []breach
	if len(c.Redis.Addrs) == 0 {
		list = append(list, breach{"redis.addrs", "is required: host:port of Redis"})
	}
	if c.MySQL.DSN == "" {
		list = append(list, breach{"mysql.dsn", "is required: user:password@tcp(host:3306)/database"})
	}
	if why := weakness(c.Auth.JWTHMACSecret); why != "" {
		list = append(list, breach{"auth.jwt_hmac_secret", why + "; `hearth config init` makes a fresh one"})
	}
	if secret := c.Uploads.Secret; secret != "" && weakness(secret) != "" {
		list = append(list, breach{"uploads.secret", weakness(secret)})
	}
	return list
}

// weakness says why a secret must not be used, "" for nothing against it. Who knows or guesses the secret is
// any user he likes.
func weakness(s Secret) string {
	plain := strings.ToLower(s.Reveal())
	switch {
	case plain == "":
		return "is required"
	case len(plain) < minSecretBytes:
		return fmt.Sprintf("has %d bytes, needs at least %d", len(plain), minSecretBytes)
	case isSample(plain):
		return "is a well-known sample secret"
	case distinctBytes(plain) < 5:
		return "repeats a few characters"
	default:
		return ""
	}
}

// isSample knows the secrets that stand in samples and tutorials.
func isSample(plain string) bool {
	for _, start := range []string{"changeme", "change-me", "change_me", "change this", "your-", "your_", "secretsecret", "passwordpassword"} {
		if strings.HasPrefix(plain, start) {
			return true
		}
	}
	return false
}

func distinctBytes(s string) int {
	seen := make(map[byte]bool)
	for i := range len(s) {
		seen[s[i]] = true
	}
	return len(seen)
}

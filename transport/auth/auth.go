// Package auth tells who a request comes from: a user by his JWT, an app server by its API key
// (PROTOCOL.md §2). It does no I/O. What it refuses is refused as unauthorized, and neither the error nor its
// cause repeats the token.
package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"hearth/domain"
)

// Leeway is how far clocks may differ: so long a token holds behind its exp.
const Leeway = 30 * time.Second

const minSecretBytes = 32 // RFC 7518 §3.2: not shorter than the hash

// lastExpiry is the last exp that is taken: what lies behind it overflows somewhere.
var lastExpiry = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Config is what a Verifier believes in.
type Config struct {
	// HMACSecret signs users' tokens (HS256): 32 bytes at least.
	HMACSecret []byte
	// APIKeys are the app servers' keys: id → SHA-256 of the key, in hex. An id is one of the protocol, for it
	// stands in messages as operator.
	APIKeys map[string]string
	// AllowQueryToken lets ?access_token= through on upgrades; such tokens end up in access logs.
	AllowQueryToken bool
}

// Verifier checks tokens and keys. It may be used concurrently.
type Verifier struct {
	secret     []byte
	keys       []apiKey
	parser     *jwt.Parser
	queryToken bool
}

type apiKey struct {
	id  string
	sum [sha256.Size]byte
}

// New checks the configuration; its errors name no secret.
func New(cfg Config) (*Verifier, error) {
	if len(cfg.HMACSecret) < minSecretBytes {
		return nil, fmt.Errorf("auth: the HMAC secret is shorter than %d bytes", minSecretBytes)
	}
	v := &Verifier{
		secret: append([]byte(nil), cfg.HMACSecret...),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(Leeway),
			jwt.WithStrictDecoding(),
		),
		queryToken: cfg.AllowQueryToken,
	}
	for id, sum := range cfg.APIKeys {
		if !domain.ValidID(id) {
			return nil, fmt.Errorf("auth: %q cannot be the id of an API key", id)
		}
		hash, err := hex.DecodeString(sum)
		if err != nil || len(hash) != sha256.Size {
			return nil, fmt.Errorf("auth: API key %s: its hash is not a SHA-256 in hex", id)
		}
		v.keys = append(v.keys, apiKey{id: id, sum: [sha256.Size]byte(hash)})
	}
	return v, nil
}

// Claims is what a user's token says.
type Claims struct {
	User    string
	Device  string // class, e.g. ios; "" if the token names none
	Name    string
	Expires time.Time
}

type tokenClaims struct {
	jwt.RegisteredClaims
	Device string `json:"device,omitempty"`
	Name   string `json:"name,omitempty"`
}

// UnmarshalJSON matches names with case and refuses repeated ones: encoding/json would take SUB for sub, and the last
// of two.
func (c *tokenClaims) UnmarshalJSON(data []byte) error {
	type plain tokenClaims
	return json.Unmarshal(data, (*plain)(c))
}

// User checks a user's token: signature, times, and that its subject can be a user.
func (v *Verifier) User(token string) (Claims, error) {
	var c tokenClaims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("critical header not understood") // RFC 7515, 4.1.11
		}
		return v.secret, nil
	})
	if err != nil {
		return Claims{}, refusal(err)
	}
	if err := domain.CheckUser("sub", c.Subject); err != nil {
		return Claims{}, unauthorized("the token's sub is not a user id", nil)
	}
	if c.ExpiresAt.Unix() > lastExpiry.Unix() { // not After: such times have wrapped around
		return Claims{}, unauthorized("the token's exp is too far away", nil)
	}
	if c.Device != "" && !domain.ValidID(c.Device) {
		return Claims{}, unauthorized("the token's device is not an id", nil)
	}
	return Claims{User: c.Subject, Device: c.Device, Name: c.Name, Expires: c.ExpiresAt.Time}, nil
}

// refusal keeps the kind of a parser's error, but not its text, which may quote the token.
func refusal(err error) error {
	kinds := []struct {
		err     error
		message string
	}{
		{jwt.ErrTokenExpired, "the token has expired"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "the token is not valid yet"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks exp"},
		{jwt.ErrTokenMalformed, "the token is not a JWT"},
		{jwt.ErrTokenSignatureInvalid, "the token is not signed with this server's secret, by HS256"},
	}
	for _, kind := range kinds {
		if errors.Is(err, kind.err) {
			return unauthorized(kind.message, kind.err)
		}
	}
	return unauthorized("the token is not valid", nil)
}

// Key finds the API key that this is, by its hash; it takes the same time for every key.
func (v *Verifier) Key(key string) (id string, ok bool) {
	sum := sha256.Sum256([]byte(key))
	for i := range v.keys {
		if subtle.ConstantTimeCompare(sum[:], v.keys[i].sum[:]) == 1 {
			id, ok = v.keys[i].id, true
		}
	}
	return id, ok
}

func unauthorized(message string, cause error) error {
	return &domain.Error{Code: domain.CodeUnauthorized, Message: message, Err: cause}
}

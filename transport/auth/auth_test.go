package auth

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apiKeyText = "key-of-the-shop-server"

var secret = []byte(strings.Repeat("s", 32))

func newVerifier(t *testing.T, change func(*Config)) *Verifier {
	t.Helper()
	cfg := Config{HMACSecret: secret, APIKeys: map[string]string{"shop": sha256Hex(apiKeyText), "other": sha256Hex("x")}}
	if change != nil {
		change(&cfg)
	}
	v, err := New(cfg)
	require.NoError(t, err)
	return v
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func sign(t *testing.T, method jwt.SigningMethod, key crypto.PrivateKey, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return token
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func TestUserOfValidTokens(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, nil)
	for name, claims := range map[string]jwt.MapClaims{
		"plain":                {"sub": "ann", "exp": in(time.Hour)},
		"expired in leeway":    {"sub": "ann", "exp": in(-10 * time.Second)},
		"valid soon in leeway": {"sub": "ann", "exp": in(time.Hour), "nbf": in(10 * time.Second), "iat": in(10 * time.Second)},
	} {
		got, err := v.User(sign(t, jwt.SigningMethodHS256, secret, claims))
		require.NoError(t, err, name)
		require.Equal(t, "ann", got.User, name)
		require.Equal(t, claims["exp"], got.Expires.Unix(), name)
	}
	got, err := v.User(sign(t, jwt.SigningMethodHS256, secret,
		jwt.MapClaims{"sub": "ann", "exp": in(time.Hour), "device": "ios", "name": "Ann"}))
	require.NoError(t, err)
	require.Equal(t, "ios", got.Device)
	require.Equal(t, "Ann", got.Name)
}

func TestUserRefuses(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	require.NoError(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	good := jwt.MapClaims{"sub": "ann", "exp": in(time.Hour)}
	hs := func(claims jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, secret, claims) }
	valid := hs(good)
	parts := strings.Split(valid, ".")

	for name, token := range map[string]string{
		"alg none":               sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good),
		"RS256":                  sign(t, jwt.SigningMethodRS256, rsaKey, good),
		"HS256 with public key":  sign(t, jwt.SigningMethodHS256, publicPEM, good),
		"HS512":                  sign(t, jwt.SigningMethodHS512, secret, good),
		"other secret":           sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("o", 32)), good),
		"expired":                hs(jwt.MapClaims{"sub": "ann", "exp": in(-time.Minute)}),
		"no exp":                 hs(jwt.MapClaims{"sub": "ann"}),
		"exp of no year":         hs(jwt.MapClaims{"sub": "ann", "exp": 1e16}),
		"exp that wraps around":  hs(jwt.MapClaims{"sub": "ann", "exp": int64(1) << 62}),
		"not yet valid":          hs(jwt.MapClaims{"sub": "ann", "exp": in(time.Hour), "nbf": in(time.Minute)}),
		"issued in the future":   hs(jwt.MapClaims{"sub": "ann", "exp": in(time.Hour), "iat": in(time.Minute)}),
		"reserved sub":           hs(jwt.MapClaims{"sub": "system", "exp": in(time.Hour)}),
		"no sub":                 hs(jwt.MapClaims{"exp": in(time.Hour)}),
		"sub that is no id":      hs(jwt.MapClaims{"sub": "dm:a:b", "exp": in(time.Hour)}),
		"sub of another type":    hs(jwt.MapClaims{"sub": 7, "exp": in(time.Hour)}),
		"exp of another type":    hs(jwt.MapClaims{"sub": "ann", "exp": "soon"}),
		"device that is no id":   hs(jwt.MapClaims{"sub": "ann", "exp": in(time.Hour), "device": "a b"}),
		"changed payload":        parts[0] + "." + strings.Split(hs(jwt.MapClaims{"sub": "bob", "exp": in(time.Hour)}), ".")[1] + "." + parts[2],
		"cut signature":          parts[0] + "." + parts[1] + ".",
		"two parts":              parts[0] + "." + parts[1],
		"nonsense":               "not-a-token",
		"empty":                  "",
		"API key where a JWT is": apiKeyText,
	} {
		t.Run(name, func(t *testing.T) {
			claims, err := v.User(token)
			require.Equal(t, domain.CodeUnauthorized, domain.CodeOf(err))
			require.Equal(t, Claims{}, claims)
			if len(token) > 0 {
				require.NotContains(t, err.Error(), token)
			}
			if parts := strings.Split(token, "."); len(parts) > 1 {
				require.NotContains(t, err.Error(), parts[1])
			}
		})
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, nil)
	id, ok := v.Key(apiKeyText)
	require.True(t, ok)
	require.Equal(t, "shop", id)
	for _, bad := range []string{"", "y", apiKeyText + "x", sha256Hex(apiKeyText)} {
		_, ok := v.Key(bad)
		require.False(t, ok, bad)
	}
}

func TestFromRequest(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, nil)
	token := sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann", "exp": in(time.Hour)})
	for name, c := range map[string]struct {
		headers []string
		target  string
		want    domain.Actor
	}{
		"user":                  {headers: []string{"Bearer " + token}, want: domain.Actor{User: "ann"}},
		"scheme in lower case":  {headers: []string{"bearer " + token}, want: domain.Actor{User: "ann"}},
		"app server":            {headers: []string{"Bearer " + apiKeyText}, want: domain.Actor{Key: "shop"}},
		"no header":             {},
		"other scheme":          {headers: []string{"Basic " + token}},
		"scheme alone":          {headers: []string{"Bearer "}},
		"two headers":           {headers: []string{"Bearer " + token, "Bearer " + token}},
		"unknown key":           {headers: []string{"Bearer nope"}},
		"query is for upgrades": {target: "/?access_token=" + token},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/"+strings.TrimPrefix(c.target, "/"), nil)
			for _, h := range c.headers {
				r.Header.Add("Authorization", h)
			}
			actor, _, err := v.FromRequest(r)
			require.Equal(t, c.want, actor)
			if c.want == (domain.Actor{}) {
				require.Equal(t, domain.CodeUnauthorized, domain.CodeOf(err))
				require.NotContains(t, err.Error(), token)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestUserFromUpgrade(t *testing.T) {
	t.Parallel()
	strict := newVerifier(t, nil)
	dev := newVerifier(t, func(c *Config) { c.AllowQueryToken = true })
	token := sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "ann", "exp": in(time.Hour)})
	upgrade := func(query, authorization, subprotocols string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/v1/ws"+query, nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		if subprotocols != "" {
			r.Header.Set("Sec-WebSocket-Protocol", subprotocols)
		}
		return r
	}
	for name, c := range map[string]struct {
		v  *Verifier
		r  *http.Request
		ok bool
	}{
		"header":               {strict, upgrade("", "Bearer "+token, ""), true},
		"subprotocol":          {strict, upgrade("", "", "hearth.v1, hearth.token."+token), true},
		"query in dev":         {dev, upgrade("?access_token="+token, "", "hearth.v1"), true},
		"query elsewhere":      {strict, upgrade("?access_token="+token, "", "hearth.v1"), false},
		"API key":              {strict, upgrade("", "Bearer "+apiKeyText, ""), false},
		"key as subprotocol":   {strict, upgrade("", "", "hearth.token."+apiKeyText), false},
		"empty subprotocol":    {strict, upgrade("", "", "hearth.v1, hearth.token."), false},
		"nothing":              {dev, upgrade("", "", ""), false},
		"bad header good list": {strict, upgrade("", "Bearer nope", "hearth.token."+token), false},
	} {
		t.Run(name, func(t *testing.T) {
			claims, err := c.v.UserFromUpgrade(c.r)
			if c.ok {
				require.NoError(t, err)
				require.Equal(t, "ann", claims.User)
				return
			}
			require.Equal(t, domain.CodeUnauthorized, domain.CodeOf(err))
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"no secret":    {},
		"short secret": {HMACSecret: []byte("short")},
		"bad key id":   {HMACSecret: secret, APIKeys: map[string]string{`a"b`: sha256Hex("x")}},
		"bad hash":     {HMACSecret: secret, APIKeys: map[string]string{"a": "zz"}},
		"long hash":    {HMACSecret: secret, APIKeys: map[string]string{"a": sha256Hex("x") + "00"}},
		"key as text":  {HMACSecret: secret, APIKeys: map[string]string{"a": strings.Repeat("g", 64)}},
	} {
		_, err := New(cfg)
		require.Error(t, err, name)
	}
}

// signed makes a token of claims and header as they are written.
func signed(header, claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	content := encode([]byte(header)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(content))
	return content + "." + encode(mac.Sum(nil))
}

func TestUserReadsClaimsStrictly(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, nil)
	const header = `{"alg":"HS256","typ":"JWT"}`
	exp := fmt.Sprint(in(time.Hour))
	good := signed(header, `{"sub":"u","exp":`+exp+`}`)
	if c, err := v.User(good); err != nil || c.User != "u" {
		t.Fatalf("got %+v, %v", c, err)
	}
	for name, token := range map[string]string{
		"two subs by case":      signed(header, `{"sub":"u","SUB":"victim","exp":`+exp+`}`),
		"a sub of another case": signed(header, `{"Sub":"u","exp":`+exp+`}`),
		"two subs":              signed(header, `{"sub":"u","sub":"victim","exp":`+exp+`}`),
		"two exps by case":      signed(header, `{"sub":"u","exp":1,"Exp":`+exp+`}`),
		"a critical header":     signed(`{"alg":"HS256","crit":["x"],"x":1}`, `{"sub":"u","exp":`+exp+`}`),
	} {
		c, err := v.User(token)
		switch {
		case name == "two subs by case" && err == nil && c.User == "u": // the other name means nothing
		case domain.CodeOf(err) != domain.CodeUnauthorized:
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
}

package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hearth/domain"
)

const (
	cookieName = "hearth_console"
	sessionTTL = 12 * time.Hour
)

// session is who asks, and until when he may. ends is zero for who shows his key with each request.
type session struct {
	key  string // its id
	id   string // of the session; "" as ends
	ends time.Time
}

// owner is by whom streams are counted.
func (s session) owner() string { return s.key + " " + s.id }

// keyring knows the admin keys and signs sessions. Two instances with the same keys and secret take each other's.
type keyring struct {
	sums   map[string][sha256.Size]byte // by id
	secret []byte
	wrong  *guesses
}

func newKeyring(sums map[string][sha256.Size]byte, secret []byte) *keyring {
	return &keyring{sums: sums, secret: secret, wrong: newGuesses()}
}

// find is the id of a key. It takes the same time for every key; of an address with too many wrong ones none is looked at.
func (k *keyring) find(key, address string) (id string, err error) {
	k.wrong.mu.Lock()
	defer k.wrong.mu.Unlock()
	if k.wrong.tooMany(address) {
		return "", &domain.Error{Code: domain.CodeRateLimited, Message: "too many wrong keys, wait a moment", RetryAfter: time.Second}
	}
	sum := sha256.Sum256([]byte(key))
	for known, want := range k.sums {
		if subtle.ConstantTimeCompare(sum[:], want[:]) == 1 {
			id = known
		}
	}
	if id == "" {
		k.wrong.note(address)
		return "", domain.Errorf(domain.CodeUnauthorized, "this is no key of the console (console.keys)")
	}
	return id, nil
}

// sign makes a cookie's value: <end>.<session id>.<signature>.<key id>, that last because it may have dots.
func (k *keyring) sign(s session) string {
	end := strconv.FormatInt(s.ends.Unix(), 10)
	return end + "." + s.id + "." + base64.RawURLEncoding.EncodeToString(k.mac(end, s.id, s.key)) + "." + s.key
}

// mac goes by the key itself as well: with another key under the same id, or none, the sessions end.
func (k *keyring) mac(end, session, id string) []byte {
	sum := k.sums[id]
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte("hearth console session\x00"))
	mac.Write(sum[:])
	mac.Write([]byte(end + "\x00" + session + "\x00" + id))
	return mac.Sum(nil)
}

// open reads a cookie's value; ok is false for what was not signed here, has ended, or is of a key that there is not.
func (k *keyring) open(value string, now time.Time) (s session, ok bool) {
	parts := strings.SplitN(value, ".", 4)
	if len(parts) != 4 {
		return session{}, false
	}
	end, sessionID, id := parts[0], parts[1], parts[3]
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(signature, k.mac(end, sessionID, id)) {
		return session{}, false
	}
	if _, known := k.sums[id]; !known {
		return session{}, false
	}
	seconds, err := strconv.ParseInt(end, 10, 64)
	if err != nil || now.Unix() >= seconds {
		return session{}, false
	}
	return session{key: id, id: sessionID, ends: time.Unix(seconds, 0)}, true
}

// authenticate finds out who asks: by a key in the header, which programs send, or by the cookie. What a browser sends beside
// it may be a password for a proxy in front.
func (k *keyring) authenticate(r *http.Request) (session, error) {
	if scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		id, err := k.find(strings.TrimSpace(key), addressOf(r))
		return session{key: id}, err
	}
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, domain.Errorf(domain.CodeUnauthorized, "log in first, or send Authorization: Bearer and a key of the console")
	}
	s, ok := k.open(cookie.Value, time.Now())
	if !ok {
		return session{}, domain.Errorf(domain.CodeUnauthorized, "the session has ended, log in again")
	}
	return s, nil
}

// cookie is what a browser keeps; a session without an end takes it away.
func (k *keyring) cookie(r *http.Request, s session) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName, Path: "/console", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
		MaxAge: -1,
	}
	if !s.ends.IsZero() {
		c.Value, c.MaxAge = k.sign(s), int(time.Until(s.ends).Seconds())
	}
	return c
}

func (c *Console) login(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Key string `json:"key"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	id, err := c.keys.find(in.Key, addressOf(r))
	if err != nil {
		if domain.CodeOf(err) == domain.CodeUnauthorized { // so often at most as keys are looked at
			c.Log.Warn().Str("address", r.RemoteAddr).Msg("console login with a wrong key")
		}
		return err
	}
	http.SetCookie(w, c.keys.cookie(r, session{key: id, id: rand.Text(), ends: time.Now().Add(sessionTTL)}))
	c.audit(session{key: id}).Str("address", r.RemoteAddr).Msg("console login")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *Console) session(w http.ResponseWriter, _ *http.Request, s session) error {
	return writeJSON(w, struct {
		Key      string `json:"key"`
		Instance string `json:"instance"`
		Version  string `json:"version"`
	}{s.key, c.Instance, c.Version})
}

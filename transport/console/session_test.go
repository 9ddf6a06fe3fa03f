package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func login(t testing.TB, c *Console, key string, change ...func(*http.Request)) *http.Response {
	t.Helper()
	return do(c, request("POST", "/console/api/login", fmt.Sprintf(`{"key":%q}`, key), change...))
}

func cookieOf(t testing.TB, response *http.Response) *http.Cookie {
	t.Helper()
	require.Equal(t, http.StatusNoContent, response.StatusCode, text(t, response))
	require.Len(t, response.Cookies(), 1)
	return response.Cookies()[0]
}

func TestLoginGivesASessionOfTwelveHours(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := newConsole(t, b)
	cookie := cookieOf(t, login(t, c, otherKey))
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.Equal(t, "/console", cookie.Path)
	require.False(t, cookie.Secure)
	require.InDelta(t, 12*3600, cookie.MaxAge, 5)
	response := do(c, request("GET", "/console/api/session", "", with(cookie)))
	require.JSONEq(t, `{"key":"night.shift","instance":"a","version":"v1"}`, text(t, response))

	secure := cookieOf(t, login(t, c, adminKey, func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") }))
	require.True(t, secure.Secure)

	gone := cookieOf(t, do(c, request("POST", "/console/api/logout", "{}", with(cookie))))
	require.Empty(t, gone.Value)
	require.Negative(t, gone.MaxAge)
	require.Contains(t, b.logged(), `"key":"night.shift","address":"192.0.2.1:1234","message":"console login"`)
	require.NotContains(t, b.logged(), otherKey)
}

func TestLoggingOutEndsTheSessionEverywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis := &backend{}
		one, two := newConsole(t, redis), newConsole(t, redis)
		gone, stays := with(cookieOf(t, login(t, one, adminKey))), with(cookieOf(t, login(t, one, adminKey)))
		here, there := watch(t, one, "/console/api/events", gone), watch(t, two, "/console/api/events", gone)
		other := watch(t, one, "/console/api/events", stays)
		cookieOf(t, do(one, request("POST", "/console/api/logout", "{}", gone)))
		require.True(t, here.hasEnded(), "at once")
		pass(time.Second)
		require.True(t, there.hasEnded())
		require.False(t, other.hasEnded(), "another session of the same key")
		for _, c := range []*Console{one, two} {
			requireRefused(t, do(c, request("GET", "/console/api/session", "", gone)), domain.CodeUnauthorized)
			require.Equal(t, http.StatusOK, do(c, request("GET", "/console/api/session", "", stays)).StatusCode)
		}
		redis.set(func() { redis.redisErr = errDown })
		requireRefused(t, do(two, request("GET", "/console/api/session", "", gone)), domain.CodeUnauthorized)
		cookieOf(t, do(one, request("POST", "/console/api/logout", "{}", stays)))
		requireRefused(t, do(one, request("GET", "/console/api/session", "", stays)), domain.CodeUnauthorized)
		require.Contains(t, redis.logged(), "console logout not told to the other instances")
		require.True(t, other.hasEnded())
	})
}

func TestInstancesTakeEachOthersSessions(t *testing.T) {
	t.Parallel()
	cookie := cookieOf(t, login(t, newConsole(t, &backend{}), adminKey))
	for name, c := range map[string]struct {
		change func(*Config)
		want   int
	}{
		"another instance":              {func(c *Config) { c.Instance = "b" }, http.StatusOK},
		"the key is no longer there":    {func(c *Config) { delete(c.Keys, "ops") }, http.StatusUnauthorized},
		"another key under the same id": {func(c *Config) { c.Keys = sums(map[string]string{"ops": "new"}) }, http.StatusUnauthorized},
		"another secret":                {func(c *Config) { c.Secret = []byte("other") }, http.StatusUnauthorized},
	} {
		other := newConsole(t, &backend{}, c.change)
		require.Equal(t, c.want, do(other, request("GET", "/console/api/session", "", with(cookie))).StatusCode, name)
	}
}

func TestForgedSessionsAreRefused(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	good := cookieOf(t, login(t, c, adminKey)).Value
	parts := strings.SplitN(good, ".", 4)
	later := fmt.Sprint(time.Now().Add(1000 * time.Hour).Unix())
	ended := c.keys.sign(session{key: "ops", ends: time.Now().Add(-time.Second)})
	unknown := c.keys.sign(session{key: "nobody", ends: time.Now().Add(time.Hour)})
	for name, value := range map[string]string{
		"nothing": "", "no parts": "x", "three parts": parts[0] + "." + parts[1] + "." + parts[2],
		"a later end":     later + "." + parts[1] + "." + parts[2] + "." + parts[3],
		"another session": parts[0] + ".A." + parts[2] + "." + parts[3],
		"another key":     parts[0] + "." + parts[1] + "." + parts[2] + ".night.shift",
		"no signature":    parts[0] + "." + parts[1] + ".." + parts[3], "not base64": parts[0] + "." + parts[1] + ".!." + parts[3],
		"ended": ended, "signed for nobody": unknown,
	} {
		requireRefused(t, do(c, request("GET", "/console/api/session", "", with(&http.Cookie{Name: cookieName, Value: value}))), domain.CodeUnauthorized)
		_, ok := c.keys.open(value, time.Now())
		require.False(t, ok, name)
	}
	_, ok := c.keys.open(good, time.Now().Add(sessionTTL-time.Minute))
	require.True(t, ok)
	_, ok = c.keys.open(good, time.Now().Add(sessionTTL+time.Second))
	require.False(t, ok)
}

func TestKeysAreTakenAsBearerToo(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	for header, want := range map[string]int{
		"Bearer " + adminKey: http.StatusOK, "bearer " + otherKey: http.StatusOK,
		"Bearer wrong": http.StatusUnauthorized, "Basic " + adminKey: http.StatusUnauthorized, "Bearer": http.StatusUnauthorized,
	} {
		response := do(c, request("GET", "/console/api/session", "", func(r *http.Request) { r.Header.Set("Authorization", header) }))
		require.Equal(t, want, response.StatusCode, header)
	}
}

func TestASessionHoldsBehindAProxyThatAsksForAPassword(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	cookie := cookieOf(t, login(t, c, adminKey))
	throughProxy := func(r *http.Request) { r.SetBasicAuth("anybody", "the proxy's password") }
	require.Equal(t, http.StatusOK, do(c, request("GET", "/console/api/session", "", throughProxy, with(cookie))).StatusCode)
	requireRefused(t, do(c, request("GET", "/console/api/session", "", throughProxy)), domain.CodeUnauthorized)
	requireRefused(t, do(c, request("GET", "/console/api/session", "", with(cookie), func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer wrong")
	})), domain.CodeUnauthorized)
}

func TestWrongKeysAreFewASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, &backend{})
		cookie := cookieOf(t, login(t, c, adminKey))
		for range 3 {
			requireRefused(t, login(t, c, "wrong"), domain.CodeUnauthorized)
		}
		refused := login(t, c, adminKey)
		require.Equal(t, http.StatusTooManyRequests, refused.StatusCode, "or guesses would be told from the key")
		require.NotEmpty(t, refused.Header.Get("Retry-After"))
		requireRefused(t, refused, domain.CodeRateLimited)
		requireRefused(t, do(c, request("GET", "/console/api/session", "", asAdmin)), domain.CodeRateLimited)
		require.Equal(t, http.StatusOK, do(c, request("GET", "/console/api/session", "", with(cookie))).StatusCode, "who is in stays in")
		from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
		cookieOf(t, login(t, c, adminKey, from("192.0.2.2:1234"))) // nobody is kept out by what others guess
		requireRefused(t, login(t, c, adminKey, from("192.0.2.1:99")), domain.CodeRateLimited)
		for _, address := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"} {
			requireRefused(t, login(t, c, "wrong", from(address)), domain.CodeUnauthorized)
		}
		requireRefused(t, login(t, c, adminKey, from("[2001:db8::4]:1")), domain.CodeRateLimited)
		time.Sleep(time.Second)
		for range 10 {
			cookieOf(t, login(t, c, adminKey)) // right ones take no turn
		}
	})
}

func TestGuessersAreCountedUpToABound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGuesses()
		for n := range maxGuessers {
			g.note(fmt.Sprint("guesser ", n))
		}
		for n := range 3 {
			require.False(t, g.tooMany("another"))
			g.note(fmt.Sprint("more ", n))
		}
		require.Len(t, g.of, maxGuessers)
		require.True(t, g.tooMany("another"), "all others are one")
		require.False(t, g.tooMany("guesser 7"))
		time.Sleep(time.Second)
		g.note("another")
		require.Len(t, g.of, 1, "who has stopped is forgotten")
	})
}

func TestOnlyThePageItselfLogsInOrChangesAnything(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	cookie := cookieOf(t, login(t, c, adminKey))
	for name, change := range map[string]func(*http.Request){
		"another site":            func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a sister site":           func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"an old browser":          func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"another port's own page": func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:8080") },
	} {
		for _, path := range []string{"/console/api/login", "/console/api/groups/tea/messages", "/console/api/dead/retry"} {
			response := do(c, request("POST", path, `{}`, change, with(cookie)))
			require.Equal(t, http.StatusForbidden, response.StatusCode, name+path)
			requireRefused(t, response, domain.CodeForbidden)
		}
	}
	own := func(r *http.Request) {
		r.Header.Set("Origin", home)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	cookieOf(t, login(t, c, adminKey, own))
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", ""} {
		requireRefused(t, login(t, c, adminKey, func(r *http.Request) { r.Header.Set("Content-Type", contentType) }), domain.CodeBadRequest)
	}
	for _, body := range []string{"", "{", `{"Key":"x"}`, `{"key":"x","key":"y"}`, `{"key":"x","more":1}`, `{"key":7}`, `{"key":"x"} {}`, `[]`} {
		response := do(c, request("POST", "/console/api/login", body, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }))
		requireRefused(t, response, domain.CodeBadRequest)
	}
	requireRefused(t, login(t, c, strings.Repeat("x", maxRequestBytes)), domain.CodeTooLarge)
}

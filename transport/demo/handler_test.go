package demo_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/transport/demo"
)

const (
	home  = "http://127.0.0.1:8080"
	other = "http://127.0.0.1:8081"
)

var expires = time.UnixMilli(1_800_000_000_123)

func handler(t testing.TB, change func(*demo.Config)) http.Handler {
	t.Helper()
	cfg := demo.Config{
		Sign: func(user, name string) (string, time.Time, error) {
			return "token of " + user + " called " + name, expires, nil
		},
		Instances: []string{home, other + "/"}, Rooms: []string{"tea", "music"},
	}
	if change != nil {
		change(&cfg)
	}
	return demo.Handler(cfg)
}

func do(h http.Handler, method, target string, change func(*http.Request), body ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(strings.Join(body, "")))
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

func fromPage(r *http.Request) {
	r.Header.Set("Origin", home)
	r.Header.Set("Content-Type", "application/json")
}

func TestPageAndItsFilesAreServed(t *testing.T) {
	t.Parallel()
	for target, contentType := range map[string]string{
		"/demo":                   "text/html; charset=utf-8",
		"/demo?user=ann&room=tea": "text/html; charset=utf-8",
		"/demo/":                  "text/html; charset=utf-8",
		"/demo/index.css":         "text/css; charset=utf-8",
		"/demo/main.js":           "text/javascript; charset=utf-8",
		"/demo/icon.svg":          "image/svg+xml",
	} {
		resp := do(handler(t, nil), "GET", home+target, nil)
		require.Equal(t, http.StatusOK, resp.StatusCode, target)
		require.Equal(t, contentType, resp.Header.Get("Content-Type"), target)
		require.NotEmpty(t, text(t, resp), target)

		etag := resp.Header.Get("ETag")
		again := do(handler(t, nil), "GET", home+target, func(r *http.Request) { r.Header.Set("If-None-Match", etag) })
		require.Equal(t, http.StatusNotModified, again.StatusCode, target)
	}
}

func TestWhatIsNotThereIsNotServed(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/demo/nothing", "/demo/dist/demo/main.js", "/demo/main.tsx", "/demo/../handler.go", "/demo/%2e%2e/doc.go"} {
		resp := do(handler(t, nil), "GET", home+target, nil)
		requireProblem(t, resp, http.StatusNotFound, "not_found", target)
	}
	for target, allow := range map[string]string{"/demo/token": "POST", "/demo": "GET, HEAD", "/demo/main.js": "GET, HEAD"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if strings.Contains(allow, method) {
				continue
			}
			resp := do(handler(t, nil), method, home+target, nil)
			require.Equal(t, allow, resp.Header.Get("Allow"), target)
			requireProblem(t, resp, http.StatusMethodNotAllowed, "bad_request", method+" "+target)
		}
	}
}

// The page keeps to what its own security policy allows: nothing inline, nothing from elsewhere. That it makes no markup of
// data is tested where its sources are.
func TestFilesKeepToThePolicy(t *testing.T) {
	t.Parallel()
	h := handler(t, nil)
	html := text(t, do(h, "GET", home+"/demo", nil))
	require.NotRegexp(t, `<script(\s+type="module")?>|<style|\sstyle=|\son[a-z]+=|https?://`, html)
	js := text(t, do(h, "GET", home+"/demo/main.js", nil))
	require.NotRegexp(t, `document\.write|\beval\(|new Function`, js)
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/demo", "/demo/main.js", "/demo/config.json", "/demo/token", "/demo/nothing"} {
		resp := do(handler(t, nil), "GET", home+target, nil)
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), target)
		require.Equal(t, "DENY", resp.Header.Get("X-Frame-Options"), target)
		policy := resp.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'self'", target)
		require.Contains(t, policy, "frame-ancestors 'none'", target)
		require.NotContains(t, policy, "unsafe", target)
		require.NotContains(t, policy, "data:", target)
		require.Contains(t, policy, "img-src 'self' blob:;", target)
		require.Contains(t, policy, "media-src 'self' blob:;", target)
		require.Contains(t, policy, "connect-src 'self' http://127.0.0.1:8080 ws://127.0.0.1:8080 "+
			"http://127.0.0.1:8081 ws://127.0.0.1:8081;", target)
	}
}

func TestSecureInstancesAreReachedBySecureWebSockets(t *testing.T) {
	t.Parallel()
	h := handler(t, func(c *demo.Config) { c.Instances = []string{"https://chat.example.com"} })
	policy := do(h, "GET", "https://chat.example.com/demo", nil).Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "connect-src 'self' https://chat.example.com wss://chat.example.com;")
}

func TestLocalhostIsSentToTheConfiguredAddress(t *testing.T) {
	t.Parallel()
	h := handler(t, nil)
	resp := do(h, "GET", "http://localhost:8081/demo", nil)
	require.Equal(t, http.StatusFound, resp.StatusCode)
	require.Equal(t, other+"/demo", resp.Header.Get("Location"))
	resp = do(h, "GET", "http://localhost:8080/demo?user=ann&room=tea", nil)
	require.Equal(t, home+"/demo?user=ann&room=tea", resp.Header.Get("Location"))
	require.Equal(t, http.StatusOK, do(h, "GET", "http://localhost:9999/demo", nil).StatusCode, "somebody's port forwarding")
}

func TestConfigTellsInstancesRoomsAndWindow(t *testing.T) {
	t.Parallel()
	resp := do(handler(t, nil), "GET", home+"/demo/config.json", nil)
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	require.JSONEq(t, `{"instances":["http://127.0.0.1:8080","http://127.0.0.1:8081"],
		"rooms":["tea","music"],"window_ms":300000,"weighed":false,"user_prefix":""}`, text(t, resp))

	empty := handler(t, func(c *demo.Config) {
		c.Instances, c.Rooms, c.Window, c.UserPrefix, c.Weighed = nil, nil, time.Minute, "demo-", true
	})
	require.JSONEq(t, `{"instances":[],"rooms":[],"window_ms":60000,"weighed":true,"user_prefix":"demo-"}`,
		text(t, do(empty, "GET", home+"/demo/config.json", nil)))
}

func TestTokenIsForThePage(t *testing.T) {
	t.Parallel()
	resp := do(handler(t, nil), "POST", home+"/demo/token", fromPage, `{"user":"brave-otter","name":"Brave Otter"}`)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.JSONEq(t, `{"token":"token of brave-otter called Brave Otter","expires_ms":1800000000123}`, text(t, resp))

	resp = do(handler(t, nil), "POST", other+"/demo/token", func(r *http.Request) {
		r.Header.Set("Origin", other)
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	}, `{"user":"a"}`)
	require.JSONEq(t, `{"token":"token of a called a","expires_ms":1800000000123}`, text(t, resp))
}

func TestTokenIsRefusedToOthers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*http.Request){
		"no origin":         func(r *http.Request) { r.Header.Del("Origin") },
		"another site":      func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"a sandboxed frame": func(r *http.Request) { r.Header.Set("Origin", "null") },
		"another port":      func(r *http.Request) { r.Header.Set("Origin", other) },
		"another scheme":    func(r *http.Request) { r.Header.Set("Origin", "https://127.0.0.1:8080") },
		"a rebound name": func(r *http.Request) {
			r.Host = "evil.example:8080"
			r.Header.Set("Origin", "http://evil.example:8080")
		},
	} {
		resp := do(handler(t, nil), "POST", home+"/demo/token", func(r *http.Request) { fromPage(r); change(r) }, `{"user":"a"}`)
		requireProblem(t, resp, http.StatusForbidden, "forbidden", name)
	}
}

// Where the demo stands beside real users, no token may be that of one of them.
func TestTokensAreForUsersOfThePrefixOnly(t *testing.T) {
	t.Parallel()
	h := handler(t, func(c *demo.Config) { c.UserPrefix = "demo-" })
	resp := do(h, "POST", home+"/demo/token", fromPage, `{"user":"demo-ann"}`)
	require.JSONEq(t, `{"token":"token of demo-ann called demo-ann","expires_ms":1800000000123}`, text(t, resp))
	for _, user := range []string{"ann", "Demo-ann", "demo", "ann-demo-"} {
		resp := do(h, "POST", home+"/demo/token", fromPage, `{"user":"`+user+`"}`)
		requireProblem(t, resp, http.StatusForbidden, "forbidden", user)
	}
}

// Behind a proxy the server does not know what it is called: then Host and Origin have to agree.
func TestWithoutInstancesThePageIsAtHomeWhereItWasOpened(t *testing.T) {
	t.Parallel()
	h := handler(t, func(c *demo.Config) { c.Instances = nil })
	const anywhere = "https://chat.example.com"
	resp := do(h, "POST", anywhere+"/demo/token", func(r *http.Request) {
		fromPage(r)
		r.Header.Set("Origin", anywhere)
	}, `{"user":"a"}`)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for _, origin := range []string{"https://evil.example", "null", ""} {
		resp := do(h, "POST", anywhere+"/demo/token", func(r *http.Request) {
			fromPage(r)
			r.Header.Set("Origin", origin)
		}, `{"user":"a"}`)
		requireProblem(t, resp, http.StatusForbidden, "forbidden", origin)
	}
	policy := do(h, "GET", anywhere+"/demo", nil).Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "connect-src 'self';")
}

func TestBadTokenRequestsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, detail string }{
		"no user":          {`{}`, "user: must be"},
		"empty user":       {`{"user":""}`, "user: must be"},
		"system":           {`{"user":"system"}`, "user: "},
		"white space":      {`{"user":"a b"}`, "user: must be"},
		"long user":        {`{"user":"` + strings.Repeat("a", 65) + `"}`, "user: must be"},
		"unknown field":    {`{"user":"a","admin":true}`, "admin: unknown field"},
		"another case":     {`{"User":"a"}`, "User: unknown field"},
		"a name twice":     {`{"user":"a","user":"b"}`, "user: is given twice"},
		"another type":     {`{"user":1}`, "user: has the wrong type"},
		"not UTF-8":        {"{\"user\":\"a\",\"name\":\"\xff\"}", "not valid JSON"},
		"half a surrogate": {`{"user":"a","name":"\ud800"}`, "not valid JSON"},
		"not JSON":         {`user=a`, "not valid JSON"},
		"two objects":      {`{"user":"a"}{"user":"b"}`, "not valid JSON"},
		"nothing":          {``, "not valid JSON"},
		"an array":         {`["a"]`, "must be a JSON object"},
		"markup as user":   {`{"user":"<b>"}`, "user: must be"},
	} {
		resp := do(handler(t, nil), "POST", home+"/demo/token", fromPage, c.body)
		require.Contains(t, requireProblem(t, resp, http.StatusBadRequest, "bad_request", name), c.detail, name)
	}
	for name, body := range map[string]string{
		"name: at most":     `{"user":"a","name":"` + strings.Repeat("a", 65) + `"}`,
		"the body may have": `{"user":"a","name":"` + strings.Repeat("a", 1<<20) + `"}`,
	} {
		resp := do(handler(t, nil), "POST", home+"/demo/token", fromPage, body)
		require.Contains(t, requireProblem(t, resp, http.StatusRequestEntityTooLarge, "too_large", name), name)
	}
	for name, contentType := range map[string]string{"form": "application/x-www-form-urlencoded", "text": "text/plain", "none": "", "Latin-1": "application/json; charset=latin1"} {
		resp := do(handler(t, nil), "POST", home+"/demo/token", func(r *http.Request) {
			fromPage(r)
			r.Header.Set("Content-Type", contentType)
		}, `{"user":"a"}`)
		requireProblem(t, resp, http.StatusBadRequest, "bad_request", name)
	}
}

func TestFailureToSignIsNotTold(t *testing.T) {
	t.Parallel()
	h := handler(t, func(c *demo.Config) {
		c.Sign = func(string, string) (string, time.Time, error) {
			return "", time.Time{}, errors.New("the secret is s3cret")
		}
	})
	resp := do(h, "POST", home+"/demo/token", fromPage, `{"user":"a"}`)
	require.NotContains(t, requireProblem(t, resp, http.StatusInternalServerError, "internal", "sign"), "s3cret")
}

func TestMistakesOfTheProgramPanic(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { demo.Handler(demo.Config{}) })
	for _, instance := range []string{"127.0.0.1:8080", "ws://127.0.0.1:8080", "http://", "http://a/b"} {
		require.Panics(t, func() { handler(t, func(c *demo.Config) { c.Instances = []string{instance} }) }, instance)
	}
}

func requireProblem(t testing.TB, resp *http.Response, status int, code, name string) (body string) {
	t.Helper()
	body = text(t, resp)
	require.Equal(t, status, resp.StatusCode, "%s: %s", name, body)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"), name)
	var problem struct{ Code string }
	require.NoError(t, json.Unmarshal([]byte(body), &problem), name)
	require.Equal(t, code, problem.Code, name)
	return body
}

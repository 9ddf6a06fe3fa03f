package console

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestThePageIsThereForAll(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	for path, contentType := range map[string]string{
		"/console": "text/html; charset=utf-8", "/console/": "text/html; charset=utf-8",
		"/console/main.js": "text/javascript; charset=utf-8", "/console/index.css": "text/css; charset=utf-8",
	} {
		response := do(c, request("GET", path, ""))
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		require.Equal(t, contentType, response.Header.Get("Content-Type"), path)
	}
	for _, path := range []string{"/console/nothing", "/console/api", "/console/api/nothing", "/console/../handler.go"} {
		require.NotEqual(t, http.StatusOK, do(c, request("GET", path, "", asAdmin)).StatusCode, path)
	}
	requireRefused(t, do(c, request("GET", "/console/api/nothing", "", asAdmin)), domain.CodeNotFound)
}

func TestAWrongMethodIsToldTheRightOne(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	for route, allowed := range map[string]string{
		"POST overview": "GET", "DELETE groups/tea": "GET", "GET groups/tea/messages": "POST", "PUT dead/retry": "POST", "GET login": "POST", "GET logout": "POST",
	} {
		method, path, _ := strings.Cut(route, " ")
		response := do(c, request(method, "/console/api/"+path, "{}", asAdmin))
		require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode, route)
		require.Equal(t, allowed, response.Header.Get("Allow"), route)
	}
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	c := newConsole(t, &backend{})
	for _, path := range []string{"/console", "/console/main.js", "/console/api/overview", "/console/nothing"} {
		header := do(c, request("GET", path, "")).Header
		require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'self'", path)
		require.Contains(t, header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.NotContains(t, header.Get("Content-Security-Policy"), "unsafe", path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		require.Equal(t, "DENY", header.Get("X-Frame-Options"), path)
	}
}

func TestEveryRouteButTheDoorNeedsASession(t *testing.T) {
	t.Parallel()
	b := &backend{}
	c := newConsole(t, b)
	for _, route := range []string{
		"GET session", "GET overview", "GET events", "GET rates", "GET rates?group=tea", "GET groups/tea", "GET users/ann",
		"GET groups/tea/events", "POST groups/tea/messages", "POST groups/tea/recall", "GET dead", "POST dead/retry", "GET config",
	} {
		method, path, _ := strings.Cut(route, " ")
		requireRefused(t, do(c, request(method, "/console/api/"+path, "{}")), domain.CodeUnauthorized)
	}
	require.Zero(t, b.looks+len(b.pulls)+len(b.drafts)+len(b.retried), "nothing was asked for a stranger")
}

func TestInspectionsRatesAndSettings(t *testing.T) {
	t.Parallel()
	b := &backend{told: [][]domain.InstanceStatus{{{Name: "a", SeenMS: 1_700_000_000_000}}}}
	c := newConsole(t, b)
	require.Contains(t, ask(t, c, "GET", "/console/api/groups/tea", ""), `{"group":"tea"`)
	require.Contains(t, ask(t, c, "GET", "/console/api/users/ann?cursor=g7", ""), `"cursor":"g7"`)
	requireRefused(t, do(c, request("GET", "/console/api/groups/nowhere", "", asAdmin)), domain.CodeNotFound)
	requireRefused(t, do(c, request("GET", "/console/api/users/nobody", "", asAdmin)), domain.CodeNotFound)
	require.Contains(t, ask(t, c, "GET", "/console/api/rates", ""), `{"step_ms":2000,"from_ms":1699999100000,"instances":[{"name":"a","messages":[null,`)
	require.Contains(t, ask(t, c, "GET", "/console/api/rates?group=tea", ""), `{"step_ms":5000,"from_ms":1699999100000,"group":"tea","messages":[0,`)
	require.JSONEq(t, `{"config":"node:\n  name: a\n"}`, ask(t, c, "GET", "/console/api/config", ""))

	b.redisErr = errDown
	requireRefused(t, do(c, request("GET", "/console/api/rates?group=tea", "", asAdmin)), domain.CodeUnavailable)
	require.Contains(t, b.logged(), "console request failed")
}

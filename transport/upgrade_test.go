package transport

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/transport/wire"
)

// upgrade asks for a WebSocket with these headers; the socket is nil when the answer was no.
func upgrade(t testing.TB, url string, header http.Header, protocols ...string) (*websocket.Conn, *http.Response) {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: protocols, HandshakeTimeout: patience}
	ws, response, err := dialer.Dial("ws"+strings.TrimPrefix(url, "http"), header)
	if err != nil {
		require.ErrorIs(t, err, websocket.ErrBadHandshake)
		return nil, response
	}
	t.Cleanup(func() { _ = ws.Close() })
	return ws, response
}

func TestUpgradeIsRefusedBeforeItHappens(t *testing.T) {
	t.Parallel()
	f, url := listen(t, func(o *options) { o.origins = []string{"https://app.example"} })
	good := "Bearer " + tokenOf(t, "ann", time.Hour)
	stale := "Bearer " + tokenOf(t, "ann", -time.Minute)
	for name, c := range map[string]struct {
		header http.Header
		status int // 101: let in
		code   domain.Code
		reason string
	}{
		"a token":                {http.Header{"Authorization": {good}}, 101, "", ""},
		"no token":               {http.Header{}, 401, domain.CodeUnauthorized, "token"},
		"no real token":          {http.Header{"Authorization": {"Bearer x.y.z"}}, 401, domain.CodeUnauthorized, "token"},
		"an expired token":       {http.Header{"Authorization": {stale}}, 401, domain.CodeUnauthorized, "token"},
		"an API key":             {http.Header{"Authorization": {"Bearer " + secretKey}}, 401, domain.CodeUnauthorized, "token"},
		"another scheme":         {http.Header{"Authorization": {"Basic YTpi"}}, 401, domain.CodeUnauthorized, "token"},
		"its own origin":         {http.Header{"Authorization": {good}, "Origin": {url}}, 101, "", ""},
		"an allowed origin":      {http.Header{"Authorization": {good}, "Origin": {"https://app.example"}}, 101, "", ""},
		"a foreign origin":       {http.Header{"Authorization": {good}, "Origin": {"https://evil.example"}}, 403, domain.CodeForbidden, "origin"},
		"a longer origin":        {http.Header{"Authorization": {good}, "Origin": {"https://app.example.evil.example"}}, 403, domain.CodeForbidden, "origin"},
		"an origin of nobody":    {http.Header{"Authorization": {good}, "Origin": {"null"}}, 403, domain.CodeForbidden, "origin"},
		"a broken origin":        {http.Header{"Authorization": {good}, "Origin": {"http://%zz"}}, 403, domain.CodeForbidden, "origin"},
		"origin before token":    {http.Header{"Origin": {"https://evil.example"}}, 403, domain.CodeForbidden, "origin"},
		"another subprotocol":    {http.Header{"Authorization": {good}, "Sec-Websocket-Protocol": {"chat, hearth.v2"}}, 400, domain.CodeBadRequest, "subprotocol"},
		"an old version":         {http.Header{"Authorization": {good}, "Sec-Websocket-Version": {"8"}}, 400, "", "upgrade"},
		"two Authorizations":     {http.Header{"Authorization": {good, good}}, 401, domain.CodeUnauthorized, "token"},
		"a token in the address": {http.Header{}, 401, domain.CodeUnauthorized, "token"},
	} {
		t.Run(name, func(t *testing.T) {
			before := 0.0
			if c.reason != "" {
				before = testutil.ToFloat64(f.metrics.refused.WithLabelValues(c.reason))
			}
			target := url
			if name == "a token in the address" {
				target += "/?access_token=" + strings.TrimPrefix(good, "Bearer ")
			}
			_, response := rawUpgrade(t, target, c.header)
			require.Equal(t, c.status, response.StatusCode)
			if c.status == 101 {
				return
			}
			body := readAll(t, response.Body)
			require.NotContains(t, body, "x.y.z")
			require.Equal(t, before+1, testutil.ToFloat64(f.metrics.refused.WithLabelValues(c.reason)))
			if c.code == "" {
				return
			}
			require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
			var problem struct{ Code domain.Code }
			require.NoError(t, json.Unmarshal([]byte(body), &problem))
			require.Equal(t, c.code, problem.Code)
		})
	}
}

// rawUpgrade is an upgrade whose headers may also be wrong.
func rawUpgrade(t testing.TB, url string, header http.Header) (*http.Request, *http.Response) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for name, values := range header {
		r.Header[name] = values
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return r, response
}

func TestPlainRequestIsToldToUpgrade(t *testing.T) {
	t.Parallel()
	_, url := listen(t, nil)
	_, response := rawUpgrade(t, url, http.Header{
		"Authorization": {"Bearer " + tokenOf(t, "ann", time.Hour)}, "Connection": {"close"}, "Upgrade": nil,
	})
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Equal(t, "websocket", response.Header.Get("Upgrade"))
}

func TestSubprotocolsAndWaysOfTheToken(t *testing.T) {
	t.Parallel()
	_, url := listen(t, func(o *options) { o.queryToken = true })
	token := tokenOf(t, "ann", time.Hour)
	asHeader := http.Header{"Authorization": {"Bearer " + token}}
	for name, c := range map[string]struct {
		query     string
		header    http.Header
		protocols []string
		want      string
	}{
		"none offered":         {"", asHeader, nil, ""},
		"ours":                 {"", asHeader, []string{"hearth.v1"}, "hearth.v1"},
		"ours among others":    {"", asHeader, []string{"mqtt", "hearth.v1"}, "hearth.v1"},
		"ours and the token":   {"", nil, []string{"hearth.v1", "hearth.token." + token}, "hearth.v1"},
		"the token first":      {"", nil, []string{"hearth.token." + token, "hearth.v1"}, "hearth.v1"},
		"the token alone":      {"", nil, []string{"hearth.token." + token}, ""},
		"the token in the URL": {"/?access_token=" + token, nil, []string{"hearth.v1"}, "hearth.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			ws, response := upgrade(t, url+c.query, c.header, c.protocols...)
			require.NotNil(t, ws, response.Status)
			require.Equal(t, c.want, response.Header.Get("Sec-WebSocket-Protocol"), "never the token")
			require.Empty(t, response.Header.Get("Sec-WebSocket-Extensions"), "no compression")
			client := newClient(t, ws)
			client.startReading()
			client.ready()
		})
	}
}

func TestBadTokenInSubprotocolsIsRefused(t *testing.T) {
	t.Parallel()
	_, url := listen(t, nil)
	ws, response := upgrade(t, url, nil, wire.Subprotocol, wire.TokenProtocolPrefix+"x.y.z")
	require.Nil(t, ws)
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.Empty(t, response.Header.Get("Sec-WebSocket-Protocol"))
}

func TestSessionThatIsNotLetInIsRefusedBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	f, url := listen(t, func(o *options) { o.policy = domain.SessionReject })
	header := http.Header{"Authorization": {"Bearer " + tokenOf(t, "ann", time.Hour)}}
	ws, response := upgrade(t, url, header, wire.Subprotocol)
	require.NotNil(t, ws, response.Status)
	refused := func(status int, code domain.Code) {
		t.Helper()
		_, response := rawUpgrade(t, url, header)
		require.Equal(t, status, response.StatusCode)
		var problem struct{ Code domain.Code }
		require.NoError(t, json.Unmarshal([]byte(readAll(t, response.Body)), &problem))
		require.Equal(t, code, problem.Code)
	}
	refused(http.StatusConflict, domain.CodeAlreadyOnline)
	require.Len(t, f.b.entered(), 1)
	f.b.change(func(b *backend) { b.before = failing("Enter") })
	refused(http.StatusServiceUnavailable, domain.CodeUnavailable)
	require.InDelta(t, 2, testutil.ToFloat64(f.metrics.refused.WithLabelValues("session")), 0)
}

func TestUpgradeThatFailsLeavesNoSession(t *testing.T) {
	t.Parallel()
	f, url := listen(t, nil)
	good := "Bearer " + tokenOf(t, "ann", time.Hour)
	for name, header := range map[string]http.Header{
		"a version of old": {"Authorization": {good}, "Sec-Websocket-Version": {"8"}},
		"no key":           {"Authorization": {good}, "Sec-Websocket-Key": nil},
		"no token":         {},
	} {
		_, response := rawUpgrade(t, url, header)
		require.GreaterOrEqual(t, response.StatusCode, 400, name)
		require.Empty(t, f.b.entered(), name)
	}
	require.Empty(t, f.b.tellings(), "who was never there is not announced")
}

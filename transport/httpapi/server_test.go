package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/domain"
	"hearth/transport/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	serverKey = "key-of-the-shop-server"
	secret    = "SECRETVALUE" // stands in requests where no answer may repeat it
)

var hmacSecret = []byte(strings.Repeat("s", 32))

// server is the API over a fake, with the room "r" (owner ann) and the group "g" (owner ann, member bob).
type server struct {
	*fake
	handler http.Handler
	log     *bytes.Buffer
	metrics *prometheus.Registry
}

func newServer(t *testing.T, change func(*Config)) *server {
	t.Helper()
	s := &server{fake: newFake(), log: &bytes.Buffer{}, metrics: prometheus.NewRegistry()}
	sum := sha256.Sum256([]byte(serverKey))
	verifier, err := auth.New(auth.Config{HMACSecret: hmacSecret, APIKeys: map[string]string{"shop": hex.EncodeToString(sum[:])}})
	require.NoError(t, err)
	heads := domain.NewHeads(s.fake, s.fake)
	sessions := domain.NewSessions(s.fake, s.fake, s.fake, s.fake, "")
	cfg := Config{
		Auth:     verifier,
		Groups:   domain.NewGroups(s.fake, s.fake, s.fake, heads, s.newID),
		History:  domain.NewHistory(heads, s.fake, s.fake, s.fake, s.fake, s.fake),
		Sends:    domain.NewSends(s.fake, &domain.Watermarks{}, sessions),
		Signals:  domain.NewSignals(s.fake, nil), // it never finds anything missing
		Recalls:  domain.NewRecalls(s.fake, s.fake, nil),
		Sessions: sessions,
		Ranking:  domain.NewRanking(s.fake, heads, domain.RankingConfig{SnapshotTTL: time.Second}),
		Log:      zerolog.New(zerolog.SyncWriter(s.log)),
		Register: s.metrics,
	}
	if change != nil {
		change(&cfg)
	}
	s.handler, err = New(cfg)
	require.NoError(t, err)
	s.do(t, "ann", "POST", "/v1/groups", `{"group":"r","type":"room","name":"Room"}`).want(t, 201)
	s.do(t, "ann", "POST", "/v1/groups", `{"group":"g","type":"group","name":"Group","members":["bob"]}`).want(t, 201)
	return s
}

func tokenOf(t *testing.T, user string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": user, "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(hmacSecret)
	require.NoError(t, err)
	return token
}

// request is who's: "shop" is the app server, "" nobody, everybody else a user.
func request(t *testing.T, who, method, path, body string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, reader)
	switch who {
	case "":
	case "shop":
		r.Header.Set("Authorization", "Bearer "+serverKey)
	default:
		r.Header.Set("Authorization", "Bearer "+tokenOf(t, who))
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (s *server) serve(r *http.Request) *reply {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return &reply{w.Result(), w.Body.String()}
}

func (s *server) do(t *testing.T, who, method, path, body string) *reply {
	t.Helper()
	return s.serve(request(t, who, method, path, body))
}

type reply struct {
	*http.Response
	body string
}

func (r *reply) want(t *testing.T, status int) *reply {
	t.Helper()
	require.Equal(t, status, r.StatusCode, r.body)
	return r
}

func (r *reply) wantJSON(t *testing.T, status int, body string) *reply {
	t.Helper()
	r.want(t, status)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	require.JSONEq(t, body, r.body)
	require.NotContains(t, r.body, "$schema")
	return r
}

// wantProblem checks the whole form of an error; at is where it points to, "" for nowhere.
func (r *reply) wantProblem(t *testing.T, status int, code domain.Code, at string) *reply {
	t.Helper()
	r.want(t, status)
	require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
	var p problem
	decoder := json.NewDecoder(strings.NewReader(r.body))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&p), r.body)
	require.Equal(t, code, p.Code, r.body)
	require.Equal(t, status, p.Status)
	require.Equal(t, http.StatusText(status), p.Title)
	require.Equal(t, "about:blank", p.Type)
	require.NotEmpty(t, p.Detail)
	require.Equal(t, code.Retryable(), p.Retryable)
	location := ""
	if len(p.Errors) > 0 {
		location = p.Errors[0].Location
		require.NotEmpty(t, p.Errors[0].Message)
	}
	require.Equal(t, at, location, r.body)
	require.NotContains(t, r.body, secret)
	switch status {
	case 401:
		require.Equal(t, "Bearer", r.Header.Get("WWW-Authenticate"))
	case 429, 503:
		require.NotEmpty(t, r.Header.Get("Retry-After"))
	}
	return r
}

// text is a send's body with one text element.
func text(more string) string { return `{"body":[{"type":"text","text":"hi"}]` + more + `}` }

func TestNewRefusesAnIncompleteConfig(t *testing.T) {
	t.Parallel()
	_, err := New(Config{})
	require.Error(t, err)
}

func TestNewRefusesARegistererTwice(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	_, err := newMetrics(s.metrics)
	require.Error(t, err)
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, path := range []string{"/", "/v1", "/v1/nothing", "/v1/groups/", "/v1/groups/r/", "/v1/groups/a/b/c"} {
		s.do(t, "", "GET", path, "").wantProblem(t, 404, domain.CodeNotFound, "")
	}
	r := s.do(t, "ann", "PUT", "/v1/groups/r", "{}").wantProblem(t, 405, domain.CodeBadRequest, "")
	require.Equal(t, []string{"GET, PATCH, DELETE"}, r.Header.Values("Allow"))
	r = s.do(t, "", "DELETE", "/v1/sync", "").wantProblem(t, 405, domain.CodeBadRequest, "")
	require.Equal(t, []string{"POST"}, r.Header.Values("Allow"))
	s.do(t, "ann", "BREW", "/v1/sync", "").wantProblem(t, 405, domain.CodeBadRequest, "")
}

func TestEveryRouteNeedsAToken(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, rt := range []string{
		"POST /v1/groups", "GET /v1/groups", "GET /v1/groups/r", "DELETE /v1/groups/r", "POST /v1/groups/r/join",
		"POST /v1/groups/r/leave", "GET /v1/groups/r/members", "POST /v1/groups/r/members",
		"DELETE /v1/groups/r/members/bob", "POST /v1/groups/r/messages", "GET /v1/groups/r/messages",
		"GET /v1/groups/r/messages/1", "POST /v1/groups/r/read", "POST /v1/sync", "GET /v1/groups/hot",
		"GET /v1/groups/r/readers", "POST /v1/groups/r/signals", "POST /v1/direct/bob/messages", "GET /v1/presence",
		"DELETE /v1/users/bob/connections",
	} {
		method, path, _ := strings.Cut(rt, " ")
		s.do(t, "", method, path, "").wantProblem(t, 401, domain.CodeUnauthorized, "")
		r := request(t, "", method, path, "")
		r.Header.Set("Authorization", "Bearer "+secret)
		s.serve(r).wantProblem(t, 401, domain.CodeUnauthorized, "")
	}
}

func TestPanicsAnswer500(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.change(func(f *fake) { f.panics = true })
	s.do(t, "ann", "GET", "/v1/groups/r", "").wantProblem(t, 500, domain.CodeInternal, "")
	require.Contains(t, s.log.String(), "http handler panicked")
	require.Contains(t, scrape(t, s.metrics), `hearth_http_requests_total{code="500",method="GET",route="/v1/groups/{g}"} 1`)
}

func TestUnavailableStoresAnswer503(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.change(func(f *fake) { f.down = io.ErrUnexpectedEOF })
	for _, path := range []string{"/v1/groups", "/v1/groups/r", "/v1/groups/r/members", "/v1/groups/r/messages", "/v1/groups/hot"} {
		r := s.do(t, "ann", "GET", path, "").wantProblem(t, 503, domain.CodeUnavailable, "")
		require.Equal(t, "1", r.Header.Get("Retry-After"))
		require.Contains(t, r.body, `"retry_after_ms":1000`)
		require.NotContains(t, r.body, "EOF")
	}
	require.Contains(t, s.log.String(), "unexpected EOF")
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for wait, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", 1001 * time.Millisecond: "2", 3 * time.Second: "3"} {
		s.change(func(f *fake) {
			f.appendErr = &domain.Error{Code: domain.CodeRateLimited, Message: "too many messages", RetryAfter: wait}
		})
		r := s.do(t, "ann", "POST", "/v1/groups/r/messages", text("")).wantProblem(t, 429, domain.CodeRateLimited, "")
		require.Equal(t, want, r.Header.Get("Retry-After"), wait)
		require.Equal(t, wait > 0, strings.Contains(r.body, "retry_after_ms"))
	}
	s.change(func(f *fake) { f.appendErr = domain.Errorf(domain.CodeOverloaded, "the backlog is full") })
	s.do(t, "ann", "POST", "/v1/groups/r/messages", text("")).wantProblem(t, 503, domain.CodeOverloaded, "")
}

func TestCORS(t *testing.T) {
	t.Parallel()
	preflight := func() *http.Request {
		r := request(t, "", "OPTIONS", "/v1/groups", "")
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		return r
	}
	none := newServer(t, nil)
	require.Empty(t, none.serve(preflight()).Header.Get("Access-Control-Allow-Origin"))

	some := newServer(t, func(c *Config) { c.AllowedOrigins = []string{"https://app.example"} })
	r := some.serve(preflight()).want(t, 200)
	require.Equal(t, "https://app.example", r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "POST", r.Header.Get("Access-Control-Allow-Methods"))
	other := preflight()
	other.Header.Set("Origin", "https://evil.example")
	require.Empty(t, some.serve(other).Header.Get("Access-Control-Allow-Origin"))
	refused := request(t, "", "GET", "/v1/groups", "")
	refused.Header.Set("Origin", "https://app.example")
	require.Equal(t, "https://app.example", some.serve(refused).want(t, 401).Header.Get("Access-Control-Allow-Origin"))
}

func TestLogAndMetricsHaveNoIDsTextOrTokens(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "ann", "POST", "/v1/groups/r/messages", `{"body":[{"type":"text","text":"`+secret+`"}],"client_id":"`+secret+`"}`).want(t, 201)
	s.do(t, "ann", "GET", "/v1/groups/r/messages?limit="+secret, "").want(t, 400)
	s.do(t, "ann", "GET", "/v1/groups/"+secret, "").want(t, 404)
	s.do(t, "ann", "GET", "/v1/"+secret, "").want(t, 404)
	s.do(t, "ann", secret, "/v1/sync", "").want(t, 405)
	metrics := scrape(t, s.metrics)
	for _, text := range []string{s.log.String(), metrics} {
		require.NotContains(t, text, secret)
		require.NotContains(t, text, tokenOf(t, "ann")[:40])
	}
	require.Contains(t, s.log.String(), `"route":"/v1/groups/{g}/messages","method":"POST","status":201`)
	require.Contains(t, metrics, `hearth_http_requests_total{code="201",method="POST",route="/v1/groups/{g}/messages"} 1`)
	require.Contains(t, metrics, `hearth_http_requests_total{code="404",method="GET",route="unmatched"} 1`)
	require.Contains(t, metrics, `hearth_http_requests_total{code="405",method="other",route="unmatched"} 1`)
	require.Contains(t, metrics, `hearth_http_request_duration_seconds_count{route="/v1/groups/{g}"} 1`)
}

func TestSendsAreCountedByResult(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "ann", "POST", "/v1/groups/r/messages", text("")).want(t, 201)
	s.do(t, "ann", "POST", "/v1/groups/r/messages", text("")).want(t, 201)
	s.do(t, "ann", "POST", "/v1/groups/nowhere/messages", text("")).want(t, 404)
	s.do(t, "ann", "POST", "/v1/direct/ann/messages", text("")).want(t, 400)
	metrics := scrape(t, s.metrics)
	require.Contains(t, metrics, `hearth_messages_sent_total{result="ok",source="http"} 2`)
	require.Contains(t, metrics, `hearth_messages_sent_total{result="not_found",source="http"} 1`)
	require.Contains(t, metrics, `hearth_messages_sent_total{result="bad_request",source="http"} 1`)
	require.Contains(t, metrics, `hearth_send_duration_seconds_count{source="http"} 4`)
}

func TestOverARealConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	for range 2 { // the second one comes over the connection of the first
		r, err := http.NewRequestWithContext(context.Background(), "POST", server.URL+"/v1/groups/r/messages", strings.NewReader(text("")))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+tokenOf(t, "ann"))
		got, err := client.Do(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, got.Body)
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
		require.Equal(t, 201, got.StatusCode)
	}
}

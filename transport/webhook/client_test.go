package webhook_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/transport/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsec_bmV3IHNlY3JldHMgYXJlIGxvbmcgZW5vdWdo"
)

// hello is an event as the outbox would have it.
func hello() webhook.Event {
	return webhook.Event{ID: "msg_1", Type: webhook.AfterSend, TimeMS: 1795266606268, Data: json.RawMessage(`{"group":"tea","seq":7}`)}
}

// receive serves handler until the test ends.
func receive(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// newClient makes a client that is closed with the test.
func newClient(t *testing.T, cfg webhook.Config) *webhook.Client {
	t.Helper()
	if cfg.Secret == "" {
		cfg.Secret = secret
	}
	c, err := webhook.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// verified is what a receiver does with a request by the public library.
func verified(t *testing.T, secret string, r *http.Request, body []byte) {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	require.NoError(t, verifier.Verify(body, r.Header))
	require.Error(t, verifier.Verify(append(body, ' '), r.Header), "it checks the body")
}

func TestPostIsSignedAsStandardWebhooksVerifyIt(t *testing.T) {
	t.Parallel()
	type request struct {
		*http.Request
		body []byte
	}
	received := make(chan request, 1)
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received <- request{r, body}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "thanks")
	})
	answer, err := newClient(t, webhook.Config{URL: url + "/hooks?token=t"}).Post(t.Context(), hello())
	require.NoError(t, err)
	require.Equal(t, "thanks", string(answer))

	got := <-received
	require.Equal(t, "/hooks?token=t", got.RequestURI)
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "msg_1", got.Header.Get("webhook-id"))
	at, err := strconv.ParseInt(got.Header.Get("webhook-timestamp"), 10, 64)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), time.Unix(at, 0), time.Minute)
	require.JSONEq(t, `{"type":"after_send","timestamp":"2026-11-21T13:10:06.268Z","data":{"group":"tea","seq":7}}`, string(got.body))
	verified(t, secret, got.Request, got.body)
}

func TestEverySecretOfARotationSigns(t *testing.T) {
	t.Parallel()
	req, err := newClient(t, webhook.Config{URL: "http://receiver.test", Secret: secret + "," + newSecret}).Request(t.Context(), hello())
	require.NoError(t, err)
	body, err := io.ReadAll(req.Body)
	require.NoError(t, err)
	require.Len(t, strings.Fields(req.Header.Get("webhook-signature")), 2)
	for _, s := range []string{secret, newSecret} {
		verified(t, s, req, body)
	}
}

func TestStatusThatIsNotSuccessIsNamedAndTheAnswerIsNot(t *testing.T) {
	t.Parallel()
	for _, status := range []int{300, 302, 400, 401, 410, 429, 500, 503} {
		url := receive(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "the message text")
		})
		answer, err := newClient(t, webhook.Config{URL: url}).Post(t.Context(), hello())
		var refused *webhook.StatusError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, status, refused.Status)
		require.ErrorContains(t, err, strconv.Itoa(status))
		require.NotContains(t, err.Error(), "message text")
		require.Empty(t, answer)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	elsewhere := receive(t, func(http.ResponseWriter, *http.Request) { reached.Store(true) })
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	_, err := newClient(t, webhook.Config{URL: url}).Post(t.Context(), hello())
	require.ErrorContains(t, err, "307")
	require.False(t, reached.Load())
}

func TestAnswerIsBounded(t *testing.T) {
	t.Parallel()
	url := receive(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) })
	answer, err := newClient(t, webhook.Config{URL: url}).Post(t.Context(), hello())
	require.NoError(t, err)
	require.Len(t, answer, 64<<10)
}

func TestReceiverThatHangsIsLeftAfterTheTimeout(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(w http.ResponseWriter){
		"before its answer": func(http.ResponseWriter) {},
		"within its answer": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		},
	} {
		url := receive(t, func(w http.ResponseWriter, r *http.Request) {
			before(w)
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not look whether the client has gone
			<-r.Context().Done()
		})
		_, err := newClient(t, webhook.Config{URL: url, Timeout: 50 * time.Millisecond}).Post(t.Context(), hello())
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
	}
}

func TestErrorsDoNotShowTheAddress(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err := newClient(t, webhook.Config{URL: gone.URL + "/hooks?token=hunter2"}).Post(t.Context(), hello())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
	for _, cfg := range []webhook.Config{
		{URL: "ftp://hunter2.test", Secret: secret},
		{URL: "http://", Secret: secret},
		{URL: "http://hunter2.test\x7f", Secret: secret},
		{URL: "http://receiver.test", Secret: "hunter2"},
		{URL: "http://receiver.test"},
	} {
		_, err := webhook.New(cfg)
		require.Error(t, err, "New(%+v)", cfg)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestConnectionIsKeptBetweenPosts(t *testing.T) {
	t.Parallel()
	const posts = 20
	from := make(chan string, posts)
	url := receive(t, func(w http.ResponseWriter, r *http.Request) {
		from <- r.RemoteAddr
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "a failure's answer is read, too")
	})
	c := newClient(t, webhook.Config{URL: url})
	connections := map[string]bool{}
	for range posts {
		_, err := c.Post(t.Context(), hello())
		require.Error(t, err)
		connections[<-from] = true
	}
	require.Less(t, len(connections), posts/2, "net/http gives one up now and then on a busy machine")
}

func TestEventThatCannotBeSignedOrReadIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, webhook.Config{URL: "http://127.0.0.1:1"})
	for name, change := range map[string]func(e *webhook.Event){
		"without an id":  func(e *webhook.Event) { e.ID = "" },
		"dot in the id":  func(e *webhook.Event) { e.ID = "a.b" },
		"line in the id": func(e *webhook.Event) { e.ID = "a\r\nb" },
		"no data":        func(e *webhook.Event) { e.Data = nil },
		"broken data":    func(e *webhook.Event) { e.Data = json.RawMessage(`{"a":`) },
	} {
		e := hello()
		change(&e)
		_, err := c.Post(t.Context(), e)
		require.ErrorContains(t, err, "webhook: ", name)
	}
}

func TestPostsAreCounted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	metrics := webhook.NewMetrics(reg)
	ok := receive(t, func(http.ResponseWriter, *http.Request) {})
	bad := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for _, url := range []string{ok, bad, bad} {
		_, _ = newClient(t, webhook.Config{URL: url, Metrics: metrics}).Post(t.Context(), hello())
	}
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
		# HELP hearth_webhook_failures_total Requests to a webhook's receiver that failed: no answer, or a status that is not 2xx, by event.
		# TYPE hearth_webhook_failures_total counter
		hearth_webhook_failures_total{event="after_send"} 2
	`), "hearth_webhook_failures_total"))
	n, err := testutil.GatherAndCount(reg, "hearth_webhook_duration_seconds")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

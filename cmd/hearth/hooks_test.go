package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"hearth/configs"
	"hearth/domain"
	"hearth/domain/testserver"
	"hearth/mysqlrepo"
)

func TestMain(m *testing.M) { os.Exit(testserver.Run(m)) }

const hookSecret = "whsec_bm90IHRoZSBzZWNyZXQgb2YgYW55Ym9keQ=="

// hookReceiver verifies what it gets and says what it is told to say.
type hookReceiver struct {
	*httptest.Server
	mu    sync.Mutex // guards what follows
	types []string
	wrong []error
}

func startReceiver(t *testing.T, status int, answer string) *hookReceiver {
	t.Helper()
	r := &hookReceiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		verifier, newErr := standardwebhooks.NewWebhook(hookSecret)
		if newErr != nil || err != nil {
			return
		}
		var event struct{ Type string }
		if err = verifier.Verify(body, req.Header); err == nil {
			err = json.Unmarshal(body, &event)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.types, r.wrong = append(r.types, event.Type), append(r.wrong, err)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *hookReceiver) got(t *testing.T) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.wrong {
		require.NoError(t, err)
	}
	return r.types
}

// patient has instances wait for before_send as long as they may: the machine may be slow.
var patient = []string{"HEARTH_WEBHOOKS_SECRET=" + hookSecret, "HEARTH_WEBHOOKS_BEFORE_SEND_TIMEOUT=10s"}

func TestHooksTestPostsASignedSampleOfEach(t *testing.T) {
	t.Parallel()
	r := startReceiver(t, http.StatusOK, `{"allow":true}`)
	got := hearth(t, patient, "hooks", "test", r.URL)
	require.Equal(t, exitOK, got.status, got.stdout+got.stderr)
	all := []string{"before_send", "after_send", "recalled", "group_changed", "member_changed"}
	require.Equal(t, all, r.got(t))
	for _, event := range all {
		require.Regexp(t, `(?m)^`+event+`  200 OK, \d+ ms\n  webhook-id: test-.+\n  webhook-timestamp: \d+\n  webhook-signature: v1,.+$`, got.stdout)
	}
	require.Contains(t, got.stdout, "it lets the message pass")
	require.NotContains(t, got.stdout, "to fix")
}

func TestHooksTestPostsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	r := startReceiver(t, http.StatusNoContent, "")
	path := filepath.Join(t.TempDir(), "hearth.yaml")
	require.NoError(t, os.WriteFile(path, []byte("webhooks:\n  secret: "+hookSecret+"\n"), 0o600))
	got := hearth(t, nil, "hooks", "test", r.URL, "-c", path, "--event", "recalled", "--event", "after_send")
	require.Equal(t, exitOK, got.status, got.stdout+got.stderr)
	require.Equal(t, []string{"after_send", "recalled"}, r.got(t))
	require.Contains(t, got.stdout, "recalled  204 No Content, ")

	got = hearth(t, []string{"HEARTH_LOG_LEVEL=loud"}, "hooks", "test", r.URL, "--secret", hookSecret, "--event", "recalled")
	require.Equal(t, exitOK, got.status, "with a secret no configuration is read: %s", got.stderr)
}

func TestHooksTestTellsWhatBeforeSendSays(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"allow":false,"reason":"no\u001b[31m"}`:                "it rejects the message; the sender is told: the before_send hook rejects this message: no [31m\n",
		`{"allow":true,"body":[{"type":"text","text":"other"}]}`: "it lets the message pass with another body\n",
		`{"allow":true,"body":[{"type":"text"}]}`:                "to fix: bad_request: body[0].text: is required;",
		`{"ok":true}`: "to fix: allow is missing in the answer;",
		`thanks`:      "to fix: the answer is not of the form",
	} {
		r := startReceiver(t, http.StatusOK, answer)
		got := hearth(t, patient, "hooks", "test", r.URL, "--event", "before_send")
		require.Contains(t, got.stdout, want)
		require.Equal(t, strings.HasPrefix(want, "to fix"), got.status == exitRuntime, got.stderr)
	}
}

func TestHooksTestTellsWhatToFix(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		301: "301 Moved Permanently, |to fix: redirects are not followed",
		400: "400 Bad Request, |to fix: the receiver does not take this event",
		401: "401 Unauthorized, |to fix: the receiver refuses the signature",
		404: "404 Not Found, |to fix: the receiver has no POST at this path",
		429: "429 Too Many Requests, |to fix: the receiver has to answer 2xx",
		502: "502 Bad Gateway, |to fix: the receiver failed",
	} {
		r := startReceiver(t, status, "words of the receiver")
		got := hearth(t, patient, "hooks", "test", r.URL, "--event", "after_send")
		require.Equal(t, exitRuntime, got.status)
		require.Equal(t, "hearth: 1 of 1 event failed\n", got.stderr)
		for _, part := range strings.Split(want, "|") {
			require.Contains(t, got.stdout, part)
		}
		require.NotContains(t, got.stdout, "words of the receiver")
	}
}

func TestHooksTestTellsWhyThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell of the handshake
	secure.StartTLS()
	t.Cleanup(secure.Close)
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not look whether the client has gone
		<-r.Context().Done()
	}))
	t.Cleanup(hangs.Close)
	for url, want := range map[string]string{
		gone.URL:   "nothing listens there",
		secure.URL: "the certificate is not accepted",
		hangs.URL:  "there was no answer within 50ms",
		"http://127.0.0.1:" + secure.URL[strings.LastIndex(secure.URL, ":")+1:]: "400 Bad Request",
	} {
		got := hearth(t, patient, "hooks", "test", url, "--event", "after_send", "--timeout", timeoutFor(url == hangs.URL))
		require.Equal(t, exitRuntime, got.status)
		require.Contains(t, got.stdout, want)
	}
}

// timeoutFor is short only where there is nothing to wait for.
func timeoutFor(hangs bool) string {
	if hangs {
		return "50ms"
	}
	return time.Minute.String()
}

func TestHooksTestTellsThatBeforeSendIsSlow(t *testing.T) {
	t.Parallel()
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(15 * time.Millisecond) // it is slow
		_, _ = io.WriteString(w, `{"allow":true}`)
	}))
	t.Cleanup(slow.Close)
	got := hearth(t, append(patient[:1:1], "HEARTH_WEBHOOKS_BEFORE_SEND_TIMEOUT=10ms"), "hooks", "test", slow.URL, "--event", "before_send")
	require.Equal(t, exitRuntime, got.status)
	require.Contains(t, got.stdout, "to fix: answer within 10ms (webhooks.before_send_timeout): senders wait for it")
}

// What a command stores is told as what instances store.
func TestARetriedDeadLetterIsToldToWebhooks(t *testing.T) {
	t.Parallel()
	ctx, config := t.Context(), configs.Default()
	config.MySQL.DSN, config.Webhooks.URL = configs.Secret(testserver.MySQL(t)), "http://localhost/hooks"
	require.NoError(t, withMySQL(ctx, config, func(db *mysqlrepo.DB) error {
		require.NoError(t, db.Migrate(ctx))
		m := domain.Message{Group: "g", Seq: 1, TimeMS: 1, GroupType: domain.Private, Body: []byte("[]"), Hash: "hash"}
		m.From = "ann"
		_, err := db.AddDeadLetter(ctx, &m, "reason")
		require.NoError(t, err)
		_, _, err = db.RetryDeadLetter(ctx, "g", 1)
		require.NoError(t, err)
		groups, err := db.UntoldGroups(ctx, []int{domain.Partitions(config.Redis.Partitions).Of("g")}, "", 1)
		require.NoError(t, err)
		require.Equal(t, []string{"g"}, groups)
		return nil
	}))
}

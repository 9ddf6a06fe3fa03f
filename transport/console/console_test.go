package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/domain"
	"hearth/transport/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adminKey = "hk_admin-key"
	otherKey = "hk_other-key"
	home     = "http://127.0.0.1:9090"
)

var errDown = errors.New("connection refused")

// backend is all that a console stands on.
type backend struct {
	mu       sync.Mutex // guards what follows
	fleet    []domain.InstanceStatus
	told     [][]domain.InstanceStatus
	looks    int // at the fleet
	charts   int // read of it
	redisErr error
	mysqlErr error
	ranking  []domain.HotEntry
	letters  []domain.DeadLetter
	outcome  domain.LetterOutcome
	retried  []string
	pulls    []domain.PullQuery
	page     domain.Page
	head     domain.Head
	pullErr  error
	online   int
	drafts   []domain.Draft
	sendErr  error
	silent   bool // sends are not answered
	recalled []int64
	revoked  map[string]bool
	recalls  []domain.Recall
	log      bytes.Buffer
}

func (b *backend) RevokeConsoleSession(_ context.Context, id string, left time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if left > sessionTTL || left < time.Minute {
		return errors.New("not what is left of the session")
	}
	if b.redisErr == nil {
		if b.revoked == nil {
			b.revoked = make(map[string]bool)
		}
		b.revoked[id] = true
	}
	return b.redisErr
}

func (b *backend) IsConsoleSessionRevoked(_ context.Context, id string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revoked[id], b.redisErr
}

func (b *backend) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *backend) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func (b *backend) looked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.looks
}

func (b *backend) lastPull() domain.PullQuery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pulls[len(b.pulls)-1]
}

func (b *backend) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *backend) Fleet(context.Context) ([]domain.InstanceStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	return b.fleet, b.redisErr
}

func (b *backend) FleetSince(context.Context, int64) ([][]domain.InstanceStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.charts++
	return b.told, b.redisErr
}

func (b *backend) Unpersisted(context.Context, string, int64, int) (int64, []int64, bool, error) {
	return 0, nil, true, b.redisErr
}

func (b *backend) MessageCounts(context.Context, string, int64, int64, int64) (map[int64]int64, error) {
	return nil, b.mysqlErr
}

func (b *backend) Online(_ context.Context, groups []string) (map[string]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return map[string]int{groups[0]: b.online}, b.redisErr
}

func (b *backend) CheckNow(name string) (bool, time.Time, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name == "mysql" && b.mysqlErr != nil {
		return false, time.Now().Add(-5 * time.Second), "does not answer"
	}
	return true, time.Now(), ""
}

func (b *backend) NowMS() int64 { return 1_700_000_001_234 }

func (b *backend) Page(_ context.Context, actor domain.Actor, q domain.HotQuery) (*domain.HotPage, error) {
	if !actor.IsServer() || q.Type != domain.AllTypes || q.Limit != hotRooms {
		return nil, errors.New("not what the console shows")
	}
	return &domain.HotPage{HotSnapshot: domain.HotSnapshot{ID: "s1", TimeMS: 5, Entries: b.ranking}}, b.redisErr
}

func (b *backend) List(_ context.Context, q domain.LetterQuery) (page []domain.DeadLetter, err error) {
	for _, l := range b.letters {
		if (l.Group > q.AfterGroup || l.Group == q.AfterGroup && l.Seq > q.AfterSeq) && len(page) < q.Limit {
			page = append(page, l)
		}
	}
	return page, b.mysqlErr
}

func (b *backend) Retry(_ context.Context, letters []domain.LetterID, told func(domain.LetterResult)) error {
	for _, id := range letters {
		b.retried = append(b.retried, id.Group)
		told(domain.LetterResult{LetterID: id, Outcome: b.outcome})
	}
	return b.mysqlErr
}

func (b *backend) RetryAll(ctx context.Context, group string, told func(domain.LetterResult)) error {
	return b.Retry(ctx, []domain.LetterID{{Group: group, Seq: 1}, {Group: group, Seq: 2}}, told)
}

func (b *backend) Pull(_ context.Context, actor domain.Actor, q domain.PullQuery) (*domain.Head, domain.Page, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !actor.IsServer() {
		return nil, domain.Page{}, errors.New("operators see every group")
	}
	b.pulls = append(b.pulls, q)
	head, page := b.head, b.page
	head.Group = q.Group
	b.page = domain.Page{}
	return &head, page, b.pullErr
}

func (b *backend) RecallsSince(_ context.Context, _ string, afterMS, upTo int64) (found []domain.Recall, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.recalls {
		if r.TimeMS > afterMS && r.Seq <= upTo {
			found = append(found, r)
		}
	}
	return found, b.mysqlErr
}

func (b *backend) Send(d domain.Draft, reply func(domain.Receipt, error), _ func(domain.Accepted)) {
	b.drafts = append(b.drafts, d)
	if !b.silent {
		reply(domain.Receipt{Accepted: domain.Accepted{Group: d.Group, Seq: 7, TimeMS: 5, PersistedSeq: 6}}, b.sendErr)
	}
}

func (b *backend) Recall(_ context.Context, actor domain.Actor, _ string, seq int64) error {
	if actor.Key != "ops" {
		return errors.New("by somebody else")
	}
	if seq == 404 {
		return domain.Errorf(domain.CodeNotFound, "there is no message with this seq")
	}
	b.recalled = append(b.recalled, seq)
	if b.redisErr != nil {
		return domain.Unavailable(b.redisErr, "Redis")
	}
	return nil
}

// inspector knows tea and ann.
type inspector struct{}

func (inspector) Group(_ context.Context, group string) (*domain.GroupInspection, error) {
	if group != "tea" {
		return nil, domain.Errorf(domain.CodeNotFound, "there is no such group")
	}
	return &domain.GroupInspection{Group: group}, nil
}

func (inspector) User(_ context.Context, user, cursor string) (*domain.UserInspection, error) {
	if user != "ann" {
		return nil, domain.Errorf(domain.CodeNotFound, "nobody")
	}
	return &domain.UserInspection{User: user, Cursor: cursor}, nil
}

func sums(keys map[string]string) map[string][sha256.Size]byte {
	out := make(map[string][sha256.Size]byte)
	for id, key := range keys {
		out[id] = sha256.Sum256([]byte(key))
	}
	return out
}

func newConsole(t testing.TB, b *backend, change ...func(*Config)) *Console {
	t.Helper()
	cfg := Config{
		Keys: sums(map[string]string{"ops": adminKey, "night.shift": otherKey}), Secret: []byte("the same on every instance"),
		Instance: "a", Version: "v1", Settings: []byte("node:\n  name: a\n"), HeatWindow: 5 * time.Minute, Limits: wire.DefaultLimits,
		Redis: b, MySQL: b, Health: b, Clock: b, Ranking: b, Inspector: inspector{}, Letters: b, History: b, Sends: b, Recalls: b,
		Own: func() domain.InstanceStatus { return domain.InstanceStatus{Name: "a", SeenMS: 1} },
		Log: zerolog.New(b),
	}
	for _, f := range change {
		f(&cfg)
	}
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

func request(method, path, body string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, home+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func asAdmin(r *http.Request) { r.Header.Set("Authorization", "Bearer "+adminKey) }

func with(cookie *http.Cookie) func(*http.Request) {
	return func(r *http.Request) { r.AddCookie(cookie) }
}

func do(c *Console, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return strings.TrimSpace(string(body))
}

// ask is an answer that has to be a 200.
func ask(t testing.TB, c *Console, method, path, body string) string {
	t.Helper()
	response := do(c, request(method, path, body, asAdmin))
	answer := text(t, response)
	require.Equal(t, http.StatusOK, response.StatusCode, answer)
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	return answer
}

// requireRefused wants a problem with this code.
func requireRefused(t testing.TB, response *http.Response, code domain.Code) {
	t.Helper()
	answer := text(t, response)
	var problem struct{ Code domain.Code }
	require.NoError(t, json.Unmarshal([]byte(answer), &problem), answer)
	require.Equal(t, code, problem.Code, answer)
	require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
}

package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tooFast wants a refusal that says so, and when to come back.
func tooFast(t *testing.T, err error, most time.Duration) {
	t.Helper()
	var f *failure
	if !errors.As(err, &f) || f.Code != "rate_limited" || !f.Retryable || f.RetryAfterMS < 1 || f.RetryAfterMS > most.Milliseconds() {
		t.Fatalf("refusal: got %+v (%v), want rate_limited, retryable, retry_after_ms of at most %v", f, err, most)
	}
}

// until sends with this priority until it is refused, and returns the refusal.
func (c *client) until(group, priority string, most int) error {
	for i := range most {
		err := c.try("send", fields{"group": group, "body": textBody(say(priority, i)), "priority": priority}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// TestGroupRate: a group that is over its rate refuses low priority while high goes on, on whatever instance, and app
// servers like everybody.
func TestGroupRate(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_LIMITS_GROUP_RATE": "5"}})
	for _, g := range []string{"g", "other", "served"} {
		s.createGroup("group", g, "alice", "bob")
	}
	alice, bob := s.connect(0, "alice"), s.connect(1, "bob")

	// When low is refused, its last fifth is left of the rate: one message.
	await(t, patience, "low is refused and high goes on right behind it", func() (bool, any) {
		low := alice.until("g", "low", 1000)
		tooFast(t, low, time.Second)
		high := bob.try("send", fields{"group": "g", "body": textBody(say("high")), "priority": "high"}, nil)
		return high == nil, high
	})
	for _, priority := range []string{"normal", "high"} {
		tooFast(t, bob.until("g", priority, 1000), time.Second)
	}
	if got := alice.send("other", say("has a rate of its own")); got.Seq != 1 {
		t.Errorf("another group: got %+v", got)
	}
	var refused *answer
	await(t, patience, "an app server is over the group's rate", func() (bool, any) {
		refused = s.server(0).post("/v1/groups/served/messages", fields{"body": textBody(say("served"))})
		return refused.Status == http.StatusTooManyRequests, refused.Status
	})
	refused.saysWhen("rate_limited", time.Second)
	s.counted(t, 0, `hearth_rate_limited_total{scope="group"}`)
}

// TestUserRate: a user is held to his rate over all his groups; app servers have none, also when they send for him.
func TestUserRate(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{env: map[string]string{"HEARTH_LIMITS_USER_RATE": "0.01", "HEARTH_LIMITS_USER_BURST": "5"}})
	s.createGroup("group", "g", "alice", "bob")
	s.createGroup("group", "other", "alice", "bob")
	alice := s.connect(0, "alice")
	for i := range 5 {
		alice.send([]string{"g", "other"}[i%2], say(i))
	}
	for _, g := range []string{"g", "other"} {
		tooFast(t, alice.until(g, "high", 1), 101*time.Second)
		s.user(0, "alice").post("/v1/groups/"+g+"/messages", fields{"body": textBody(say("again"))}).
			saysWhen("rate_limited", 101*time.Second)
	}
	s.connect(0, "bob").send("g", say("bob is another one"))
	for i := range 20 {
		s.server(0).post("/v1/groups/g/messages", fields{"from": "alice", "body": textBody(say("for her", i))}).ok(201, nil)
	}
	s.counted(t, 0, `hearth_rate_limited_total{scope="user"}`)
}

// TestNoRates: with the rates off nobody is refused; the stack's own setting has them off.
func TestNoRates(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "alice")
	alice := s.connect(0, "alice")
	answers, err := alice.stream(600, 100, func(i int) fields {
		return fields{"group": "g", "body": textBody(say(i)), "priority": "low"}
	})
	if err != nil || len(answers) != 600 {
		t.Errorf("600 sends at once: got %d and %v", len(answers), err)
	}
}

// saysWhen wants a 429 of this code that tells in both places when to come back.
func (a *answer) saysWhen(code string, most time.Duration) {
	a.t.Helper()
	a.refused(http.StatusTooManyRequests, code, "")
	var p struct {
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
	err := json.Unmarshal(a.Body, &p)
	seconds, errHeader := strconv.ParseInt(a.Header.Get("Retry-After"), 10, 64)
	if err != nil || errHeader != nil || p.RetryAfterMS < 1 || p.RetryAfterMS > most.Milliseconds() || seconds != (p.RetryAfterMS+999)/1000 {
		a.t.Errorf("%s: retry_after_ms %d, Retry-After %q; want both, at most %v", a.what, p.RetryAfterMS, a.Header.Get("Retry-After"), most)
	}
}

// counted wants a counter of instance n above 0.
func (s *stack) counted(t testing.TB, n int, counter string) {
	t.Helper()
	if value := s.metric(t, n, counter); value == "" || value == "0" {
		t.Errorf("%s: got %q, want some", counter, value)
	}
}

// metric is what instance n says of a metric, with its labels as they are written.
func (s *stack) metric(t testing.TB, n int, name string) (value string) {
	t.Helper()
	a := (&caller{t, s.http, "http://" + s.instances[n].internal, ""}).get("/metrics")
	a.ok(http.StatusOK, nil)
	for line := range strings.Lines(string(a.Body)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return "" // not there
}

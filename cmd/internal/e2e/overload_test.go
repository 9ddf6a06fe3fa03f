package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// leaseEnds is longer than an instance holds a lease that it does not prolong: who fills Redis must not lose it.
const leaseEnds = 5 * time.Second

// TestBacklogFull: MySQL is frozen until as many messages wait as may. What is refused is said to be, and stored
// nowhere; what was acknowledged is stored, and sends go on by themselves when MySQL is back.
func TestBacklogFull(t *testing.T) {
	t.Parallel()
	const limit = 1000
	s := newStack(t, setup{instances: 2, ownMySQL: true, env: map[string]string{"HEARTH_PERSIST_BACKLOG_LIMIT": strconv.Itoa(limit)}})
	s.createGroup("group", "g", "alice", "bob")
	f := &filler{c: s.connect(0, "alice"), group: "g", text: say("waits")}
	f.must(t)
	s.awaitPersisted(patience)
	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	refused := f.fill(t, 2*limit)
	if n := len(f.acks) - 1; n != limit {
		t.Errorf("messages accepted while MySQL is frozen: got %d, want %d", n, limit)
	}
	overloaded(t, refused)
	s.refusesOverHTTP(t, "g")
	for _, i := range s.instances {
		if status, view, err := i.readyz(); err != nil || status != http.StatusOK {
			t.Errorf("readyz of %s: got %d %+v (%v), want 200: others' messages go on", i.name, status, view, err)
		}
	}
	if !f.repeated(t).Duplicate {
		t.Error("repeat of a message that was accepted: got a new one")
	}
	if err := s.mysql.Resume(); err != nil {
		t.Fatal(err)
	}
	f.awaitAccepted(t)
	s.exactlyOnce(f.acks)
	s.limited(t, "backlog")
}

// TestRedisFull: Redis has no memory left, while MySQL is frozen and nothing can leave. Every send is told so at once,
// also one to a group that has to be seeded; and when MySQL is back Redis gets room by itself.
func TestRedisFull(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, ownMySQL: true})
	s.createGroup("group", "g", "alice", "bob")
	s.createGroup("group", "silent", "alice", "bob")
	f := &filler{c: s.connect(0, "alice"), group: "g", text: say(strings.Repeat("x", 8000))}
	f.must(t)
	s.awaitPersisted(patience)
	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	limit := s.usedMemory(t) + 8<<20
	s.maxMemory(t, limit)
	overloaded(t, f.fill(t, 10_000))
	s.maxMemory(t, 1) // beyond doubt: the server's own buffers come and go
	s.refusesOverHTTP(t, "g")
	for full := time.Now(); time.Since(full) < leaseEnds; {
		overloaded(t, f.fill(t, 1))
	}
	if err := s.mysql.Resume(); err != nil {
		t.Fatal(err)
	}
	s.exactlyOnce(f.acks) // that is, its logs are written though it is still full

	silent := &filler{c: f.c, group: "silent", text: f.text}
	begun := time.Now()
	overloaded(t, silent.fill(t, 1))
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("refusal of a group that has to be seeded: got it after %v, want it at once", took)
	}
	s.limited(t, "memory")
	await(t, patience, "readyz says that Redis is full", func() (bool, any) {
		status, view, err := s.instances[0].readyz()
		return err == nil && status == 200 && view.Degraded && !view.Checks["memory"].OK && view.Checks["redis"].OK, view
	})
	s.maxMemory(t, limit)
	f.awaitAccepted(t)
	silent.awaitAccepted(t)
	s.exactlyOnce(append(f.acks, silent.acks...))
}

// filler sends to a group until it is refused.
type filler struct {
	c     *client
	group string
	text  string
	tries int
	acks  []ack
}

func (f *filler) send() error {
	f.tries++
	a := ack{From: f.c.user, ClientID: fmt.Sprint(f.group, "-", f.tries), Body: compactText(f.text), Tries: 1}
	err := f.c.try("send", fields{"group": f.group, "body": textBody(f.text), "client_id": a.ClientID}, &a.sent)
	if err == nil {
		f.acks = append(f.acks, a)
	}
	return err
}

func (f *filler) must(t *testing.T) {
	t.Helper()
	if err := f.send(); err != nil {
		t.Fatal(err)
	}
}

// fill returns the first refusal.
func (f *filler) fill(t *testing.T, most int) error {
	t.Helper()
	for range most {
		if err := f.send(); err != nil {
			return err
		}
	}
	t.Fatalf("%d messages to %s: got all accepted, want one refused", most, f.group)
	return nil
}

// repeated sends the last accepted message again.
func (f *filler) repeated(t *testing.T) (again sent) {
	t.Helper()
	last := f.acks[len(f.acks)-1]
	f.c.do("send", fields{"group": f.group, "body": textBody(f.text), "client_id": last.ClientID}, &again)
	return again
}

func (f *filler) awaitAccepted(t *testing.T) {
	t.Helper()
	await(t, patience, "messages are accepted again", func() (bool, any) {
		err := f.send()
		return err == nil, err
	})
}

// overloaded wants a refusal that says so, and when to come back.
func overloaded(t *testing.T, err error) {
	t.Helper()
	var refused *failure
	if !errors.As(err, &refused) || refused.Code != "overloaded" || !refused.Retryable || refused.RetryAfterMS <= 0 {
		t.Fatalf("refusal: got %+v (%v), want overloaded, retryable, with retry_after_ms", refused, err)
	}
}

// refusesOverHTTP wants the other instance to say so, too.
func (s *stack) refusesOverHTTP(t *testing.T, group string) {
	t.Helper()
	a := s.user(1, "bob").post("/v1/groups/"+group+"/messages", fields{"body": textBody(say(strings.Repeat("y", 11_000)))})
	a.refused(http.StatusServiceUnavailable, "overloaded", "")
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("Retry-After: got %q, want seconds", a.Header.Get("Retry-After"))
	}
	var p struct {
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(a.Body, &p); err != nil || p.RetryAfterMS <= 0 {
		t.Errorf("retry_after_ms: got %s, want it there", a.Body)
	}
}

func (s *stack) usedMemory(t *testing.T) int64 {
	t.Helper()
	info, err := s.rdb.InfoMap(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return used
}

func (s *stack) maxMemory(t *testing.T, bytes int64) {
	t.Helper()
	if err := s.rdb.ConfigSet(t.Context(), "maxmemory", strconv.FormatInt(bytes, 10)).Err(); err != nil {
		t.Fatal(err)
	}
}

// limited wants refusals of this scope counted on both instances.
func (s *stack) limited(t *testing.T, scope string) {
	t.Helper()
	for n := range s.instances {
		s.counted(t, n, `hearth_rate_limited_total{scope="`+scope+`"}`)
	}
}

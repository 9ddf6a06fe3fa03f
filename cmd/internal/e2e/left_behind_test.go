package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// lockWaits counts statements on the test's database that lock a group; they end at once unless they wait. (InnoDB's own view
// of its locks does not move while somebody looks at it more often than every 100 ms.)
const lockWaits = "SELECT COUNT(*) FROM information_schema.processlist" +
	" WHERE db=DATABASE() AND id<>CONNECTION_ID() AND info LIKE 'SELECT%chat_group%FOR UPDATE'"

// dieBetween has instance 0 make changes that MySQL gets and Redis does not: Redis stands still when they are committed, and
// the instance is killed before it goes on.
func (m *moderation) dieBetween(changes ...func(olivia *caller)) {
	m.t.Helper()
	lock, err := m.db.BeginTx(m.t.Context(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.ExecContext(m.t.Context(), "UPDATE chat_group SET version=version"); err != nil {
		m.t.Fatal(err)
	}
	done := make(chan struct{}, len(changes))
	for _, change := range changes {
		go func() {
			defer func() { done <- struct{}{} }()
			change(m.user(0, "olivia"))
		}()
	}
	await(m.t, patience, "the changes wait for MySQL", func() (bool, any) {
		n := m.count(lockWaits)
		return n == len(changes), n
	})
	if err := m.redis.Pause(); err != nil {
		m.t.Fatal(err)
	}
	if err := lock.Commit(); err != nil {
		m.t.Fatal(err)
	}
	await(m.t, patience, "MySQL has the changes", func() (bool, any) {
		n := m.count("SELECT COUNT(*) FROM group_change")
		return n == len(changes), n
	})
	m.instances[0].kill()
	if err := m.redis.Resume(); err != nil {
		m.t.Fatal(err)
	}
	for range changes {
		<-done
	}
}

// TestChangesLeftBehind: an instance dies between MySQL and Redis. Another one brings there what was changed, and tells it.
func TestChangesLeftBehind(t *testing.T) {
	t.Parallel()
	m := startModeration(t)
	m.server(0).post("/v1/groups", fields{"group": "over", "type": "group", "name": "over", "owner": "olivia", "members": []string{"bob"}}).ok(201, nil)
	bob, eve, zoe := m.bob[1], m.eve[1], m.connect(1, "zoe")
	for _, group := range []string{"team", "hall", "over"} {
		sends("cached", group, "", bob)
	}
	sends("cached", "hall", "", eve)
	forgetEvents(bob, eve, zoe, m.adam)

	try := func(method, path string, body any) func(*caller) {
		return func(olivia *caller) {
			if a, err := olivia.try(method, path, body); err == nil && a.Status < 500 {
				t.Errorf("%s %s: got %d, want no answer: the change is not in Redis", method, path, a.Status)
			}
		}
	}
	m.dieBetween(
		try(http.MethodDelete, "/v1/groups/team/members/bob", nil),
		try(http.MethodPost, "/v1/groups/team/members", fields{"members": []string{"zoe"}}),
		try(http.MethodPatch, "/v1/groups/hall/members/eve", fields{"mute_ms": -1}),
		try(http.MethodPatch, "/v1/groups/hall/members/max", fields{"role": "admin"}),
		try(http.MethodDelete, "/v1/groups/over", nil),
	)
	bob.awaitChange("team", "removed", "bob")
	zoe.awaitChange("team", "joined", "zoe")
	eve.awaitChange("hall", "muted", "eve")
	bob.awaitChange("hall", "role", "max")
	bob.awaitChange("over", "dismissed", "")
	sends("removed", "team", "not_member", bob)
	sends("muted", "hall", "muted", eve)
	sends("dismissed", "over", "gone", bob)
	m.adam.send("team", say("to zoe"))
	zoe.awaitPushes("team", 1)
	zoe.send("team", say("from zoe"))
	if slices.ContainsFunc(bob.got("team"), func(f frame) bool { return f.From == "adam" || f.From == "zoe" }) {
		t.Error("bob got a message of the group that he was removed from")
	}
	await(t, patience, "nothing is left to bring to Redis", func() (bool, any) {
		n := m.count("SELECT COUNT(*) FROM group_change")
		return n == 0, n
	})
	m.sound()
}

// TestRemovedWhileRedisIsAway: Redis is away while users are removed and muted, and comes back with a copy from before.
func TestRemovedWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	m := startModeration(t, "--appendonly", "no")
	sends("cached", "team", "", m.bob...)
	sends("cached", "hall", "", m.eve...)
	m.awaitPersisted(patience)
	if err := m.rdb.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := m.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for n, path := range []string{"/v1/groups/team/members/bob", "/v1/groups/hall/blocked/eve"} {
		method := []string{http.MethodDelete, http.MethodPut}[n]
		m.user(n, "olivia").do(method, path, nil).refused(http.StatusServiceUnavailable, "unavailable", "")
	}
	if err := m.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		group, code string
		clients     []*client
	}{{"team", "not_member", m.bob}, {"hall", "forbidden", m.eve}} {
		for _, client := range c.clients {
			await(t, patience, "an answer", func() (bool, any) {
				code := codeOf(client.try("send", fields{"group": c.group, "body": textBody(say("back?"))}, nil))
				if code != c.code && code != "unavailable" && code != "overloaded" {
					t.Fatalf("%s in %s: got %q, want %q", client.user, c.group, code, c.code)
				}
				return code == c.code, fmt.Sprint(code)
			})
		}
	}
	for _, bob := range m.bob {
		bob.awaitChange("team", "removed", "bob")
	}
}

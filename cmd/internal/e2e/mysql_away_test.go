package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// slowest is what a send may take while MySQL is away and the machine is busy; without an outage it is milliseconds.
const slowest = 2 * time.Second

// TestMySQLAway: MariaDB is frozen, and later killed, under load. Sends go on without an error, the instances stay
// ready and say that they are degraded, and afterwards every row arrives.
func TestMySQLAway(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name     string
		go_, end func(s *stack) error
	}{
		{"frozen", func(s *stack) error { return s.mysql.Pause() }, func(s *stack) error { return s.mysql.Resume() }},
		{"killed", func(s *stack) error { return s.mysql.Kill() }, func(s *stack) error { return s.mysql.Restart() }},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, setup{instances: 2, ownMySQL: true})
			users, groups := names("u", 6), names("g", 4)
			for _, g := range groups {
				s.createGroup("group", g, append(users, "f")...)
			}
			var followers []*follower
			for n, g := range groups {
				followers = append(followers, s.follow("f", g, n))
			}
			l := startLoad(s, users, groups)
			l.awaitMore(200)
			if err := way.go_(s); err != nil {
				t.Fatal(err)
			}
			s.awayFor(t, l, outage())
			rowsAfter := time.Now()
			if err := way.end(s); err != nil {
				t.Fatal(err)
			}
			l.awaitMore(100)
			acks := l.stop()
			s.exactlyOnce(acks)
			t.Logf("%d messages; all rows %v after MySQL came back", len(acks), time.Since(rowsAfter).Round(time.Millisecond))
			s.complete(t, followers, acks)
			longest := time.Duration(0)
			for _, a := range acks {
				longest = max(longest, a.Took)
				if a.Tries != 1 {
					t.Errorf("message %d of %s took %d tries, want one: sending goes on without MySQL", a.Seq, a.Group, a.Tries)
				}
			}
			if t.Logf("slowest send: %v", longest); longest > slowest {
				t.Errorf("slowest send: got %v, want at most %v", longest, slowest)
			}
			for _, i := range s.instances {
				await(t, patience, i.name+" is no longer degraded", func() (bool, any) {
					_, view, err := i.readyz()
					return err == nil && view.Ready && !view.Degraded, fmt.Sprint(view, err)
				})
			}
		})
	}
}

// awayFor watches an outage of MySQL: for its whole length messages are accepted, and once it has been noticed
// /readyz answers 200 and says degraded.
func (s *stack) awayFor(t *testing.T, l *load, length time.Duration) {
	t.Helper()
	end := time.Now().Add(length)
	for _, i := range s.instances {
		await(t, patience, i.name+" says that it is degraded", func() (bool, any) {
			status, view, err := i.readyz()
			if err != nil || status != 200 {
				t.Fatalf("readyz of %s without MySQL: got %d %+v (%v), want 200", i.name, status, view, err)
			}
			return view.Degraded && !view.Checks["mysql"].OK && view.Checks["redis"].OK, view
		})
	}
	s.comesBackWithoutMySQL("u1")
	for time.Now().Before(end) {
		l.awaitMore(20)
		for _, i := range s.instances {
			status, view, err := i.readyz()
			if err != nil || status != 200 || !view.Ready || !view.Degraded {
				t.Fatalf("readyz of %s without MySQL: got %d %+v (%v), want 200, ready and degraded", i.name, status, view, err)
			}
		}
		pause(t.Context(), pollEvery)
	}
}

// comesBackWithoutMySQL: who was here lately connects anew, is subscribed to his groups, and sends.
func (s *stack) comesBackWithoutMySQL(user string) {
	s.t.Helper()
	for n := range s.instances {
		c := s.connect(n, user)
		if welcome := c.seen()[0]; welcome.Subscribed != 4 {
			s.t.Errorf("welcome without MySQL: got %s, want all 4 groups subscribed", welcome.raw)
		}
		c.awaitPushes("g1", 1)
	}
}

// TestDurable: "durable" is said of committed rows only, whatever MySQL does.
func TestDurable(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, ownMySQL: true})
	s.createGroup("group", "g", "alice", "bob")
	alice, bob := s.connect(0, "alice"), s.connect(1, "bob")
	durable := func(timeoutMS int, text string) fields {
		return fields{"group": "g", "body": textBody(text), "ack": "durable", "timeout_ms": timeoutMS}
	}
	t.Run("the row is there when the answer comes", func(t *testing.T) {
		for n := range 20 {
			var a sent
			if n%2 == 0 {
				alice.do("send", durable(10000, say("durable", n)), &a)
			} else {
				s.user(n/2%2, "bob").post("/v1/groups/g/messages", fields{
					"body": textBody(say("durable", n)), "ack": "durable", "timeout_ms": 10000,
				}).ok(201, &a)
			}
			if !a.Durable || a.PersistedSeq < a.Seq || !s.hasRow("g", a.Seq) {
				t.Fatalf("answer %d: got %+v, row %v; want durable and a row", n, a, s.hasRow("g", a.Seq))
			}
		}
	})
	t.Run("both: an answer at once and an event", func(t *testing.T) {
		var a sent
		alice.do("send", fields{"group": "g", "body": textBody(say("both")), "ack": "both"}, &a)
		if e := alice.awaitEvent("durable"); e.Group != "g" || e.Seq != a.Seq || !s.hasRow("g", a.Seq) {
			t.Errorf("event: got %s, row %v; want seq %d", e.raw, s.hasRow("g", a.Seq), a.Seq)
		}
	})
	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	var late []sent
	t.Run("MySQL frozen: durable false in time", func(t *testing.T) {
		for _, timeoutMS := range []int{300, 1500} {
			var a sent
			begun := time.Now()
			alice.do("send", durable(timeoutMS, say("frozen", timeoutMS)), &a)
			took, want := time.Since(begun), time.Duration(timeoutMS)*time.Millisecond
			if a.Durable || took < want || took > want+slowest {
				t.Errorf("timeout_ms %d: got %+v after %v, want durable false after that time", timeoutMS, a, took)
			}
			late = append(late, a)
		}
		var a sent
		begun := time.Now()
		s.user(1, "bob").post("/v1/groups/g/messages", fields{"body": textBody(say("frozen")), "ack": "durable"}).ok(201, &a)
		if took := time.Since(begun); a.Durable || took < 3*time.Second || took > 3*time.Second+slowest {
			t.Errorf("over HTTP, default timeout: got %+v after %v, want durable false after 3 s", a, took)
		}
		late = append(late, a)
	})
	var both sent
	t.Run("MySQL frozen: both answers at once", func(t *testing.T) {
		bob.do("send", fields{"group": "g", "body": textBody(say("both, frozen")), "ack": "both"}, &both)
		if both.Durable {
			t.Errorf("answer: got %+v, want durable false", both)
		}
		if events := bob.seen(); len(events) != 1 {
			t.Errorf("events while MySQL is frozen: got %s, want welcome only", events[len(events)-1].raw)
		}
	})
	if err := s.mysql.Resume(); err != nil {
		t.Fatal(err)
	}
	if e := bob.awaitEvent("durable"); e.Seq != both.Seq || !s.hasRow("g", both.Seq) {
		t.Errorf("event after MySQL came back: got %s, want seq %d and its row", e.raw, both.Seq)
	}
	for _, a := range late {
		if !s.hasRow("g", a.Seq) {
			t.Errorf("the row of seq %d is missing, later ones are there", a.Seq)
		}
	}
}

func (s *stack) hasRow(group string, seq int64) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var n int
	err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM group_msg WHERE group_id = ? AND msg_seq = ?", group, seq).Scan(&n)
	if err != nil {
		s.t.Fatal(err)
	}
	return n == 1
}

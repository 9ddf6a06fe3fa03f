package e2e

import (
	"fmt"
	"testing"
)

// TestKilledInstance: instances are killed in turn under load and come back. Clients go to the other one and repeat
// what they do not know to be accepted.
func TestKilledInstance(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	users, groups := names("u", 10), names("g", 6)
	for _, g := range groups {
		s.createGroup("group", g, append(users, "f0", "f1")...)
	}
	var followers []*follower
	for n, g := range groups {
		followers = append(followers, s.follow("f0", g, n), s.follow("f1", g, n+1))
	}
	l := startLoad(s, users, groups)
	for round := range 4 {
		l.awaitMore(500)
		i := s.instances[round%2]
		i.kill()
		l.awaitMore(300)
		i.up()
	}
	l.awaitMore(500)
	acks := l.stop()
	repeated, duplicates := 0, 0
	for _, a := range acks {
		if a.Tries > 1 {
			repeated++
		}
		if a.Duplicate {
			duplicates++
		}
	}
	t.Logf("%d messages acknowledged, %d repeated, %d of them had been accepted", len(acks), repeated, duplicates)
	s.exactlyOnce(acks)
	s.complete(t, followers, acks)
	for _, g := range groups {
		for i, a := range ofGroup(acks, g) {
			if a.Seq != int64(i+1) {
				t.Fatalf("message %d of %s: got seq %d: Redis lost nothing, so seqs are dense", i, g, a.Seq)
			}
		}
	}
}

// complete waits until every follower has seen its group's acknowledged messages, and compares.
func (s *stack) complete(t testing.TB, followers []*follower, acks []ack) {
	t.Helper()
	for _, f := range followers {
		want := ofGroup(acks, f.group)
		got := f.finish(t, want[len(want)-1].Seq)
		sameMessages(t, fmt.Sprintf("follower %s of %s", f.line.user, f.group), got, want)
	}
}

// TestInstancesStartTogether: instances that start in the same moment, as an orchestrator's do, on a fresh system and
// then on a Redis that has lost everything.
func TestInstancesStartTogether(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3, together: true})
	s.createGroup("group", "g", "alice", "bob")
	last := int64(0)
	for round := range 6 {
		alice, bob := s.connect(round%3, "alice"), s.connect((round+1)%3, "bob")
		a := alice.send("g", say(round))
		if a.Seq <= last {
			t.Fatalf("round %d: seq: got %d after %d", round, a.Seq, last)
		}
		last = a.Seq
		bob.awaitPushes("g", 1)
		s.awaitPersisted(patience)
		for _, i := range s.instances {
			i.kill()
		}
		if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		s.startTogether()
	}
}

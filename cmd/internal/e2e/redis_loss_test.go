package e2e

import (
	"slices"
	"testing"
	"time"
)

// TestRedisLoss: Redis is killed under load and comes back with its append-only file, twice, without what it had not written;
// then it is emptied.
func TestRedisLoss(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, redis: []string{"--appendonly", "yes", "--appendfsync", "everysec"}})
	users, groups := names("u", 8), names("g", 5)
	for _, g := range groups {
		s.createGroup("group", g, append(users, "f0", "f1")...)
	}
	var followers []*follower
	for n, g := range groups {
		followers = append(followers, s.follow("f0", g, n), s.follow("f1", g, n+1))
	}
	l := startLoad(s, users, groups)
	for range 2 {
		l.awaitMore(500)
		down := time.Now()
		if err := s.redis.Restart(); err != nil {
			t.Fatal(err)
		}
		l.awaitMore(500)
		t.Logf("500 more messages %v after Redis was killed", time.Since(down).Round(time.Millisecond))
	}
	acks := l.stop()
	s.exactlyOnce(acks)
	s.wholeHistory(t, acks, groups, 1)

	if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	l = startLoad(s, users, groups)
	l.awaitMore(800)
	after := l.stop()
	for _, g := range groups {
		before, now := ofGroup(acks, g), ofGroup(after, g)
		if top := before[len(before)-1].Seq; now[0].Seq <= top {
			t.Errorf("first seq in %s after FLUSHALL: got %d, there was %d before", g, now[0].Seq, top)
		}
	}
	acks = slices.Concat(acks, after)
	s.exactlyOnce(acks)
	s.sound()
	s.wholeHistory(t, acks, groups, 2)
	s.complete(t, followers, acks)
	for _, f := range followers {
		if len(f.holes) == 0 {
			t.Errorf("follower of %s: no hole, although Redis lost its numbers", f.group)
		}
	}
}

// wholeHistory pulls every group from its start on both instances: exactly the acknowledged messages, every other
// seq in a hole, and at least as many holes as Redis had losses.
func (s *stack) wholeHistory(t *testing.T, acks []ack, groups []string, losses int) {
	t.Helper()
	for n, g := range groups {
		want := ofGroup(acks, g)
		messages, holes := forwards(t, overHTTP(s.user(n%2, "u0"), g), 200)
		sameMessages(t, "pulls of "+g, messages, want)
		if len(holes) < losses {
			t.Errorf("holes of %s: got %v, want one for each of %d losses", g, holes, losses)
		}
		if err := covered(messages, merged(holes), 1, want[len(want)-1].Seq); err != nil {
			t.Errorf("history of %s: %v", g, err)
		}
		sameMessages(t, "pulls of "+g+" backwards", backwards(t, overHTTP(s.user(1-n%2, "u0"), g), 1<<50, 100), want)
	}
}

// merged puts together holes that pages have cut apart.
func merged(holes []hole) (out []hole) {
	for _, h := range holes {
		if n := len(out); n > 0 && out[n-1].To+1 == h.From && out[n-1].Reason == h.Reason {
			out[n-1].To = h.To
			continue
		}
		out = append(out, h)
	}
	return out
}

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

const retentionAge = 5 * time.Second

// aged is a stack whose messages are kept for retentionAge.
func aged(t *testing.T) *stack {
	t.Helper()
	return newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_RETENTION_AGE": retentionAge.String()}})
}

// awaitExpired waits until a group shows nothing up to seq on any instance, and returns the newest page.
func (s *stack) awaitExpired(user, group string, seq int64) (p page) {
	s.t.Helper()
	for n := range s.instances {
		await(s.t, patience, fmt.Sprintf("%s has expired up to %d", group, seq), func() (bool, any) {
			p = page{}
			s.user(n, user).get("/v1/groups/"+group+"/messages").ok(http.StatusOK, &p)
			return p.MinSeq > seq, p
		})
	}
	return p
}

func (s *stack) awaitNoRows(group string) {
	s.t.Helper()
	await(s.t, patience, "no rows of "+group, func() (bool, any) {
		var n int
		err := s.db.QueryRowContext(s.t.Context(), "SELECT COUNT(*) FROM group_msg WHERE group_id=?", group).Scan(&n)
		return err == nil && n == 0, fmt.Sprint(n, err)
	})
}

// unread is how many messages of a group a user has not read, and his place in the list of his groups.
func (s *stack) unread(n int, user, group string) (p page, h head) {
	s.t.Helper()
	var pages struct{ Results []page }
	s.user(n, user).post("/v1/sync", fields{"groups": fields{group: 0}}).ok(http.StatusOK, &pages)
	var heads struct{ Results []head }
	s.user(n, user).post("/v1/sync", fields{}).ok(http.StatusOK, &heads)
	for _, h := range heads.Results {
		if h.Group == group {
			return pages.Results[0], h
		}
	}
	s.t.Fatalf("%s is not among the groups of %s", group, user)
	return p, h
}

// TestMessagesExpire: a group of which nothing is left goes on, also when Redis is emptied then.
func TestMessagesExpire(t *testing.T) {
	t.Parallel()
	s := aged(t)
	s.createGroup("group", "g", "ann", "bob")
	ann := s.connect(0, "ann")
	for n := range 5 {
		ann.send("g", say(n))
	}
	s.user(1, "bob").post("/v1/groups/g/read", fields{"seq": 2}).ok(http.StatusOK, nil)
	if p, h := s.unread(1, "bob", "g"); p.Unread != 3 || h.Unread != 3 || h.Last == nil || p.MinSeq != 1 {
		t.Errorf("before: got %+v and %+v, want 3 unread and a last message", p, h)
	}

	gone := func(what string, last int64, reasons ...string) {
		t.Helper()
		for n := range s.instances {
			messages, holes := forwards(t, overHTTP(s.user(n, "bob"), "g"), 2)
			if err := covered(messages, merged(holes), 1, last); err != nil || len(messages) > 0 {
				t.Errorf("%s, on instance %d: got messages %s, %v", what, n, seqsOf(messages), err)
			}
			for i, h := range merged(holes) {
				if i >= len(reasons) || h.Reason != reasons[i] {
					t.Errorf("%s, on instance %d: got holes %v, want %v", what, n, merged(holes), reasons)
					break
				}
			}
			p, h := s.unread(n, "bob", "g")
			if p.Unread != 0 || h.Unread != 0 || h.Last != nil || p.MinSeq != last+1 || p.MaxSeq != last || h.MaxSeq != last {
				t.Errorf("%s, on instance %d: got %+v and %+v, want nothing unread up to %d", what, n, p, h, last)
			}
			s.user(n, "bob").get("/v1/groups/g/messages/3").refused(http.StatusNotFound, "not_found", "")
		}
	}
	s.awaitExpired("bob", "g", 5)
	s.awaitNoRows("g")
	gone("expired", 5, "expired")
	bob := s.connect(1, "bob")
	if got := ann.send("g", say("six")); got.Seq != 6 {
		t.Errorf("seq of the next message: got %d, want 6", got.Seq)
	}
	if push := bob.awaitPushes("g", 1)[0]; push.Seq != 6 {
		t.Errorf("pushed: got %s, want seq 6", push.raw)
	}
	if p, h := s.unread(0, "bob", "g"); p.Unread != 1 || h.Unread != 1 || len(p.Messages) != 1 || h.Last == nil {
		t.Errorf("after the next message: got %+v and %+v, want it unread", p, h)
	}
	s.awaitExpired("bob", "g", 6)
	s.awaitNoRows("g")

	if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	gone("expired, and Redis emptied", 6, "expired")
	next := ann.send("g", say("seven"))
	if next.Seq < 1_000_007 {
		t.Errorf("seq after Redis was emptied: got %d, want it well above 6", next.Seq)
	}
	await(t, patience, "the other instance knows the new generation", func() (bool, any) {
		p, _ := s.unread(1, "bob", "g")
		return p.MaxSeq == next.Seq, p
	})
	messages, holes := forwards(t, overHTTP(s.user(1, "bob"), "g"), 50)
	if err := covered(messages, holes, 1, next.Seq); err != nil || len(messages) != 1 || len(holes) != 2 || holes[0] != (hole{1, 6, "expired"}) {
		t.Errorf("after Redis was emptied: got %s, %v, %v", seqsOf(messages), holes, err)
	}
	s.awaitExpired("bob", "g", next.Seq)
	s.awaitNoRows("g")
	gone("all of both generations expired", next.Seq, "expired")
}

// TestStrangersDoNotForget: that a user has written three times counts when the messages are gone, also from Redis.
func TestStrangersDoNotForget(t *testing.T) {
	t.Parallel()
	s := aged(t)
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")
	group := directID("ann", "bob")
	for n := range 3 {
		if _, err := ann.sendTo("bob", say(n), ""); err != nil {
			t.Fatal(err)
		}
	}
	empty := func() {
		t.Helper()
		s.awaitNoRows(group)
		s.awaitPersisted(patience)
		if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitPersisted(patience)
	s.awaitNoRows(group)
	_, err := ann.sendTo("bob", say("four"), "")
	ann.isStranger("the fourth, when the others have expired", err)
	empty()
	_, err = ann.sendTo("bob", say("four"), "")
	ann.isStranger("the fourth, when Redis is empty as well", err)
	if _, err := bob.sendTo("ann", say("answer"), ""); err != nil {
		t.Fatal(err)
	}
	s.awaitPersisted(patience)
	empty()
	for n := range 4 {
		if _, err := ann.sendTo("bob", say("more", n), ""); err != nil {
			t.Errorf("message %d after the answer, which has expired: %v", n, err)
		}
	}
}

// TestSendsGoOnWhileMessagesExpire: under load, every page explains every seq, nothing goes before its time, followers
// miss nothing, and what is left in MySQL is what the holes leave.
func TestSendsGoOnWhileMessagesExpire(t *testing.T) {
	t.Parallel()
	s := aged(t)
	users, groups := names("u", 4), names("g", 3)
	for _, g := range groups {
		s.createGroup("group", g, append(users, "f")...)
	}
	var followers []*follower
	for n, g := range groups {
		followers = append(followers, s.follow("f", g, n))
	}
	l := startLoad(s, users, groups)
	top := int64(1)
	for round := range 2 { // each expects more to have expired than the one before
		for _, g := range groups {
			p := s.awaitExpired("u0", g, top)
			messages, holes := forwards(t, overHTTP(s.user(round%2, "u0"), g), 200)
			last := messages[len(messages)-1].Seq
			if err := covered(messages, merged(holes), 1, last); err != nil {
				t.Fatalf("history of %s: %v", g, err)
			}
			if h := merged(holes)[0]; h.From != 1 || h.To < p.MinSeq-1 || h.Reason != "expired" {
				t.Errorf("holes of %s: got %v, want one up to %d at least", g, holes, p.MinSeq-1)
			}
			if g == groups[0] {
				top = max(last, p.MinSeq)
			}
		}
		s.sound()
	}
	acks := l.stop()
	for n, g := range groups {
		sent := ofGroup(acks, g)
		messages, _ := forwards(t, overHTTP(s.user(n%2, "u0"), g), 200)
		now, err := s.rdb.Time(t.Context()).Result() // what is of the age at this time may be gone, and nothing younger
		if err != nil {
			t.Fatal(err)
		}
		young := len(sent)
		for young > 0 && sent[young-1].TimeMS >= now.Add(-retentionAge).UnixMilli() {
			young--
		}
		if got, want := len(messages), len(sent)-young; got < want {
			t.Fatalf("%s: got %d messages, want the %d that are younger than %v", g, got, want, retentionAge)
		}
		sameMessages(t, "the young ones of "+g, messages[len(messages)-len(sent)+young:], sent[young:])
		read := make(map[int64]bool, len(messages)) // some may have gone between two pages
		for _, m := range messages {
			read[m.Seq] = true
		}
		sent = slices.DeleteFunc(sent, func(a ack) bool { return !read[a.Seq] })
		sameMessages(t, "what is left of "+g, messages, sent)
	}
	s.complete(t, followers, acks)
	s.awaitPersisted(patience)
	for _, g := range groups {
		sent := ofGroup(acks, g)
		last := sent[len(sent)-1].Seq
		s.awaitExpired("u0", g, last)
		s.awaitNoRows(g)
		if p, _ := s.unread(0, "f", g); p.Unread != 0 || p.MinSeq != last+1 {
			t.Errorf("%s in the end: got %+v, want nothing left", g, p)
		}
	}
	s.sound()
	t.Logf("%d messages came and went", len(acks))
}

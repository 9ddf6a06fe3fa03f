package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"hearth/domain/testserver"
)

// membersLive is a group of ann's on three instances under load: an observer on each, and bob with a connection on the
// second and the third, not in the group yet.
type membersLive struct {
	*stack
	load      *load
	ann       *client
	observers []*client
	bob       []*client
}

func startMembersLive(t *testing.T, redisVia func(addr string) string) *membersLive {
	t.Helper()
	const perSecond = 200
	m := &membersLive{stack: newStack(t, setup{instances: 3, redisVia: redisVia})}
	senders, watchers := names("s", 9), names("o", 3)
	m.createGroupOf("ann", "g", slices.Concat(senders, watchers)...)
	m.ann = m.connect(0, "ann")
	for n, user := range watchers {
		m.observers = append(m.observers, m.connect(n, user))
	}
	m.bob = []*client{m.connect(1, "bob"), m.connect(2, "bob")}
	m.load = startTalk(m.stack, senders, []string{"g"}, perSecond)
	m.load.awaitMore(20)
	return m
}

// createGroupOf makes a group with an owner.
func (s *stack) createGroupOf(owner, group string, members ...string) {
	s.t.Helper()
	s.server(0).post("/v1/groups", fields{
		"group": group, "type": "group", "name": group, "owner": owner, "members": members,
	}).ok(http.StatusCreated, nil)
}

// mark sends a message by ann, whose seq divides what was accepted before from what was accepted after.
func (m *membersLive) mark() int64 {
	m.t.Helper()
	return m.ann.send("g", say("mark")).Seq
}

// passed waits until every observer has been pushed a message, and returns how far all of them are: what was published
// up to there has gone through every instance.
func (m *membersLive) passed(seq int64) (all int64) {
	m.t.Helper()
	for n, o := range m.observers {
		last := int64(0)
		ok := o.wait(patience, func() bool {
			if pushed := o.pushes["g"]; len(pushed) > 0 {
				last = pushed[len(pushed)-1].Seq
			}
			return last >= seq
		})
		if !ok {
			m.t.Fatalf("%s: at %d, want %d (%v)", o.user, last, seq, o.why())
		}
		if n == 0 || last < all {
			all = last
		}
	}
	return all
}

func (m *membersLive) add(n int) {
	m.t.Helper()
	m.user(n, "ann").post("/v1/groups/g/members", fields{"members": []string{"bob"}}).ok(http.StatusOK, nil)
}

func (m *membersLive) remove(n int) {
	m.t.Helper()
	m.user(n, "ann").delete("/v1/groups/g/members/bob").ok(http.StatusNoContent, nil)
}

// awaitPushed waits until the connection was pushed this message.
func (c *client) awaitPushed(group string, seq int64) {
	c.t.Helper()
	ok := c.wait(patience, func() bool {
		pushed := c.pushes[group]
		return len(pushed) > 0 && pushed[len(pushed)-1].Seq >= seq
	})
	if !ok {
		c.t.Fatalf("%s: message %d of %s is not pushed (%v)", c.user, seq, group, c.why())
	}
}

// seqs are those that were pushed to a connection, which have to rise.
func (c *client) seqs(group string) []int64 {
	c.t.Helper()
	var list []int64
	for _, p := range c.got(group) {
		if n := len(list); n > 0 && p.Seq <= list[n-1] {
			c.t.Fatalf("%s: push of %d behind %d", c.user, p.Seq, list[max(0, n-10):])
		}
		list = append(list, p.Seq)
	}
	return list
}

// getsAll fails unless every seq from first to last was pushed; getsNone, if one was.
func (c *client) getsAll(what string, first, last int64) {
	c.t.Helper()
	seqs := c.seqs("g")
	for seq := first; seq <= last; seq++ {
		if _, ok := slices.BinarySearch(seqs, seq); !ok {
			c.t.Errorf("%s: %s: message %d of %d to %d was not pushed", c.user, what, seq, first, last)
			return
		}
	}
}

func (c *client) getsNone(what string, first, last int64) {
	c.t.Helper()
	for _, seq := range c.seqs("g") {
		if seq >= first && seq <= last {
			c.t.Errorf("%s: %s: message %d was pushed, want none from %d to %d", c.user, what, seq, first, last)
			return
		}
	}
}

// awaitChange waits for an event group.
func (c *client) awaitChange(group, change, user string) frame {
	c.t.Helper()
	return c.awaitMatch(fmt.Sprintf("group %s %s of %q", group, change, user), func(f frame) bool {
		return f.Event == "group" && f.Group == group && f.Change == change && f.User == user
	})
}

// TestAddedWhileConnected: from the answer of the call on he gets every message, on every connection, on whatever
// instance; and none from the answer on that takes him out.
func TestAddedWhileConnected(t *testing.T) {
	t.Parallel()
	m := startMembersLive(t, nil)
	m.add(0)
	added := m.mark()
	for _, b := range m.bob {
		if e := b.awaitChange("g", "joined", "bob"); e.By != "ann" {
			t.Errorf("event: got %s, want by ann", e.raw)
		}
	}
	for _, o := range m.observers {
		o.awaitChange("g", "joined", "bob")
	}
	m.load.awaitMore(200)
	for n, b := range m.bob {
		b.send("g", say("bob is in", n))
	}
	last := m.mark()
	for _, b := range m.bob {
		b.awaitPushed("g", last)
		b.getsAll("since he was added", added, last)
	}

	m.remove(1)
	removed := m.mark()
	for _, b := range append(m.bob, m.observers...) {
		if e := b.awaitChange("g", "removed", "bob"); e.By != "ann" {
			t.Errorf("event: got %s, want by ann", e.raw)
		}
	}
	m.load.awaitMore(100)
	end := m.passed(m.mark())
	for _, b := range m.bob {
		b.do("ping", nil, nil)
		b.getsNone("since he was removed", removed, end)
		b.getsAll("as a member", added, last)
		b.refused(t, "send", `"op":"send","group":"g","body":[{"type":"text","text":"x"}]`, "not_member", "")
		b.refused(t, "subscribe", `"op":"subscribe","group":"g"`, "not_member", "")
	}
	m.load.stop()
}

// TestAddedAndRemovedAHundredTimes: the same over and over, by way of all instances, as fast as it goes.
func TestAddedAndRemovedAHundredTimes(t *testing.T) {
	t.Parallel()
	startMembersLive(t, nil).addAndRemove(100, false)
}

// TestAddedAndRemovedWhileFanoutIsCut: the same while pub/sub fails again and again: neither is the news of having been
// added lost with it, nor that of having been removed.
func TestAddedAndRemovedWhileFanoutIsCut(t *testing.T) {
	t.Parallel()
	const every = 300 * time.Millisecond
	var p *testserver.Proxy
	m := startMembersLive(t, func(addr string) string {
		p = testserver.NewProxy(t, addr)
		return p.Addr()
	})
	ctx, cancel := context.WithCancel(t.Context())
	cutting := make(chan struct{})
	go func() {
		defer close(cutting)
		for ; ctx.Err() == nil; pause(ctx, every) {
			p.Subscribers().Cut()
		}
	}()
	defer func() {
		cancel()
		<-cutting
	}()
	m.addAndRemove(30, true)
}

// stay is one of bob's stays in the group, told by the seqs of marks.
type stay struct{ added, last, removed, passed int64 }

// addAndRemove does so many rounds. In every other one bob is given the time to hear what he is due before he is removed.
// While pub/sub is broken he may be in again before his instance learns that he was out: then he gets what was said
// meanwhile, which he may read anyway. After the last removal he gets nothing.
func (m *membersLive) addAndRemove(rounds int, broken bool) {
	m.t.Helper()
	var stays []stay
	for n := range rounds {
		var s stay
		m.add(n % 3)
		s.added = m.mark()
		m.load.awaitMore(int64(n % 5))
		s.last = m.mark()
		if n%2 == 0 {
			m.bob[0].awaitPushed("g", s.last)
			m.bob[1].awaitPushed("g", s.last)
		}
		m.remove((n / 3) % 3)
		s.removed = m.mark()
		s.passed = m.passed(s.removed)
		stays = append(stays, s)
	}
	m.load.stop()
	for _, b := range m.bob {
		b.do("ping", nil, nil)
		for n, s := range stays {
			if n%2 == 0 {
				b.getsAll(fmt.Sprintf("round %d, as a member", n), s.added, s.last)
			}
			if !broken || n == rounds-1 {
				b.getsNone(fmt.Sprintf("round %d, removed", n), s.removed, s.passed)
			}
		}
		m.changes(b, "joined", rounds)
		m.changes(b, "removed", rounds)
		for _, e := range b.seen() {
			if e.Event == "resync" {
				m.t.Errorf("bob: got %s, and he was not slow", e.raw)
			}
		}
	}
}

// changes waits until the connection has heard so often of a change to bob, and fails when it is more.
func (m *membersLive) changes(c *client, change string, want int) {
	m.t.Helper()
	await(m.t, patience, fmt.Sprintf("%d events %s", want, change), func() (bool, any) {
		got := 0
		for _, e := range c.seen() {
			if e.Event == "group" && e.Change == change && e.User == "bob" {
				got++
			}
		}
		if got > want {
			m.t.Fatalf("%s: events %s: got %d, want %d", c.user, change, got, want)
		}
		return got == want, got
	})
}

// TestLeavesWhileConnected: who leaves gets nothing from the answer on.
func TestLeavesWhileConnected(t *testing.T) {
	t.Parallel()
	m := startMembersLive(t, nil)
	m.add(2)
	m.user(0, "bob").post("/v1/groups/g/leave", nil).ok(http.StatusNoContent, nil)
	left := m.mark()
	for _, b := range append(m.bob, m.observers...) {
		b.awaitChange("g", "left", "bob")
	}
	m.load.awaitMore(50)
	end := m.passed(m.mark())
	m.load.stop()
	for _, b := range m.bob {
		b.do("ping", nil, nil)
		b.getsNone("since he left", left, end)
		b.refused(t, "send", `"op":"send","group":"g","body":[{"type":"text","text":"x"}]`, "not_member", "")
	}
}

// TestDismissedWhileConnected: a group that is dismissed under load is gone for everybody, everywhere, from the answer on.
func TestDismissedWhileConnected(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3})
	s.createGroupOf("ann", "g", "bob", "carol")
	clients := []*client{s.connect(0, "ann"), s.connect(1, "bob"), s.connect(2, "bob"), s.connect(2, "carol")}
	last := int64(0)
	for n := range 20 {
		last = clients[n%len(clients)].send("g", say(n)).Seq
	}
	s.user(1, "ann").delete("/v1/groups/g").ok(http.StatusNoContent, nil)
	for _, c := range clients {
		c.refused(t, "send at once", `"op":"send","group":"g","body":[{"type":"text","text":"x"}]`, "gone", "")
		c.refused(t, "pull", `"op":"pull","group":"g"`, "gone", "")
		c.refused(t, "subscribe", `"op":"subscribe","group":"g"`, "gone", "")
	}
	for _, c := range clients {
		c.awaitMatch("group g dismissed", func(f frame) bool {
			return f.Event == "group" && f.Group == "g" && f.Change == "dismissed"
		})
		c.awaitPushed("g", last)
		if seqs := c.seqs("g"); seqs[len(seqs)-1] != last {
			t.Errorf("%s: last message: got %d, want %d", c.user, seqs[len(seqs)-1], last)
		}
	}
	s.server(2).get("/v1/groups/g").refused(http.StatusGone, "gone", "")
	s.server(2).post("/v1/groups", fields{"group": "g", "type": "group", "name": "g"}).refused(http.StatusGone, "gone", "")
}

// TestCreatedWhileConnected: a new group is there on its members' live connections, whoever made it, with its first
// message.
func TestCreatedWhileConnected(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3})
	ann, bob, phone, dave := s.connect(0, "ann"), s.connect(1, "bob"), s.connect(2, "bob"), s.connect(2, "dave")
	for n, web := range []*caller{s.server(0), s.user(1, "ann"), s.user(2, "ann")} {
		group := fmt.Sprintf("g%d", n)
		request := fields{"group": group, "type": "group", "name": group, "members": []string{"bob"}}
		if web.token == apiKey {
			request["owner"] = "ann"
		}
		web.post("/v1/groups", request).ok(http.StatusCreated, nil)
		ann.send(group, say("first"))
		for _, c := range []*client{ann, bob, phone} {
			c.sameTexts(group, say("first"))
			c.awaitMatch("group "+group+" created", func(f frame) bool {
				return f.Event == "group" && f.Group == group && f.Change == "created"
			})
		}
	}
	dave.do("ping", nil, nil)
	if events := dave.seen(); len(events) > 1 || len(dave.got("g0")) > 0 {
		t.Errorf("dave, who is in none: got %s, want welcome only", rawOf(events))
	}
}

// TestJoinsAnOpenGroup: joining is being added by oneself.
func TestJoinsAnOpenGroup(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.server(0).post("/v1/groups", fields{"group": "g", "type": "group", "name": "g", "join": "open", "owner": "ann"}).ok(http.StatusCreated, nil)
	ann, bob, phone := s.connect(0, "ann"), s.connect(0, "bob"), s.connect(1, "bob")
	for n, c := range []*client{bob, phone} {
		s.user(n, "bob").post("/v1/groups/g/join", nil).ok(http.StatusOK, nil) // the second time he is in already
		ann.send("g", say(n))
		c.awaitPushes("g", n+1)
	}
	for _, c := range []*client{ann, bob, phone} {
		c.awaitChange("g", "joined", "bob")
		c.sameTexts("g", say(0), say(1))
	}
	bob.do("ping", nil, nil)
	joined := 0
	for _, e := range bob.seen() {
		if e.Event == "group" && e.Change == "joined" {
			joined++
		}
	}
	if joined != 1 {
		t.Errorf("events joined: got %d, want 1: who is in already stays as he is", joined)
	}
}

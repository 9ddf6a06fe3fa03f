package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// there is what presence tells of a user.
type there struct {
	Online     bool     `json:"online"`
	Devices    []string `json:"devices"`
	LastSeenMS int64    `json:"last_seen_ms"`
}

func (c *client) presence(users ...string) map[string]there {
	c.t.Helper()
	var got struct{ Users map[string]there }
	c.do("presence", fields{"users": users}, &got)
	return got.Users
}

func (c *caller) presence(users ...string) map[string]there {
	c.t.Helper()
	var got struct{ Users map[string]there }
	c.get("/v1/presence?"+url.Values{"user": users}.Encode()).ok(http.StatusOK, &got)
	return got.Users
}

// awaitPresence waits until a user is told to be online or not, and returns how he is told.
func (c *client) awaitPresence(within time.Duration, user string, online bool) (got there) {
	c.t.Helper()
	await(c.t, within, fmt.Sprintf("%s online: %v", user, online), func() (bool, any) {
		got = c.presence(user)[user]
		return got.Online == online, got
	})
	return got
}

// connectFrom connects a user on a class of devices.
func (s *stack) connectFrom(n int, user, device string) *client {
	s.t.Helper()
	c, err := dial(s.t, s.instances[n].ws(), tokenFrom(user, device), user, nil)
	if err != nil {
		s.t.Fatalf("connect %s on %s: %v", user, device, err)
	}
	return c
}

// killedSoon is how long the users of an instance that was killed may still be told online.
const killedSoon = 20 * time.Second

func TestPresence(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	ann := s.connect(0, "ann")
	if got := ann.presence("bob", "ann")["bob"]; got.Online || len(got.Devices) > 0 || got.LastSeenMS != 0 {
		t.Errorf("bob, who was never here: got %+v, want offline and nothing more", got)
	}
	phone, web := s.connectFrom(1, "bob", "ios"), s.connectFrom(0, "bob", "web")
	second := s.connectFrom(1, "bob", "web")
	t.Run("online with his devices, on both instances, through both doors", func(t *testing.T) {
		s := s.in(t)
		for name, got := range map[string]map[string]there{
			"op": ann.presence("bob", "ann", "nobody"), "HTTP": s.user(1, "ann").presence("bob", "ann", "nobody"),
			"app server": s.server(1).presence("bob", "ann", "nobody"),
		} {
			bob := got["bob"]
			slices.Sort(bob.Devices)
			if !bob.Online || !slices.Equal(bob.Devices, []string{"ios", "web"}) || bob.LastSeenMS != 0 {
				t.Errorf("%s: bob: got %+v, want online on ios and web", name, bob)
			}
			if !got["ann"].Online || got["nobody"].Online || len(got) != 3 {
				t.Errorf("%s: got %+v, want 3 users, ann online", name, got)
			}
		}
	})
	t.Run("online as long as one connection lives", func(t *testing.T) {
		phone.close()
		await(t, patience, "bob is on web only", func() (bool, any) {
			bob := ann.presence("bob")["bob"]
			return bob.Online && slices.Equal(bob.Devices, []string{"web"}), bob
		})
		web.close()
		ann.do("ping", nil, nil)
		if bob := ann.presence("bob")["bob"]; !bob.Online {
			t.Errorf("bob with one connection left: got %+v, want online", bob)
		}
	})
	t.Run("last seen when the last one ended", func(t *testing.T) {
		before := time.Now().Add(-time.Second)
		second.close()
		bob := ann.awaitPresence(patience, "bob", false)
		if seen := time.UnixMilli(bob.LastSeenMS); len(bob.Devices) > 0 || seen.Before(before) || seen.After(time.Now().Add(time.Second)) {
			t.Errorf("bob: got %+v, want no device and last_seen_ms of now", bob)
		}
	})
	t.Run("bad input", func(t *testing.T) {
		many := names("u", 201)
		if got := ann.presence(many[:200]...); len(got) != 200 {
			t.Errorf("200 users: got %d, want 200", len(got))
		}
		ann.refused(t, "201 users", `"op":"presence","users":["`+strings.Join(many, `","`)+`"]`, tooLarge, "users")
		ann.refused(t, "no users", `"op":"presence"`, badRequest, "users")
		ann.refused(t, "users a text", `"op":"presence","users":"bob"`, badRequest, "users")
		ann.refused(t, "bad id", `"op":"presence","users":["bob","b b"]`, badRequest, "users[1]")
		ann.refused(t, "unknown field", `"op":"presence","users":["bob"],"colour":1`, badRequest, "colour")
		in := s.in(t).user(0, "ann")
		in.get("/v1/presence?"+url.Values{"user": many}.Encode()).refused(http.StatusRequestEntityTooLarge, tooLarge, "user")
		in.get("/v1/presence").refused(http.StatusBadRequest, badRequest, "user")
		in.get("/v1/presence?user=b%20b").refused(http.StatusBadRequest, badRequest, "")
		in.get("/v1/presence?user=bob&colour=red").refused(http.StatusBadRequest, badRequest, "colour")
		in.post("/v1/presence", nil).refused(http.StatusMethodNotAllowed, badRequest, "")
	})
}

// awaitSeen waits for the n-th event presence of a user and fails unless it says this.
func (c *client) awaitSeen(user string, n int, online bool) {
	c.t.Helper()
	var got []frame
	ok := c.wait(patience, func() bool {
		got = got[:0]
		for _, f := range c.events {
			if f.Event == "presence" && f.User == user {
				got = append(got, f)
			}
		}
		return len(got) >= n
	})
	if !ok || got[n-1].Online == nil || *got[n-1].Online != online {
		c.t.Fatalf("%s: events presence of %s: got %s (%v), want number %d to say %v", c.user, user, rawOf(got), c.why(), n, online)
	}
}

// TestPresenceEvents: who shares a direct conversation learns when the other one comes and goes.
func TestPresenceEvents(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "g", "ann", "bob", "carol")
	ann, carol := s.connect(0, "ann"), s.connect(1, "carol")
	ann.tells("bob", say("hello"), 1, false)
	phone := s.connect(1, "ann")
	bob := s.connect(1, "bob")
	for _, c := range []*client{ann, phone} {
		c.awaitSeen("bob", 1, true)
	}
	second := s.connect(0, "bob")
	bob.close()
	second.do("ping", nil, nil)
	second.close()
	for _, c := range []*client{ann, phone} {
		c.awaitSeen("bob", 2, false) // and nothing in between: he was there all the time
	}
	bob = s.connect(0, "bob")
	ann.awaitSeen("bob", 3, true)
	ann.close()
	phone.do("ping", nil, nil)
	if events := bob.seen(); len(events) > 1 {
		t.Errorf("bob: got %s, want no event while ann has a connection left", rawOf(events[1:]))
	}
	phone.close()
	bob.awaitSeen("ann", 1, false)
	carol.do("ping", nil, nil)
	for _, e := range carol.seen() {
		if e.Event == "presence" {
			t.Errorf("carol, who shares a group only: got %s, want no event presence", e.raw)
		}
	}
}

// TestPresenceOfAKilledInstance: who was on it is offline soon, everywhere.
func TestPresenceOfAKilledInstance(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "g", "ann", "bob", "carol", "dave")
	ann := s.connect(0, "ann")
	ann.tells("bob", say("hello"), 1, false)
	online := func(t *testing.T, within time.Duration, want int) {
		t.Helper()
		await(t, within, fmt.Sprintf("%d online in g", want), func() (bool, any) {
			var g struct{ Online int }
			s.in(t).user(0, "ann").get("/v1/groups/g").ok(http.StatusOK, &g)
			return g.Online == want, g.Online
		})
	}
	s.connect(1, "bob")
	s.connect(1, "bob")
	carol := s.connect(1, "carol")
	s.connect(0, "dave")
	ann.awaitSeen("bob", 1, true)
	online(t, patience, 4)
	carol.close()
	online(t, patience, 3)
	s.connect(1, "carol")
	online(t, patience, 4)

	killed := time.Now()
	s.instances[1].kill()
	ann.awaitPresence(killedSoon-time.Since(killed), "bob", false)
	t.Logf("offline %v after the kill", time.Since(killed).Round(time.Millisecond))
	ann.awaitSeen("bob", 2, false)
	if took := time.Since(killed); took > killedSoon {
		t.Errorf("event presence: got after %v, want within %v", took, killedSoon)
	}
	online(t, killedSoon, 2)
	if got := ann.presence("carol", "dave"); got["carol"].Online || !got["dave"].Online {
		t.Errorf("presence: got %+v, want carol offline, dave online", got)
	}
}

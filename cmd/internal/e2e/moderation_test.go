package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// moderation is olivia's group and her room, each with an admin and a member, on two instances. Bob has a connection to
// each, and so has eve, who is in neither and watches the room.
type moderation struct {
	*stack
	olivia, adam *client
	bob, eve     []*client
}

func startModeration(t *testing.T, redis ...string) *moderation {
	t.Helper()
	m := &moderation{stack: newStack(t, setup{instances: 2, redis: redis})}
	for kind, id := range map[string]string{"group": "team", "room": "hall"} {
		m.server(0).post("/v1/groups", fields{
			"group": id, "type": kind, "name": id, "owner": "olivia", "members": []string{"adam", "ada", "bob", "max"},
		}).ok(http.StatusCreated, nil)
		for _, admin := range []string{"adam", "ada"} {
			m.server(1).patch("/v1/groups/"+id+"/members/"+admin, fields{"role": "admin"}).ok(http.StatusOK, nil)
		}
	}
	m.olivia, m.adam = m.connect(0, "olivia"), m.connect(1, "adam")
	for n := range 2 {
		bob, eve := m.connect(n, "bob"), m.connect(n, "eve")
		for _, c := range []*client{bob, eve} {
			c.do("subscribe", fields{"group": "hall"}, nil)
		}
		m.bob, m.eve = append(m.bob, bob), append(m.eve, eve)
	}
	for _, c := range []*client{m.olivia, m.adam} {
		c.do("subscribe", fields{"group": "hall"}, nil)
	}
	return m
}

func (c *caller) patch(path string, body any) *answer {
	c.t.Helper()
	return c.do(http.MethodPatch, path, body)
}

func (c *caller) put(path string) *answer { c.t.Helper(); return c.do(http.MethodPut, path, nil) }

// sends fails unless all of a user's connections are answered like this by a send and a signal ("" = ok).
func sends(what, group, code string, clients ...*client) {
	for _, c := range clients {
		c.t.Helper()
		for op, more := range map[string]fields{"send": {"body": textBody(say(what))}, "signal": {"kind": "typing"}} {
			more["group"] = group
			if got := codeOf(c.try(op, more, nil)); got != code {
				c.t.Errorf("%s: %s of %s to %s: got %q, want %q", what, op, c.user, group, got, code)
			}
		}
	}
}

// forgetEvents makes awaitChange wait for what comes from here on.
func forgetEvents(clients ...*client) {
	for _, c := range clients {
		c.mu.Lock()
		c.events = nil
		c.mu.Unlock()
	}
}

// changes are the events group of one change that a connection has got, behind the answer to one more request.
func (c *client) changes(change string) (raw []string) {
	c.t.Helper()
	c.do("ping", nil, nil)
	for _, f := range c.seen() {
		if f.Event == "group" && f.Change == change {
			raw = append(raw, string(f.raw))
		}
	}
	return raw
}

func TestGroupIsChanged(t *testing.T) {
	t.Parallel()
	m := startModeration(t)
	var g group
	m.user(0, "adam").patch("/v1/groups/team", fields{
		"name": "Tëam", "avatar": "https://example.com/a.png", "attributes": fields{"a": 1},
	}).ok(http.StatusOK, &g)
	if g.Name != "Tëam" || g.Avatar != "https://example.com/a.png" || fmt.Sprint(g.Attributes) != "map[a:1]" || g.MemberCount != 5 || g.Join != "invite" {
		t.Errorf("changed: got %+v", g)
	}
	var seen group
	if m.user(1, "bob").get("/v1/groups/team").ok(200, &seen); fmt.Sprint(seen) != fmt.Sprint(g) {
		t.Errorf("what a member sees: got %+v, want %+v", seen, g)
	}
	for _, c := range append(m.bob, m.olivia) {
		if e := c.awaitChange("team", "updated", ""); e.By != "adam" {
			t.Errorf("%s: got %s, want it by adam", c.user, e.raw)
		}
	}
	var heads struct {
		Results []struct{ Group, Name string }
	}
	m.bob[1].do("sync", nil, &heads)
	if !slices.ContainsFunc(heads.Results, func(r struct{ Group, Name string }) bool { return r.Group == "team" && r.Name == "Tëam" }) {
		t.Errorf("heads: got %+v, want the new name", heads.Results)
	}

	m.server(1).patch("/v1/groups/hall", fields{"muted": true}).ok(200, nil)
	sends("everybody is muted", "hall", "muted", slices.Concat(m.bob, m.eve)...)
	sends("but those who moderate", "hall", "", m.olivia, m.adam)
	m.server(0).post("/v1/groups/hall/messages", fields{"body": textBody(say("and the app server"))}).ok(http.StatusCreated, nil)
	m.user(1, "olivia").patch("/v1/groups/hall", fields{"muted": false}).ok(200, nil)
	sends("nobody is", "hall", "", slices.Concat(m.bob, m.eve)...)

	eve := m.user(1, "eve")
	eve.post("/v1/groups/team/join", nil).refused(403, "forbidden", "")
	m.user(0, "olivia").patch("/v1/groups/team", fields{"join": "open", "member_limit": 5}).ok(200, nil)
	eve.post("/v1/groups/team/join", nil).refused(413, "too_large", "members")
	m.user(1, "olivia").patch("/v1/groups/team", fields{"member_limit": 6}).ok(200, nil)
	eve.post("/v1/groups/team/join", nil).ok(200, nil)
	m.user(1, "olivia").patch("/v1/groups/team", fields{"member_limit": 1}).ok(200, &g)
	if g.MemberCount != 6 {
		t.Errorf("members above a lowered limit: got %d, want all 6", g.MemberCount)
	}
	m.user(0, "bob").post("/v1/groups/team/members", fields{"members": []string{"zoe"}}).refused(413, "too_large", "members")
}

func TestWrongChangesAreRefused(t *testing.T) {
	t.Parallel()
	m := startModeration(t)
	m.server(0).post("/v1/groups", fields{"group": "over", "type": "room", "name": "over"}).ok(201, nil)
	m.server(0).delete("/v1/groups/over").ok(204, nil)
	m.server(0).post("/v1/direct/bob/messages", fields{"from": "max", "body": textBody(say("hi"))}).ok(201, nil)
	m.user(0, "olivia").put("/v1/groups/hall/blocked/mallory").ok(204, nil)
	for n, c := range []struct {
		who, method, path, body string
		status                  int
		code, field             string
	}{
		{"olivia", "PATCH", "team", `{}`, 400, badRequest, ""},
		{"olivia", "PATCH", "team", `[]`, 400, badRequest, ""},
		{"olivia", "PATCH", "team", `{"name":""}`, 400, badRequest, "name"},
		{"olivia", "PATCH", "team", `{"name":null}`, 400, badRequest, "name"},
		{"olivia", "PATCH", "team", `{"name":"` + strings.Repeat("n", 257) + `"}`, 413, "too_large", "name"},
		{"olivia", "PATCH", "team", `{"avatar":7}`, 400, badRequest, "avatar"},
		{"olivia", "PATCH", "team", `{"avatar":"` + strings.Repeat("n", 2049) + `"}`, 413, "too_large", "avatar"},
		{"olivia", "PATCH", "team", `{"join":"shut"}`, 400, badRequest, "join"},
		{"olivia", "PATCH", "team", `{"muted":1}`, 400, badRequest, "muted"},
		{"olivia", "PATCH", "team", `{"member_limit":0}`, 400, badRequest, "member_limit"},
		{"olivia", "PATCH", "team", `{"member_limit":"5"}`, 400, badRequest, "member_limit"},
		{"olivia", "PATCH", "team", `{"attributes":[]}`, 400, badRequest, "attributes"},
		{"olivia", "PATCH", "team", `{"attributes":{"a":"` + strings.Repeat("n", 4096) + `"}}`, 413, "too_large", "attributes"},
		{"olivia", "PATCH", "team", `{"owner":"bob"}`, 400, badRequest, "owner"},
		{"olivia", "PATCH", "team", `{"Muted":true}`, 400, badRequest, "Muted"},
		{"bob", "PATCH", "team", `{"muted":true}`, 403, "forbidden", ""},
		{"bob", "PATCH", "hall", `{"muted":true}`, 403, "forbidden", ""},
		{"eve", "PATCH", "team", `{"muted":true}`, 403, "not_member", ""},
		{"eve", "PATCH", "hall", `{"muted":true}`, 403, "not_member", ""},
		{"mallory", "PATCH", "hall", `{"muted":true}`, 403, "forbidden", ""},
		{"", "PATCH", "over", `{"muted":true}`, 410, "gone", ""},
		{"", "PATCH", "nowhere", `{"muted":true}`, 404, "not_found", ""},
		{"", "PATCH", "dm:bob:max", `{"muted":true}`, 403, "forbidden", ""},

		{"olivia", "PATCH", "team/members/bob", `{}`, 400, badRequest, ""},
		{"olivia", "PATCH", "team/members/bob", `{"role":"king"}`, 400, badRequest, "role"},
		{"olivia", "PATCH", "team/members/bob", `{"role":null}`, 400, badRequest, "role"},
		{"olivia", "PATCH", "team/members/bob", `{"mute_ms":-2}`, 400, badRequest, "mute_ms"},
		{"olivia", "PATCH", "team/members/bob", `{"mute_ms":1.5}`, 400, badRequest, "mute_ms"},
		{"olivia", "PATCH", "team/members/bob", `{"mute_ms":9007199254740992}`, 400, badRequest, "mute_ms"},
		{"olivia", "PATCH", "team/members/bob", `{"mute":1}`, 400, badRequest, "mute"},
		{"olivia", "PATCH", "team/members/a%20b", `{"mute_ms":1}`, 400, badRequest, "user"},
		{"olivia", "PATCH", "team/members/eve", `{"role":"admin"}`, 404, "not_found", ""},
		{"olivia", "PATCH", "team/members/eve", `{"mute_ms":1}`, 404, "not_found", ""},
		{"olivia", "PATCH", "hall/members/mallory", `{"mute_ms":1}`, 404, "not_found", ""},
		{"olivia", "PATCH", "team/members/olivia", `{"role":"admin"}`, 409, "conflict", ""},
		{"", "PATCH", "team/members/olivia", `{"role":"member"}`, 409, "conflict", ""},
		{"olivia", "PATCH", "team/members/olivia", `{"mute_ms":1}`, 403, "forbidden", ""},
		{"adam", "PATCH", "team/members/bob", `{"role":"admin"}`, 403, "forbidden", ""},
		{"adam", "PATCH", "team/members/adam", `{"role":"owner"}`, 403, "forbidden", ""},
		{"adam", "PATCH", "team/members/ada", `{"mute_ms":1}`, 403, "forbidden", ""},
		{"adam", "PATCH", "team/members/olivia", `{"mute_ms":1}`, 403, "forbidden", ""},
		{"adam", "PATCH", "team/members/adam", `{"mute_ms":0}`, 403, "forbidden", ""},
		{"bob", "PATCH", "team/members/max", `{"mute_ms":1}`, 403, "forbidden", ""},
		{"bob", "PATCH", "team/members/bob", `{"role":"owner"}`, 403, "forbidden", ""},
		{"eve", "PATCH", "hall/members/max", `{"mute_ms":1}`, 403, "not_member", ""},
		{"mallory", "PATCH", "hall/members/max", `{"mute_ms":1}`, 403, "forbidden", ""},
		{"", "PATCH", "over/members/max", `{"mute_ms":1}`, 410, "gone", ""},
		{"bob", "PATCH", "dm:bob:max/members/max", `{"mute_ms":1}`, 403, "forbidden", ""},
		{"", "PATCH", "dm:bob:max/members/max", `{"role":"owner"}`, 403, "forbidden", ""},

		{"adam", "PUT", "team/blocked/ada", "", 403, "forbidden", ""},
		{"adam", "PUT", "team/blocked/olivia", "", 403, "forbidden", ""},
		{"olivia", "PUT", "team/blocked/olivia", "", 403, "forbidden", ""},
		{"", "PUT", "team/blocked/olivia", "", 409, "conflict", ""},
		{"bob", "PUT", "team/blocked/max", "", 403, "forbidden", ""},
		{"eve", "PUT", "hall/blocked/max", "", 403, "not_member", ""},
		{"mallory", "DELETE", "hall/blocked/mallory", "", 403, "forbidden", ""},
		{"bob", "DELETE", "hall/blocked/mallory", "", 403, "forbidden", ""},
		{"eve", "DELETE", "team/blocked/max", "", 403, "not_member", ""},
		{"olivia", "PUT", "team/blocked/a%20b", "", 400, badRequest, "user"},
		{"olivia", "PUT", "team/blocked/system", "", 400, badRequest, "user"},
		{"olivia", "PUT", "team/blocked/max", "{}", 400, badRequest, ""},
		{"olivia", "PUT", "team/blocked/max?for=ever", "", 400, badRequest, "for"},
		{"", "PUT", "over/blocked/max", "", 410, "gone", ""},
		{"", "DELETE", "nowhere/blocked/max", "", 404, "not_found", ""},
		{"max", "PUT", "dm:bob:max/blocked/bob", "", 403, "forbidden", ""},
		{"", "POST", "team/blocked/max", "", 405, badRequest, ""},
	} {
		who := m.user(n%2, c.who)
		if c.who == "" {
			who = m.server(n % 2)
		}
		var body any
		if c.body != "" {
			body = c.body
		}
		who.do(c.method, "/v1/groups/"+c.path, body).refused(c.status, c.code, c.field)
	}
	for _, id := range []string{"team", "hall"} {
		m.sameMembers(m.server(1), id, "ada:admin", "adam:admin", "bob:member", "max:member", "olivia:owner")
	}
	sends("nothing has changed", "hall", "", slices.Concat(m.bob, m.eve)...)
}

func TestRolesAndHandingOver(t *testing.T) {
	t.Parallel()
	m := startModeration(t)
	m.bob[0].do("unsubscribe", fields{"group": "team"}, nil)
	var got groupMember
	m.user(1, "olivia").patch("/v1/groups/team/members/bob", fields{"role": "admin"}).ok(200, &got)
	if got.User != "bob" || got.Role != "admin" || got.JoinedMS == 0 {
		t.Errorf("changed: got %+v", got)
	}
	for _, c := range append(m.bob, m.olivia, m.adam) {
		if e := c.awaitChange("team", "role", "bob"); e.Role != "admin" || e.By != "olivia" {
			t.Errorf("%s: got %s, want bob as admin by olivia", c.user, e.raw)
		}
	}
	for _, b := range m.bob {
		if list := b.changes("role"); len(list) != 1 {
			t.Errorf("bob was told %q, want it once", list)
		}
	}
	m.user(1, "bob").delete("/v1/groups/team/members/max").ok(204, nil)
	m.user(0, "bob").delete("/v1/groups/team/members/adam").refused(403, "forbidden", "")

	forgetEvents(m.bob[0], m.bob[1], m.olivia, m.adam)
	m.user(0, "olivia").patch("/v1/groups/team/members/bob", fields{"role": "owner", "mute_ms": 0}).ok(200, &got)
	for _, c := range append(m.bob, m.olivia, m.adam) {
		if e := c.awaitChange("team", "role", "bob"); e.Role != "owner" || e.By != "olivia" {
			t.Errorf("%s: got %s, want bob as owner by olivia", c.user, e.raw)
		}
		if c == m.bob[0] {
			continue // he is not subscribed
		}
		if e := c.awaitChange("team", "role", "olivia"); e.Role != "admin" || e.By != "" {
			t.Errorf("%s: got %s, want olivia as admin by herself", c.user, e.raw)
		}
	}
	m.sameMembers(m.server(0), "team", "ada:admin", "adam:admin", "bob:owner", "olivia:admin")
	var g group
	if m.user(1, "olivia").get("/v1/groups/team").ok(200, &g); g.Owner != "bob" {
		t.Errorf("owner: got %q, want bob", g.Owner)
	}
	m.user(1, "olivia").patch("/v1/groups/team/members/adam", fields{"role": "member"}).refused(403, "forbidden", "")
	m.user(1, "olivia").delete("/v1/groups/team").refused(403, "forbidden", "")
	m.user(0, "bob").post("/v1/groups/team/leave", nil).refused(409, "conflict", "")
	m.user(0, "olivia").post("/v1/groups/team/leave", nil).ok(204, nil)

	m.server(0).patch("/v1/groups/team/members/adam", fields{"role": "owner"}).ok(200, nil)
	if e := m.adam.awaitMatch("adam as owner", func(f frame) bool { return f.Change == "role" && f.User == "adam" }); e.By != apiKeyID || e.Role != "owner" {
		t.Errorf("got %s, want it by the app server", e.raw)
	}
	m.sameMembers(m.server(0), "team", "ada:admin", "adam:owner", "bob:admin")
}

func TestMutedFromTheNextSendOn(t *testing.T) {
	t.Parallel()
	m := startModeration(t)
	sends("before", "team", "", m.bob...)
	m.bob[0].do("unsubscribe", fields{"group": "team"}, nil)
	var got struct {
		Role        string `json:"role"`
		MuteUntilMS int64  `json:"mute_until_ms"`
	}
	for round := range 5 {
		m.user(round%2, "adam").patch("/v1/groups/team/members/bob", fields{"mute_ms": 600_000}).ok(200, &got)
		sends("muted", "team", "muted", m.bob...)
		m.user(round%2, "bob").post("/v1/groups/team/messages", fields{"body": textBody(say("muted"))}).refused(403, "muted", "")
		m.user(1-round%2, "adam").patch("/v1/groups/team/members/bob", fields{"mute_ms": 0}).ok(200, nil)
		sends("unmuted", "team", "", m.bob...)
	}
	if left := time.Until(time.UnixMilli(got.MuteUntilMS)); left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("muted for %v, want 10 minutes", left)
	}
	for _, c := range append(m.bob, m.olivia, m.adam) {
		e := c.awaitChange("team", "muted", "bob")
		var until struct {
			MuteUntilMS *int64 `json:"mute_until_ms"`
		}
		if err := json.Unmarshal(e.raw, &until); err != nil || until.MuteUntilMS == nil || c != m.adam && e.By != "adam" {
			t.Errorf("%s: got %s", c.user, e.raw)
		}
		if list := c.changes("muted"); len(list) != 10 || !strings.Contains(list[9], `"mute_until_ms":0`) {
			t.Errorf("%s: told of %d mutes and unmutes, the last of them %q, want 10", c.user, len(list), list[len(list)-1])
		}
	}

	m.user(0, "olivia").patch("/v1/groups/hall/members/bob", fields{"mute_ms": 700}).ok(200, nil)
	sends("muted for a moment", "hall", "muted", m.bob...)
	await(t, patience, "the end of a mute", func() (bool, any) {
		code := codeOf(m.bob[1].try("send", fields{"group": "hall", "body": textBody(say("again"))}, nil))
		return code == "", code
	})
	var list struct{ Members []json.RawMessage }
	m.user(1, "eve").get("/v1/groups/hall/members").ok(200, &list)
	if strings.Contains(fmt.Sprintf("%s", list.Members), "mute_until_ms") {
		t.Errorf("members: got %s, want nobody muted any more", list.Members)
	}

	t.Run("it outlives leaving", func(t *testing.T) { m.in(t).muteOutlivesLeaving(m) })
}

func (s *stack) muteOutlivesLeaving(m *moderation) {
	for _, id := range []string{"hall", "team"} {
		s.user(0, "adam").patch("/v1/groups/"+id+"/members/bob", fields{"mute_ms": -1}).ok(200, nil)
		s.user(1, "bob").post("/v1/groups/"+id+"/leave", nil).ok(204, nil)
		s.sameMembers(s.server(0), id, "ada:admin", "adam:admin", "max:member", "olivia:owner")
	}
	s.sound()
	sends("muted and not in the room", "hall", "muted", m.bob...)
	sends("not in the group", "team", "not_member", m.bob...)
	s.user(0, "olivia").post("/v1/groups/team/members", fields{"members": []string{"bob"}}).ok(200, nil)
	s.user(0, "bob").post("/v1/groups/hall/join", nil).ok(200, nil)
	for _, id := range []string{"hall", "team"} {
		sends("in again", id, "muted", m.bob...)
		s.user(1, "adam").patch("/v1/groups/"+id+"/members/bob", fields{"mute_ms": 0}).ok(200, nil)
		sends("unmuted", id, "", m.bob...)
	}
	a := s.user(1, "adam").patch("/v1/groups/hall/members/eve", fields{"mute_ms": -1})
	if a.ok(200, nil); !strings.Contains(string(a.Body), `{"user":"eve","role":null,"mute_until_ms":-1}`) {
		s.t.Errorf("a muted outsider: got %s", a.Body)
	}
	for _, e := range m.eve {
		e.awaitChange("hall", "muted", "eve")
	}
	sends("a muted outsider", "hall", "muted", m.eve...)
	s.user(0, "eve").post("/v1/groups/hall/join", nil).ok(200, nil)
	sends("muted, and joined since", "hall", "muted", m.eve...)
}

// isKeptOut fails unless everything in the group is refused to a user on all instances.
func (m *moderation) isKeptOut(group, user string, clients ...*client) {
	m.t.Helper()
	sends("blocked", group, "forbidden", clients...)
	for _, c := range clients {
		for op, more := range map[string]fields{"subscribe": {}, "pull": {}, "read": {"seq": 1}} {
			more["group"] = group
			if got := codeOf(c.try(op, more, nil)); got != "forbidden" {
				m.t.Errorf("%s of a blocked user: got %q, want forbidden", op, got)
			}
		}
	}
	for n := range 2 {
		c := m.user(n, user)
		for _, path := range []string{"", "/members", "/messages", "/readers?seq=1"} {
			c.get("/v1/groups/"+group+path).refused(403, "forbidden", "")
		}
		c.post("/v1/groups/"+group+"/join", nil).refused(403, "forbidden", "")
		c.post("/v1/groups/"+group+"/leave", nil).refused(403, "forbidden", "")
		c.post("/v1/groups/"+group+"/messages", fields{"body": textBody(say("x"))}).refused(403, "forbidden", "")
		m.server(n).post("/v1/groups/"+group+"/join", fields{"user": user}).refused(403, "forbidden", "")
		m.server(n).post("/v1/groups/"+group+"/members", fields{"members": []string{user}}).refused(403, "forbidden", "")
	}
}

func TestBlockedUsersAreOut(t *testing.T) {
	t.Parallel()
	m := startModeration(t)
	m.olivia.send("hall", say("everybody hears this"))
	for _, c := range slices.Concat(m.bob, m.eve) {
		c.awaitPushes("hall", 1)
	}
	for n, user := range []string{"bob", "eve"} {
		for range 2 {
			m.user(n, "adam").put("/v1/groups/hall/blocked/"+user).ok(204, nil)
		}
	}
	m.server(1).put("/v1/groups/team/blocked/bob").ok(204, nil)
	after := m.olivia.send("hall", say("the blocked do not hear this"))
	m.adam.awaitPushed("hall", after.Seq)
	for _, c := range slices.Concat(m.bob, m.eve) {
		if e := c.awaitChange("hall", "removed", c.user); e.By != "adam" {
			t.Errorf("%s: got %s, want it by adam", c.user, e.raw)
		}
	}
	for _, id := range []string{"hall", "team"} {
		m.olivia.awaitChange(id, "removed", "bob")
		m.isKeptOut(id, "bob", m.bob...)
	}
	m.isKeptOut("hall", "eve", m.eve...)
	for _, c := range slices.Concat(m.bob, m.eve) {
		if pushed := c.got("hall"); pushed[len(pushed)-1].Seq >= after.Seq {
			t.Errorf("%s: heard %d messages, also what was said when he was blocked", c.user, len(pushed))
		}
	}
	for _, c := range []*client{m.olivia, m.adam} {
		if list := c.changes("removed"); slices.ContainsFunc(list, func(raw string) bool { return strings.Contains(raw, `"user":"eve"`) }) {
			t.Errorf("%s: told of eve, who was no member: %q", c.user, list)
		}
	}
	m.sameMembers(m.server(0), "hall", "ada:admin", "adam:admin", "max:member", "olivia:owner")
	if w := m.connect(0, "bob").awaitEvent("welcome"); w.Subscribed != 0 {
		t.Errorf("bob is subscribed to %d groups when he connects, want none", w.Subscribed)
	}

	for _, user := range []string{"bob", "eve", "nobody"} {
		for n := range 2 {
			m.user(n, "olivia").delete("/v1/groups/hall/blocked/"+user).ok(204, nil)
		}
	}
	for _, c := range slices.Concat(m.bob, m.eve) {
		var s struct{ Role *string }
		if c.do("subscribe", fields{"group": "hall"}, &s); s.Role != nil {
			t.Errorf("%s: role %q, want none: unblocking makes nobody a member", c.user, *s.Role)
		}
	}
	m.sound()
	sends("unblocked", "hall", "", slices.Concat(m.bob, m.eve)...)
	m.user(1, "bob").post("/v1/groups/hall/join", nil).ok(200, nil)
	m.isKeptOut("team", "bob", m.bob...)
}

// TestAnOlderRedisLetsNobodyBackIn: Redis goes back to a copy from before users were removed, blocked and muted.
func TestAnOlderRedisLetsNobodyBackIn(t *testing.T) {
	t.Parallel()
	m := startModeration(t, "--appendonly", "no")
	for _, c := range slices.Concat(m.bob, m.eve, []*client{m.olivia}) {
		c.send("hall", say("cached"))
	}
	sends("cached", "team", "", m.bob...)
	max := m.connect(1, "max")
	sends("cached", "team", "", max)
	m.awaitPersisted(patience)
	if err := m.rdb.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	m.user(0, "olivia").put("/v1/groups/hall/blocked/bob").ok(204, nil)
	m.user(1, "olivia").delete("/v1/groups/team/members/bob").ok(204, nil)
	m.user(0, "olivia").patch("/v1/groups/hall/members/eve", fields{"mute_ms": -1}).ok(200, nil)
	m.user(1, "olivia").patch("/v1/groups/team/members/max", fields{"mute_ms": -1}).ok(200, nil)
	if err := m.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		group, code string
		client      *client
	}{
		{"hall", "forbidden", m.bob[0]},
		{"hall", "forbidden", m.bob[1]},
		{"team", "not_member", m.bob[0]},
		{"team", "not_member", m.bob[1]},
		{"hall", "muted", m.eve[0]},
		{"hall", "muted", m.eve[1]},
		{"team", "muted", max},
	} {
		await(t, patience, "an answer", func() (bool, any) {
			code := codeOf(c.client.try("send", fields{"group": c.group, "body": textBody(say("back?"))}, nil))
			if code != c.code && code != "unavailable" && code != "overloaded" {
				t.Fatalf("%s in %s: got %q, want %q", c.client.user, c.group, code, c.code)
			}
			return code == c.code, code
		})
	}
	m.olivia.send("hall", say("goes on"))
}

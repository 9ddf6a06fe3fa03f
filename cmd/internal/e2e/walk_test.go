package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// group is a group as HTTP shows it.
type group struct {
	Group       string `json:"group"`
	Type        string `json:"type"`
	Name        string `json:"name"`
	Avatar      string `json:"avatar"`
	Join        string `json:"join"`
	Owner       string `json:"owner"`
	Attributes  any    `json:"attributes"`
	Muted       bool   `json:"muted"`
	MemberCount int    `json:"member_count"`
	MaxSeq      int64  `json:"max_seq"`
	CreatedMS   int64  `json:"created_ms"`
}

type groupMember struct {
	User     string `json:"user"`
	Role     string `json:"role"`
	JoinedMS int64  `json:"joined_ms"`
}

// TestHTTPWalk is a group's life over HTTP, alternating between two instances, as its people see it and as an app
// server sees it that acts for them.
func TestHTTPWalk(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	owner, bob, eve, server := s.user(0, "olivia"), s.user(1, "bob"), s.user(0, "eve"), s.server(1)

	var g group
	a := owner.post("/v1/groups", fields{
		"group": "team", "type": "group", "name": "The team", "avatar": "https://example.com/a.png", "members": []string{"bob", "bob", "olivia"},
		"attributes": fields{"colour": "red"},
	})
	a.ok(http.StatusCreated, &g)
	a.header("Location", "/v1/groups/team")
	if g.Type != "group" || g.Join != "invite" || g.Owner != "olivia" || g.MemberCount != 2 || g.MaxSeq != 0 || g.CreatedMS == 0 ||
		g.Name != "The team" || g.Avatar == "" || fmt.Sprint(g.Attributes) != "map[colour:red]" || g.Muted {
		t.Errorf("created: got %+v", g)
	}
	owner.post("/v1/groups", fields{"group": "team", "type": "room", "name": "again"}).refused(http.StatusConflict, "conflict", "")
	var seen group
	bob.get("/v1/groups/team").ok(200, &seen)
	if fmt.Sprint(seen) != fmt.Sprint(g) {
		t.Errorf("what a member sees: got %+v, want %+v", seen, g)
	}
	eve.get("/v1/groups/team").refused(http.StatusForbidden, "not_member", "")
	server.get("/v1/groups/team").ok(200, nil)

	t.Run("members", func(t *testing.T) { s.in(t).walkMembers() })
	t.Run("messages", func(t *testing.T) { s.in(t).walkMessages() })
	t.Run("rooms", func(t *testing.T) { s.in(t).walkRooms() })
	t.Run("lists", func(t *testing.T) { s.in(t).walkLists() })
	t.Run("the end of a group", func(t *testing.T) {
		bob.delete("/v1/groups/team").refused(http.StatusForbidden, "forbidden", "")
		a := owner.delete("/v1/groups/team")
		if a.ok(http.StatusNoContent, nil); len(a.Body) > 0 {
			t.Errorf("204 with a body: %q", a.Body)
		}
		for _, c := range []*caller{owner, bob, server} {
			c.get("/v1/groups/team").refused(http.StatusGone, "gone", "")
			c.get("/v1/groups/team/messages").refused(http.StatusGone, "gone", "")
			c.post("/v1/groups/team/messages", fields{"body": textBody(say("anyone?"))}).refused(http.StatusGone, "gone", "")
			c.get("/v1/groups/team/members").refused(http.StatusGone, "gone", "")
			c.delete("/v1/groups/team").refused(http.StatusGone, "gone", "")
		}
		server.post("/v1/groups/team/join", fields{"user": "eve"}).refused(http.StatusGone, "gone", "")
		owner.post("/v1/groups", fields{"group": "team", "type": "group", "name": "again"}).refused(http.StatusGone, "gone", "")
	})
	t.Run("around the API", func(t *testing.T) { s.in(t).walkAround() })
}

func (s *stack) membersOf(c *caller, group string) (list []string) {
	s.t.Helper()
	var got struct{ Members []groupMember }
	c.get("/v1/groups/"+group+"/members").ok(200, &got)
	for _, m := range got.Members {
		if m.JoinedMS == 0 {
			s.t.Errorf("%s: joined_ms is missing", m.User)
		}
		list = append(list, m.User+":"+m.Role)
	}
	return list
}

func (s *stack) sameMembers(c *caller, group string, want ...string) {
	s.t.Helper()
	if got := s.membersOf(c, group); !slices.Equal(got, want) {
		s.t.Errorf("members of %s: got %v, want %v", group, got, want)
	}
}

func (s *stack) walkMembers() {
	t := s.t
	owner, bob, eve, server := s.user(1, "olivia"), s.user(0, "bob"), s.user(1, "eve"), s.server(0)
	s.sameMembers(bob, "team", "bob:member", "olivia:owner")
	eve.get("/v1/groups/team/members").refused(403, "not_member", "")
	eve.post("/v1/groups/team/join", nil).refused(403, "forbidden", "")
	bob.post("/v1/groups/team/members", fields{"members": []string{"eve"}}).refused(403, "forbidden", "")
	var added struct{ Members []groupMember }
	owner.post("/v1/groups/team/members", fields{"members": []string{"eve", "bob"}}).ok(200, &added)
	if len(added.Members) != 2 || added.Members[0].User != "bob" || added.Members[1].Role != "member" {
		t.Errorf("added: got %+v, want bob and eve", added.Members)
	}
	s.sameMembers(server, "team", "bob:member", "eve:member", "olivia:owner")
	var joined groupMember
	server.post("/v1/groups/team/join", fields{"user": "frank"}).ok(200, &joined)
	if joined.User != "frank" || joined.Role != "member" {
		t.Errorf("put in by the app server: got %+v", joined)
	}
	server.post("/v1/groups/team/join", nil).refused(400, badRequest, "user")

	bob.delete("/v1/groups/team/members/eve").refused(403, "forbidden", "")
	owner.delete("/v1/groups/team/members/nobody").refused(404, "not_found", "")
	server.delete("/v1/groups/team/members/frank").ok(204, nil)
	owner.delete("/v1/groups/team/members/eve").ok(204, nil)
	eve.post("/v1/groups/team/messages", fields{"body": textBody(say("still here"))}).refused(403, "not_member", "")
	owner.post("/v1/groups/team/leave", nil).refused(409, "conflict", "")
	owner.post("/v1/groups/team/members", fields{"members": []string{"eve"}}).ok(200, nil)
	eve.post("/v1/groups/team/leave", nil).ok(204, nil)
	eve.post("/v1/groups/team/leave", nil).refused(403, "not_member", "")
	server.post("/v1/groups/team/join", fields{"user": "eve"}).ok(200, nil)
	server.post("/v1/groups/team/leave", fields{"user": "eve"}).ok(204, nil)
	s.sameMembers(owner, "team", "bob:member", "olivia:owner")

	owner.post("/v1/groups/team/members", fields{"members": names("m", 120)}).ok(200, nil)
	var page struct {
		Members []groupMember
		Cursor  string
	}
	var users []string
	for path := "/v1/groups/team/members?limit=50"; ; path = "/v1/groups/team/members?limit=50&cursor=" + page.Cursor {
		page.Members, page.Cursor = nil, ""
		bob.get(path).ok(200, &page)
		for _, m := range page.Members {
			users = append(users, m.User)
		}
		if page.Cursor == "" {
			break
		}
	}
	if len(users) != 122 || !slices.IsSorted(users) || len(slices.Compact(users)) != 122 {
		t.Errorf("members page by page: got %d (%v), want 122 different ones, sorted", len(users), users)
	}
	var g group
	if bob.get("/v1/groups/team").ok(200, &g); g.MemberCount != 122 {
		t.Errorf("member_count: got %d, want 122", g.MemberCount)
	}
}

func (s *stack) walkMessages() {
	t := s.t
	owner, bob, server := s.user(0, "olivia"), s.user(1, "bob"), s.server(0)
	var first, second, third sent
	a := owner.post("/v1/groups/team/messages", fields{"body": textBody(say(1)), "client_id": "c1", "from": "olivia", "echo": false})
	a.ok(http.StatusCreated, &first)
	a.header("Location", "/v1/groups/team/messages/1")
	a = owner.post("/v1/groups/team/messages", fields{"body": textBody(say(1)), "client_id": "c1"})
	if a.ok(http.StatusOK, &second); !second.Duplicate || second.Seq != 1 || second.TimeMS != first.TimeMS {
		t.Errorf("sent again: got %+v, want the first result %+v", second, first)
	}
	server.post("/v1/groups/team/messages", fields{"body": textBody(say(2)), "from": "bob", "mentions": []string{"*"}, "reply_to": 1}).ok(201, &second)
	server.post("/v1/groups/team/messages", fields{"body": textBody(say(3)), "priority": "high", "ack": "both"}).ok(201, &third)
	if first.Seq != 1 || second.Seq != 2 || third.Seq != 3 {
		t.Errorf("seqs: got %d, %d, %d, want 1, 2, 3", first.Seq, second.Seq, third.Seq)
	}
	var p page
	bob.get("/v1/groups/team/messages").ok(200, &p)
	if err := covered(p.Messages, p.Holes, 1, 3); err != nil || p.More || p.MaxSeq != 3 || p.MinSeq != 1 || p.Holes == nil {
		t.Fatalf("newest page: %v; %+v", err, p)
	}
	two, three := p.Messages[1], p.Messages[2]
	if two.From != "bob" || two.Operator != apiKeyID || two.ReplyTo != 1 || !slices.Equal(two.Mentions, []string{"*"}) {
		t.Errorf("sent for bob: got %+v", two)
	}
	if three.From != "system" || three.Operator != apiKeyID {
		t.Errorf("sent for nobody: got %+v", three)
	}
	owner.get(fmt.Sprintf("/v1/groups/team/messages?before_ms=%d&limit=1", third.TimeMS)).ok(200, &p)
	if n := len(p.Messages); n > 1 || n == 1 && p.Messages[0].TimeMS >= third.TimeMS {
		t.Errorf("page before a time: got %+v", p)
	}
	var one message
	bob.get("/v1/groups/team/messages/1").ok(200, &one)
	if one.From != "olivia" || one.ClientID != "c1" || string(one.Body) != compactText(say(1)) || one.Operator != "" {
		t.Errorf("one message: got %+v %s", one, one.Body)
	}
	bob.get("/v1/groups/team/messages/4").refused(404, "not_found", "")

	var m mark
	bob.post("/v1/groups/team/read", fields{"seq": 2}).ok(200, &m)
	if m != (mark{2, 1}) {
		t.Errorf("read: got %+v, want 2, 1", m)
	}
	server.post("/v1/groups/team/read", fields{"seq": 3, "user": "bob"}).ok(200, &m)
	if m != (mark{3, 0}) {
		t.Errorf("read for bob: got %+v, want 3, 0", m)
	}
	server.post("/v1/groups/team/read", fields{"seq": 3}).refused(400, badRequest, "user")
	var synced struct{ Results []page }
	server.post("/v1/sync", fields{"user": "olivia", "groups": fields{"team": 1}, "limit": 1}).ok(200, &synced)
	if r := synced.Results; len(r) != 1 || len(r[0].Messages) != 1 || !r[0].More || r[0].ReadSeq != 1 || r[0].Unread != 2 {
		t.Errorf("sync for olivia: got %+v", r)
	}
	server.post("/v1/sync", nil).refused(400, badRequest, "user")
}

func (s *stack) walkRooms() {
	t := s.t
	owner, eve, server := s.user(0, "olivia"), s.user(1, "eve"), s.server(0)
	var r, made group
	owner.post("/v1/groups", fields{"group": "lobby", "type": "room", "name": "Lobby"}).ok(201, &r)
	if r.Join != "open" || fmt.Sprint(r.Attributes) != "map[]" {
		t.Errorf("room: got %+v, want join open and no attributes", r)
	}
	eve.get("/v1/groups/lobby").ok(200, nil)
	eve.get("/v1/groups/lobby/messages").ok(200, nil)
	eve.get("/v1/groups/lobby/members").ok(200, nil)
	eve.post("/v1/groups/lobby/messages", fields{"body": textBody(say("hello"))}).ok(201, nil)
	eve.post("/v1/groups/lobby/join", nil).ok(200, nil)
	eve.post("/v1/groups/lobby/join", fields{"user": "eve"}).ok(200, nil)
	eve.post("/v1/groups/lobby/members", fields{"members": []string{"frank"}}).ok(200, nil)
	s.sameMembers(server, "lobby", "eve:member", "frank:member", "olivia:owner")
	a := server.post("/v1/groups", fields{"type": "room", "name": "nameless"})
	a.ok(201, &made)
	a.header("Location", "/v1/groups/"+made.Group)
	if made.Owner != "" || made.MemberCount != 0 || made.Group == "" {
		t.Errorf("made by the app server: got %+v, want an id and no owner", made)
	}
	server.post("/v1/groups", fields{"group": "closed", "type": "room", "name": "c", "owner": "olivia", "join": "invite"}).ok(201, &made)
	if made.Owner != "olivia" || made.MemberCount != 1 {
		t.Errorf("made for olivia: got %+v", made)
	}
	eve.post("/v1/groups/closed/join", nil).refused(403, "forbidden", "")
	s.user(0, "zoe").post("/v1/groups/lobby/members", fields{"members": []string{"zoe"}}).refused(403, "not_member", "")
}

func (s *stack) walkLists() {
	t := s.t
	list := func(c *caller, path string) (ids []string) {
		t.Helper()
		for cursor := ""; ; {
			var got struct {
				Groups []group
				Cursor string
			}
			c.get(path+cursor).ok(200, &got)
			for _, g := range got.Groups {
				ids = append(ids, g.Group)
			}
			if got.Cursor == "" {
				return ids
			}
			cursor = "&cursor=" + got.Cursor
		}
	}
	mine := []string{"closed", "lobby", "team"}
	if got := list(s.user(0, "olivia"), "/v1/groups?limit=2"); !slices.Equal(got, mine) {
		t.Errorf("olivia's groups: got %v, want %v", got, mine)
	}
	if got := list(s.server(1), "/v1/groups?user=olivia&limit=1"); !slices.Equal(got, mine) {
		t.Errorf("olivia's groups for the app server: got %v, want %v", got, mine)
	}
	if got := list(s.server(0), "/v1/groups?limit=2"); len(got) != 4 || !slices.IsSorted(got) {
		t.Errorf("all groups: got %v, want four, sorted", got)
	}
	s.user(0, "eve").get("/v1/groups?user=olivia").refused(403, "forbidden", "user")
}

func (s *stack) walkAround() {
	t := s.t
	i := s.instances[0]
	anybody := &caller{t, s.http, "http://" + i.addr, ""}
	operator := &caller{t, s.http, "http://" + i.internal, ""}
	a := anybody.get("/v1/openapi.yaml")
	a.ok(200, nil)
	for _, want := range []string{"openapi: 3.1.0", "/v1/groups/{g}/messages:", "/v1/groups/hot:", "/v1/sync:"} {
		if !strings.Contains(string(a.Body), want) {
			t.Errorf("openapi.yaml lacks %q", want)
		}
	}
	var hot hotPage
	s.user(0, "eve").get("/v1/groups/hot").ok(200, &hot)
	if hot.WindowMS != 300_000 || len(hot.Groups) != 1 || hot.Groups[0].Group != "lobby" || hot.Groups[0].Heat != 1 {
		t.Errorf("hot: got %+v, want lobby with one speaker", hot)
	}
	anybody.get("/v1/groups/hot").refused(401, "unauthorized", "")
	for _, c := range []*caller{anybody, operator} {
		c.get("/healthz").ok(200, nil)
		var view ready
		if c.get("/readyz").ok(200, &view); !view.Ready || view.Degraded || !view.Checks["redis"].OK || !view.Checks["mysql"].OK {
			t.Errorf("readyz: got %+v, want ready with redis and mysql", view)
		}
	}
	anybody.get("/metrics").refused(404, "not_found", "") // inside only
	a = operator.get("/metrics")
	a.ok(200, nil)
	for _, want := range []string{
		"hearth_ws_connections 0", `hearth_ready{check="redis"} 1`, "hearth_draining 0", "hearth_persist_backlog_messages",
		`hearth_http_requests_total{code="201",method="POST",route="/v1/groups"}`, "go_goroutines",
	} {
		if !strings.Contains(string(a.Body), want) {
			t.Errorf("metrics lack %q", want)
		}
	}
}

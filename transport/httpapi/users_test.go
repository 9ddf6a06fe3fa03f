package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestSendToAUser(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.change(func(f *fake) { f.online = map[string]domain.Presence{"bob": {Online: true}} })
	r := s.do(t, "ann", "POST", "/v1/direct/bob/messages", text(`,"client_id":"c1"`)).
		wantJSON(t, 201, `{"group":"dm:ann:bob","seq":1,"time_ms":5000,"duplicate":false,"durable":false,"persisted_seq":0,"peer_online":true}`)
	require.Equal(t, "/v1/groups/dm:ann:bob/messages/1", r.Header.Get("Location"))
	s.do(t, "bob", "GET", r.Header.Get("Location"), "").want(t, 200)
	s.do(t, "ann", "POST", "/v1/direct/bob/messages", text(`,"client_id":"c1"`)).
		wantJSON(t, 200, `{"group":"dm:ann:bob","seq":1,"time_ms":5000,"duplicate":true,"durable":false,"persisted_seq":0,"peer_online":true}`)
	s.do(t, "bob", "POST", "/v1/direct/ann/messages", text(`,"from":"bob"`)).
		wantJSON(t, 201, `{"group":"dm:ann:bob","seq":2,"time_ms":5000,"duplicate":false,"durable":false,"persisted_seq":0,"peer_online":false}`)
	s.do(t, "bob", "POST", "/v1/groups/dm:ann:bob/messages", text("")).want(t, 201)
	s.do(t, "zoe", "GET", "/v1/groups/dm:ann:bob/messages", "").wantProblem(t, 403, domain.CodeNotMember, "")

	for name, c := range map[string]struct {
		who, user, more string
		status          int
		code            domain.Code
		at              string
	}{
		"yourself":              {"ann", "ann", "", 400, "bad_request", "user"},
		"system":                {"ann", "system", "", 400, "bad_request", "user"},
		"no id":                 {"ann", "SECRET%20VALUE", "", 400, "bad_request", "user"},
		"for another":           {"ann", "bob", `,"from":"zoe"`, 403, "forbidden", "from"},
		"as system":             {"ann", "bob", `,"from":"system"`, 403, "forbidden", "from"},
		"server without from":   {"shop", "bob", "", 400, "bad_request", "from"},
		"server as system":      {"shop", "bob", `,"from":"system"`, 400, "bad_request", "from"},
		"server for the peer":   {"shop", "bob", `,"from":"bob"`, 400, "bad_request", "user"},
		"server from a bad id":  {"shop", "bob", `,"from":"SECRET VALUE"`, 400, "bad_request", "from"},
		"with to in the body":   {"ann", "bob", `,"to":"SECRETVALUE"`, 400, "bad_request", "to"},
		"with a group":          {"ann", "bob", `,"group":"r"`, 400, "bad_request", "group"},
		"with a bad client_id":  {"ann", "bob", `,"client_id":"SECRET VALUE"`, 400, "bad_request", "client_id"},
		"with a parameter":      {"ann", "bob/messages?a=1#", "", 400, "bad_request", "a"},
		"other content, one id": {"ann", "bob", `,"client_id":"c1","mentions":["bob"]`, 409, "conflict", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/v1/direct/" + c.user
			if !strings.HasSuffix(path, "#") {
				path += "/messages"
			}
			s.do(t, c.who, "POST", strings.TrimSuffix(path, "#"), text(c.more)).wantProblem(t, c.status, c.code, c.at)
		})
	}
	require.Len(t, s.messages["dm:ann:bob"], 3)
	s.change(func(f *fake) { f.appendErr = domain.StrangerLimit() })
	s.do(t, "ann", "POST", "/v1/direct/bob/messages", text("")).wantProblem(t, 403, domain.CodeStrangerLimit, "")
}

func TestSendToAUserByAppServer(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.do(t, "shop", "POST", "/v1/direct/bob/messages", text(`,"from":"zoe"`)).want(t, 201)
	s.do(t, "zoe", "GET", "/v1/groups/dm:bob:zoe/messages/1", "").wantJSON(t, 200,
		`{"group":"dm:bob:zoe","seq":1,"time_ms":5000,"from":"zoe","operator":"shop","body":[{"type":"text","text":"hi"}]}`)
}

func TestPresence(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.change(func(f *fake) {
		f.online = map[string]domain.Presence{"ann": {Online: true, Devices: []string{"ios", "web"}}, "bob": {LastSeenMS: 7000}}
	})
	const want = `{"users":{"ann":{"online":true,"devices":["ios","web"]},"bob":{"online":false,"devices":[],"last_seen_ms":7000},"zoe":{"online":false,"devices":[]}}}`
	for _, who := range []string{"zoe", "shop"} {
		s.do(t, who, "GET", "/v1/presence?user=ann&user=bob&user=zoe", "").wantJSON(t, 200, want)
	}
	s.do(t, "zoe", "GET", "/v1/presence?user=ann&user=ann", "").wantJSON(t, 200, `{"users":{"ann":{"online":true,"devices":["ios","web"]}}}`)
	many := func(n int) string {
		users := make([]string, n)
		for i := range users {
			users[i] = fmt.Sprintf("user=u%d", i)
		}
		return strings.Join(users, "&")
	}
	s.do(t, "zoe", "GET", "/v1/presence?"+many(domain.MaxPresenceUsers), "").want(t, 200)
	for query, at := range map[string]string{
		"": "user", "?user=": "user", "?user=ann&user=": "user", "?user=SECRET%20VALUE": "user[0]", "?user=ann&user=system": "user[1]",
		"?users=ann": "users", "?user=ann&limit=1": "limit", "?user=ann,bob": "user[0]", "?user=ann&user=%ff": "user",
	} {
		s.do(t, "zoe", "GET", "/v1/presence"+query, "").wantProblem(t, 400, domain.CodeBadRequest, at)
	}
	s.do(t, "zoe", "GET", "/v1/presence?"+many(domain.MaxPresenceUsers+1), "").wantProblem(t, 413, domain.CodeTooLarge, "user")
	s.change(func(f *fake) { f.down = errAway })
	s.do(t, "zoe", "GET", "/v1/presence?user=ann", "").wantProblem(t, 503, domain.CodeUnavailable, "")
}

func TestKick(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.change(func(f *fake) { f.notes = nil })
	for _, who := range []string{"ann", "bob"} {
		s.do(t, who, "DELETE", "/v1/users/bob/connections", "").wantProblem(t, 403, domain.CodeForbidden, "")
	}
	s.do(t, "shop", "DELETE", "/v1/users/SECRET%20VALUE/connections", "").wantProblem(t, 400, domain.CodeBadRequest, "user")
	s.do(t, "shop", "DELETE", "/v1/users/system/connections", "").wantProblem(t, 400, domain.CodeBadRequest, "user")
	s.do(t, "shop", "DELETE", "/v1/users/bob/connections", `{"x":1}`).wantProblem(t, 400, domain.CodeBadRequest, "")
	require.Empty(t, s.notes)
	r := s.do(t, "shop", "DELETE", "/v1/users/bob/connections", "").want(t, 204)
	require.Empty(t, r.body)
	require.Len(t, s.notes, 1)
	note := s.notes[0]["bob"]
	require.Equal(t, domain.NoteClose, note.Kind)
	require.Equal(t, 4503, note.Code)
	require.Empty(t, note.Conn, "all of them")
	s.do(t, "shop", "DELETE", "/v1/users/nobody/connections", "").want(t, 204)
	s.change(func(f *fake) { f.down = errAway })
	s.do(t, "shop", "DELETE", "/v1/users/bob/connections", "").wantProblem(t, 503, domain.CodeUnavailable, "")
}

func TestSignal(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	const path = "/v1/groups/g/signals"
	for _, c := range []struct{ who, more, from, operator string }{
		{"bob", "", "bob", ""},
		{"bob", `,"from":"bob"`, "bob", ""},
		{"shop", "", "system", "shop"},
		{"shop", `,"from":"system"`, "system", "shop"},
		{"shop", `,"from":"zoe"`, "zoe", "shop"},
	} {
		r := s.do(t, c.who, "POST", path, `{"kind":"typing","data":{ "a" : [1, 2] }`+c.more+`}`).want(t, 204)
		require.Empty(t, r.body)
		got := s.signals[len(s.signals)-1]
		require.Equal(t, `{"a":[1,2]}`, string(got.Data))
		got.Data = nil
		require.Equal(t, domain.Signal{Group: "g", From: c.from, Operator: c.operator, Kind: "typing"}, got)
	}
	s.do(t, "zoe", "POST", "/v1/groups/r/signals", `{"kind":"wave"}`).want(t, 204)
	require.Nil(t, s.signals[5].Data)
	for name, c := range map[string]struct {
		who, path, body string
		status          int
		code            domain.Code
		at              string
	}{
		"no body":           {"bob", path, "", 400, "bad_request", ""},
		"no kind":           {"bob", path, `{}`, 400, "bad_request", "kind"},
		"a long kind":       {"bob", path, `{"kind":"` + strings.Repeat("x", 65) + `"}`, 400, "bad_request", "kind"},
		"long data":         {"bob", path, `{"kind":"a","data":"` + strings.Repeat("x", 4095) + `"}`, 413, "too_large", "data"},
		"data twice":        {"bob", path, `{"kind":"a","data":{"k":1,"k":2}}`, 400, "bad_request", "data.k"},
		"unknown field":     {"bob", path, `{"kind":"a","to":"SECRETVALUE"}`, 400, "bad_request", "to"},
		"for another":       {"bob", path, `{"kind":"a","from":"ann"}`, 403, "forbidden", "from"},
		"by an outsider":    {"zoe", path, `{"kind":"a"}`, 403, "not_member", ""},
		"in no group":       {"bob", "/v1/groups/nope/signals", `{"kind":"a"}`, 404, "not_found", ""},
		"in a bad group":    {"bob", "/v1/groups/SECRET%20VALUE/signals", `{"kind":"a"}`, 400, "bad_request", "group"},
		"to no peer so far": {"bob", "/v1/groups/dm:ann:bob/signals", `{"kind":"a"}`, 404, "not_found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, c.who, "POST", c.path, c.body).wantProblem(t, c.status, c.code, c.at)
		})
	}
	require.Len(t, s.signals, 6)
}

func TestReaders(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.fill(t, "g", 3) // of ann
	const path = "/v1/groups/g/readers?seq="
	s.do(t, "bob", "GET", path+"2", "").wantJSON(t, 200, `{"seq":2,"read_count":0}`)
	s.do(t, "bob", "POST", "/v1/groups/g/read", `{"seq":2}`).want(t, 200)
	s.do(t, "ann", "POST", "/v1/groups/g/read", `{"seq":3}`).want(t, 200)
	for _, who := range []string{"ann", "bob", "shop"} {
		s.do(t, who, "GET", path+"1", "").wantJSON(t, 200, `{"seq":1,"read_count":1,"users":["bob"]}`)
		s.do(t, who, "GET", path+"2", "").wantJSON(t, 200, `{"seq":2,"read_count":1,"users":["bob"]}`)
		s.do(t, who, "GET", path+"3", "").wantJSON(t, 200, `{"seq":3,"read_count":0}`)
	}
	s.do(t, "ann", "DELETE", "/v1/groups/g/members/bob", "").want(t, 204)
	s.do(t, "ann", "GET", path+"1", "").wantJSON(t, 200, `{"seq":1,"read_count":0}`)

	s.fill(t, "r", 1)
	s.change(func(f *fake) {
		for i := range 101 {
			f.reads[domain.GroupUser{Group: "r", User: fmt.Sprint("u", i)}] = 1
		}
	})
	s.do(t, "zoe", "GET", "/v1/groups/r/readers?seq=1", "").wantJSON(t, 200, `{"seq":1,"read_count":101}`)
	s.change(func(f *fake) { delete(f.reads, domain.GroupUser{Group: "r", User: "u7"}) })
	r := s.do(t, "zoe", "GET", "/v1/groups/r/readers?seq=1", "").want(t, 200)
	require.Contains(t, r.body, `"read_count":100,"users":["u0","u1","u10",`)

	for query, at := range map[string]string{
		"": "seq", "?seq=": "seq", "?seq=0": "seq", "?seq=-1": "seq", "?seq=SECRETVALUE": "seq", "?seq=9007199254740992": "seq", "?seq=1&limit=1": "limit",
	} {
		s.do(t, "ann", "GET", "/v1/groups/g/readers"+query, "").wantProblem(t, 400, domain.CodeBadRequest, at)
	}
	s.do(t, "zoe", "GET", path+"1", "").wantProblem(t, 403, domain.CodeNotMember, "")
	s.do(t, "ann", "GET", path+"4", "").wantProblem(t, 404, domain.CodeNotFound, "")
	s.do(t, "ann", "GET", "/v1/groups/nope/readers?seq=1", "").wantProblem(t, 404, domain.CodeNotFound, "")
}

func TestReadIsToldToTheUsersConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.fill(t, "g", 2)
	s.do(t, "bob", "POST", "/v1/groups/g/read", `{"seq":2}`).want(t, 200)
	s.do(t, "bob", "POST", "/v1/groups/g/read", `{"seq":1}`).want(t, 200)
	s.do(t, "shop", "POST", "/v1/groups/g/read", `{"seq":1,"user":"ann"}`).want(t, 200)
	require.Equal(t, []string{"bob", "ann"}, s.told)
}

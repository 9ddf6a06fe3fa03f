package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// rights is the table "who may do what" of PROTOCOL.md §4 with §7 and §11, written off the page. "room" stands for all
// ways to join; where it is closed, only app servers add members. – is for what a kind of group does not have.
const rights = `
may        kind          owner     admin  member      muted       outsider    blocked    server
read       room          ok        ok     ok          ok          ok          forbidden  ok
read       group         ok        ok     ok          ok          not_member  forbidden  ok
read       direct        –         –      ok          –           not_member  –          ok
send       room          ok        ok     ok          muted       ok          forbidden  ok
send       group         ok        ok     ok          muted       not_member  forbidden  ok
send       direct        –         –      ok          –           not_member  –          ok
join       room+open     ok        ok     ok          ok          ok          forbidden  ok
join       room+invite   ok        ok     ok          ok          forbidden   forbidden  ok
join       room+closed   ok        ok     ok          ok          forbidden   forbidden  ok
join       group+open    ok        ok     ok          ok          ok          forbidden  ok
join       group+invite  ok        ok     ok          ok          forbidden   forbidden  ok
join       group+closed  ok        ok     ok          ok          forbidden   forbidden  ok
join       direct        –         –      ok          –           forbidden   –          forbidden
add        room+open     ok        ok     ok          ok          not_member  forbidden  ok
add        room+invite   ok        ok     ok          ok          not_member  forbidden  ok
add        room+closed   forbidden forbidden  forbidden  forbidden  not_member  forbidden  ok
add        group+open    ok        ok     ok          ok          not_member  forbidden  ok
add        group+invite  ok        ok     forbidden   forbidden   not_member  forbidden  ok
add        group+closed  forbidden forbidden  forbidden  forbidden  not_member  forbidden  ok
add        direct        –         –      forbidden   –           not_member  –          forbidden
change     room          ok        ok     forbidden   forbidden   not_member  forbidden  ok
change     group         ok        ok     forbidden   forbidden   not_member  forbidden  ok
change     direct        –         –      forbidden   –           not_member  –          forbidden
own        room          ok        forbidden  forbidden   forbidden   not_member  forbidden  ok
own        group         ok        forbidden  forbidden   forbidden   not_member  forbidden  ok
own        direct        –         –      forbidden   –           not_member  –          forbidden
recall     room          ok        ok     ok          forbidden   forbidden   forbidden  ok
recall     group         ok        ok     ok          forbidden   not_member  forbidden  ok
recall     direct        –         –      ok          –           not_member  –          ok
leave      room          conflict  ok     ok          ok          not_member  forbidden  ok
leave      group         conflict  ok     ok          ok          not_member  forbidden  ok
leave      direct        –         –      forbidden   –           not_member  –          forbidden
`

// deed is a request that one of the rights is about. {g} is the group, {other} the other side of a direct conversation.
type deed struct {
	may, method, path, body string
	status                  int
	shape                   string
	op                      string // instead of method and path
	forServer               string // body of an app server where it is another one
	changes                 bool   // when it is done, the next needs another group
}

var deeds = []deed{
	{may: "read", method: "GET", path: "/v1/groups/{g}", status: 200, shape: "group"},
	{may: "read", method: "GET", path: "/v1/groups/{g}/members", status: 200, shape: "members"},
	{may: "read", method: "GET", path: "/v1/groups/{g}/messages", status: 200, shape: "page"},
	{may: "read", method: "GET", path: "/v1/groups/{g}/messages/1", status: 200, shape: "message"},
	{may: "read", method: "GET", path: "/v1/groups/{g}/readers?seq=1", status: 200, shape: "readers"},
	{may: "read", method: "POST", path: "/v1/groups/{g}/read", body: `{"seq":1}`, forServer: `{"seq":1,"user":"bob"}`, status: 200, shape: "mark"},
	{may: "read", method: "POST", path: "/v1/sync", body: `{"groups":{"{g}":0}}`, forServer: `{"groups":{"{g}":0},"user":"bob"}`, status: 200, shape: "synced"},
	{may: "read", op: "pull", body: `{"group":"{g}"}`, shape: "page"},
	{may: "read", op: "subscribe", body: `{"group":"{g}","after_seq":0}`, shape: "entered"},
	{may: "read", op: "read", body: `{"group":"{g}","seq":1}`, shape: "mark"},
	{may: "read", op: "sync", body: `{"groups":{"{g}":0}}`, shape: "synced"},
	{may: "send", method: "POST", path: "/v1/groups/{g}/messages", body: `{"body":[{"type":"text","text":"quiet-words"}]}`, status: 201, shape: "sent"},
	{may: "send", method: "POST", path: "/v1/groups/{g}/signals", body: `{"kind":"typing"}`, status: 204},
	{may: "send", op: "send", body: `{"group":"{g}","body":[{"type":"text","text":"quiet-words"}]}`, shape: "sent"},
	{may: "send", op: "signal", body: `{"group":"{g}","kind":"typing","data":{"on":true}}`, shape: "none"},
	{may: "join", method: "POST", path: "/v1/groups/{g}/join", forServer: `{"user":"zoe"}`, status: 200, shape: "member", changes: true},
	{may: "add", method: "POST", path: "/v1/groups/{g}/members", body: `{"members":["zoe","bob"]}`, status: 200, shape: "members", changes: true},
	{may: "change", method: "PATCH", path: "/v1/groups/{g}", body: `{"name":"New"}`, status: 200, shape: "group"},
	{may: "change", method: "PATCH", path: "/v1/groups/{g}/members/max", body: `{"mute_ms":60000}`, status: 200, shape: "member"},
	{may: "change", method: "PUT", path: "/v1/groups/{g}/blocked/zoe", status: 204},
	{may: "change", method: "DELETE", path: "/v1/groups/{g}/blocked/zoe", status: 204},
	{may: "change", method: "DELETE", path: "/v1/groups/{g}/members/max", status: 204, changes: true},
	{may: "own", method: "PATCH", path: "/v1/groups/{g}/members/max", body: `{"role":"admin"}`, status: 200, shape: "member"},
	{may: "own", method: "PATCH", path: "/v1/groups/{g}/members/max", body: `{"role":"owner"}`, status: 200, shape: "member", changes: true},
	{may: "own", method: "DELETE", path: "/v1/groups/{g}", status: 204, changes: true},
	{may: "recall", op: "recall", body: `{"group":"{g}","seq":1}`, shape: "none", changes: true}, // bob's
	{may: "recall", method: "DELETE", path: "/v1/groups/{g}/messages/1", status: 204, changes: true},
	{may: "leave", method: "POST", path: "/v1/groups/{g}/leave", forServer: `{"user":"bob"}`, status: 204, changes: true},
}

func (d deed) String() string {
	if d.op != "" {
		return "op " + d.op
	}
	return d.method + " " + d.path + " " + d.body
}

// expected reads the table: the code for each of the cast, by right and kind.
func expected(t *testing.T, table string) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	heads := strings.Fields(lines[0])[2:]
	for _, line := range lines[1:] {
		cells := strings.Fields(line)
		if len(cells) != len(heads)+2 {
			t.Fatalf("the table is broken: %s", line)
		}
		codes := map[string]string{}
		for i, who := range heads {
			if cells[2+i] != "–" {
				codes[who] = cells[2+i]
			}
		}
		names := []string{strings.Replace(cells[1], "+", " ", 1)}
		if cells[1] == "room" || cells[1] == "group" {
			names = []string{cells[1] + " open", cells[1] + " invite", cells[1] + " closed"}
		}
		for _, kind := range names {
			all[cells[0]+" "+kind] = codes
		}
	}
	return all
}

// walkRights does every deed in every kind of group as everybody.
func (w *walk) walkRights(t *testing.T) {
	want := expected(t, rights)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := w.group(t, kind)
			for _, d := range deeds {
				codes := want[d.may+" "+kind]
				if codes == nil {
					t.Fatalf("the table does not say who may %s in a %s", d.may, kind)
				}
				for who, code := range codes {
					if d.op != "" && who == "server" {
						continue // HTTP only
					}
					w.do(t, d, g, who, code)
					if d.changes && code == "ok" {
						g = w.group(t, kind)
					}
				}
			}
		})
	}
}

// do does a deed as one of the cast and fails unless it is answered with the code.
func (w *walk) do(t *testing.T, d deed, group, who, code string) {
	t.Helper()
	body := d.body
	if who == "server" && d.forServer != "" {
		body = d.forServer
	}
	body = strings.ReplaceAll(body, "{g}", group)
	what := fmt.Sprintf("%v of a %s in %s", d, who, group)
	shape := d.shape
	if shape == "sent" && strings.HasPrefix(group, "dm:") && who != "server" { // system has no other side
		shape = "direct"
	}
	inside := strings.Contains(d.body, `"groups"`) && code != "ok" // sync tells errors by group
	if inside {
		shape = "failures"
	}
	if d.op != "" {
		ok, err := w.ask(t, cast[who], d.op, body)
		w.isOutcome(t, what, ok, err, shape, code, inside)
		return
	}
	var sent any
	if body != "" {
		sent = body
	}
	x := w.exchange(t, cast[who], d.method, strings.ReplaceAll(d.path, "{g}", group), sent)
	w.spec.answered(t, x)
	if err := w.spec.verdict(t, x); err != nil {
		t.Errorf("%s: right for the page, wrong for the OpenAPI file: %v", what, err)
	}
	switch a := x.answer; {
	case inside:
		a.fine(t, d.status, shape)
		isFailureInside(t, what, a.Body, code)
	case code == "ok":
		a.fine(t, d.status, shape)
	default:
		a.refused(statuses[code], code, "")
	}
}

// isOutcome fails unless a reply is an ok of a shape, or an error with the code.
func (w *walk) isOutcome(t *testing.T, what string, ok []byte, err error, shape, code string, inside bool) {
	t.Helper()
	switch {
	case code == "ok" || inside:
		if err != nil {
			t.Errorf("%s: got %v, want ok", what, err)
			return
		}
		isShape(t, what, ok, shape)
		if inside {
			isFailureInside(t, what, ok, code)
		}
	case codeOf(err) != code:
		t.Errorf("%s: got %v %s, want %s", what, err, ok, code)
	}
}

func isFailureInside(t *testing.T, what string, data []byte, code string) {
	t.Helper()
	var got struct{ Results []struct{ Error failure } }
	a := answer{t: t, what: what, Body: data}
	if a.ok(0, &got); len(got.Results) != 1 || got.Results[0].Error.Code != code {
		t.Errorf("%s: got %s, want %s", what, data, code)
	}
}

// statuses are the codes of the page with their HTTP statuses.
var statuses = map[string]int{
	badRequest: 400, "unauthorized": 401, "forbidden": 403, "not_member": 403, "muted": 403, "rejected": 403,
	"stranger_limit": 403, "not_found": 404, "conflict": 409, "already_online": 409, "gone": 410, tooLarge: 413,
	"rate_limited": 429, "overloaded": 503, "unavailable": 503, "internal": 500,
}

// rightsOver is the rest of that table: to whom a thing is done.
const rightsOver = `
may     to        owner      admin      server
remove  olivia    forbidden  forbidden  conflict
remove  ada       ok         forbidden  ok
remove  max       ok         ok         ok
mute    olivia    forbidden  forbidden  ok
mute    ada       ok         forbidden  ok
mute    max       ok         ok         ok
block   olivia    forbidden  forbidden  conflict
block   ada       ok         forbidden  ok
block   max       ok         ok         ok
block   eve       ok         ok         ok
block   mallory   ok         ok         ok
demote  olivia    conflict   forbidden  conflict
demote  ada       ok         forbidden  ok
promote max       ok         forbidden  ok
`

var deedsOver = map[string]deed{
	"remove":  {method: "DELETE", path: "/v1/groups/{g}/members/", status: 204},
	"mute":    {method: "PATCH", path: "/v1/groups/{g}/members/", body: `{"mute_ms":60000}`, status: 200, shape: "member"},
	"block":   {method: "PUT", path: "/v1/groups/{g}/blocked/", status: 204},
	"demote":  {method: "PATCH", path: "/v1/groups/{g}/members/", body: `{"role":"member"}`, status: 200, shape: "member"},
	"promote": {method: "PATCH", path: "/v1/groups/{g}/members/", body: `{"role":"admin"}`, status: 200, shape: "member"},
}

func (w *walk) walkRightsOver(t *testing.T) {
	for _, kind := range []string{"room open", "group invite"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := w.group(t, kind)
			for key, codes := range expected(t, rightsOver) {
				may, to, _ := strings.Cut(key, " ")
				d := deedsOver[may]
				d.path += to
				for who, code := range codes {
					w.do(t, d, g, who, code)
					if code == "ok" {
						g = w.group(t, kind)
					}
				}
			}
		})
	}
	t.Run("who is not in", func(t *testing.T) {
		t.Parallel()
		for kind, code := range map[string]string{"room open": "ok", "group open": "not_found"} {
			g := w.group(t, kind)
			d := deed{method: "PATCH", path: "/v1/groups/{g}/members/eve", body: `{"mute_ms":60000}`, status: 200, shape: "stranger"}
			w.do(t, d, g, "owner", code)
			d.body = `{"role":"admin"}`
			w.do(t, d, g, "owner", "not_found")
			w.do(t, deed{method: "DELETE", path: "/v1/groups/{g}/members/eve"}, g, "owner", "not_found")
			w.do(t, deed{method: "DELETE", path: "/v1/groups/{g}/blocked/eve", status: 204}, g, "owner", "ok")
		}
	})
}

// handOver is one step: the former owner is an admin.
func (w *walk) handsOver(t *testing.T) {
	g := w.group(t, "group invite")
	w.call(t, "olivia", http.MethodPatch, "/v1/groups/"+g+"/members/bob", fields{"role": "owner"}).fine(t, 200, "member")
	w.sameMembers(w.stack.in(t).server(0), g, "ada:admin", "adam:admin", "bob:owner", "max:member", "mia:member", "olivia:admin")
	w.call(t, "olivia", http.MethodPost, "/v1/groups/"+g+"/leave", nil).fine(t, 204, "")
}

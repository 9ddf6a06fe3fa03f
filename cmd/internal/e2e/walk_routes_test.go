package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// walkRoute is a route with right requests and all that its body and query take. {g} is a group of the cast's, {new} an
// id that nobody has used, {at} the time of a message.
type walkRoute struct {
	who, method, path string
	full              string   // the body with every field; "" for none
	also              []string // other right bodies
	optional          bool     // it may be left out
	inputs            []input  // of the body
	query             []input
	right             []string // queries
	status            int
	shape             string
}

var (
	cursorInput = input{name: "cursor", kind: "", wrong: []wrongValue{{value: "%", code: badRequest}, {value: "no cursor", code: badRequest}}}
	limitInput  = input{name: "limit", kind: "int", wrong: []wrongValue{{0, badRequest, true}, {-1, badRequest, true}}}

	mentionsWrong = []wrongValue{
		{names("u", 51), tooLarge, false}, {[]string{"*", "bob"}, badRequest, false},
	}
	sendInputs = []input{
		{name: "body", kind: "elements", must: true},
		{name: "client_id", kind: "id"},
		{name: "ack", kind: "word"},
		{name: "timeout_ms", kind: "int", wrong: []wrongValue{{0, badRequest, true}, {10001, badRequest, true}}},
		{name: "echo", kind: "bool"},
		{name: "mentions", kind: "users", wrong: mentionsWrong},
		{name: "priority", kind: "word"},
	}
	replyInput = input{name: "reply_to", kind: "int", wrong: []wrongValue{{0, badRequest, true}, {-1, badRequest, true}, {1 << 40, badRequest, false}}}
	kindInput  = input{name: "kind", kind: "text", must: true, wrong: []wrongValue{{"", badRequest, true}, {strings.Repeat("k", 65), badRequest, true}}}
	dataInput  = input{name: "data", kind: "any", wrong: []wrongValue{{strings.Repeat("d", 4096), tooLarge, false}}}
	nameWrong  = []wrongValue{{"", badRequest, true}, {strings.Repeat("n", 257), tooLarge, true}}
	attributes = []wrongValue{{fields{"a": strings.Repeat("x", 4096)}, tooLarge, false}}
	avatars    = []wrongValue{{strings.Repeat("a", 2049), tooLarge, true}}
)

const fullSend = `{"body":[{"type":"text","text":"quiet-words"}],"client_id":"{new}","ack":"durable","timeout_ms":10000,"echo":false,` +
	`"mentions":["bob"],"priority":"low"`

var walkTable = []walkRoute{
	{
		who: "bob", method: "POST", path: "/v1/groups", status: 201, shape: "group",
		full: `{"group":"{new}","type":"group","name":"Néw","avatar":"https://example.com/a.png","join":"open","members":["eve"],` +
			`"attributes":{"a":[1,null]},"owner":"bob"}`,
		also: []string{`{"type":"room","name":"x"}`, `{"type":"group","name":"x","members":[]}`},
		inputs: []input{
			{name: "group", kind: "group", wrong: []wrongValue{{"dm:a:b", badRequest, true}}},
			{name: "type", kind: "word", must: true, wrong: []wrongValue{{"direct", badRequest, true}}},
			{name: "name", kind: "text", must: true, wrong: nameWrong},
			{name: "avatar", kind: "text", wrong: avatars},
			{name: "join", kind: "word"},
			{name: "members", kind: "users", wrong: []wrongValue{{names("u", 501), tooLarge, true}, {[]string{"system"}, badRequest, false}}},
			{name: "attributes", kind: "object", wrong: attributes},
			{name: "owner", kind: "text", wrong: []wrongValue{{"eve", "forbidden", false}}},
		},
	},
	{
		who: "olivia", method: "GET", path: "/v1/groups", status: 200, shape: "groups",
		right: []string{"limit=1", "limit=200", "limit=100000", "user=olivia"},
		query: []input{limitInput, cursorInput, {name: "user", kind: "user", wrong: []wrongValue{{"bob", "forbidden", false}}}},
	},
	{who: "eve", method: "GET", path: "/v1/groups/{g}", status: 200, shape: "group"},
	{
		who: "adam", method: "PATCH", path: "/v1/groups/{g}", status: 200, shape: "group",
		full: `{"name":"New","avatar":"","join":"invite","muted":false,"member_limit":1000,"attributes":{}}`,
		also: []string{`{"join":"open"}`, `{"attributes":{"a":{"b":[]}}}`},
		inputs: []input{
			{name: "name", kind: "text", wrong: append([]wrongValue{{nil, badRequest, true}}, nameWrong...)},
			{name: "avatar", kind: "text", wrong: append([]wrongValue{{nil, badRequest, true}}, avatars...)},
			{name: "join", kind: "word", wrong: []wrongValue{{nil, badRequest, true}, {"", badRequest, true}}},
			{name: "muted", kind: "bool", wrong: []wrongValue{{nil, badRequest, true}}},
			{name: "member_limit", kind: "int", wrong: []wrongValue{{0, badRequest, true}, {nil, badRequest, true}}},
			{name: "attributes", kind: "object", wrong: attributes},
		},
	},
	{who: "zoe", method: "POST", path: "/v1/groups/{g}/join", full: `{"user":"zoe"}`, optional: true, inputs: []input{{name: "user", kind: "user", wrong: []wrongValue{{"bob", "forbidden", false}}}}, status: 200, shape: "member"},
	{who: "zoe", method: "POST", path: "/v1/groups/{g}/leave", full: `{"user":"zoe"}`, inputs: []input{{name: "user", kind: "user", wrong: []wrongValue{{"bob", "forbidden", false}}}}, status: 204},
	{
		who: "eve", method: "GET", path: "/v1/groups/{g}/members", status: 200, shape: "members",
		right: []string{"limit=1", "limit=500"}, query: []input{limitInput, cursorInput},
	},
	{
		who: "olivia", method: "POST", path: "/v1/groups/{g}/members", status: 200, shape: "members",
		full:   `{"members":["zoe","bob","zoe"]}`,
		inputs: []input{{name: "members", kind: "users", must: true, wrong: []wrongValue{{[]string{}, badRequest, true}, {names("u", 501), tooLarge, true}, {[]string{"system"}, badRequest, false}}}},
	},
	{who: "olivia", method: "DELETE", path: "/v1/groups/{g}/members/zoe", status: 204},
	{
		who: "olivia", method: "PATCH", path: "/v1/groups/{g}/members/bob", status: 200, shape: "member",
		full: `{"role":"admin","mute_ms":0}`,
		also: []string{`{"role":"member"}`, `{"mute_ms":-1}`, `{"mute_ms":0}`},
		inputs: []input{
			{name: "role", kind: "word", wrong: []wrongValue{{nil, badRequest, true}, {"", badRequest, true}}},
			{name: "mute_ms", kind: "int", wrong: []wrongValue{{-2, badRequest, true}, {nil, badRequest, true}, {json.Number("9007199254740992"), badRequest, true}}},
		},
	},
	{who: "olivia", method: "PUT", path: "/v1/groups/{g}/blocked/zoe", status: 204},
	{who: "olivia", method: "DELETE", path: "/v1/groups/{g}/blocked/zoe", status: 204},
	{
		who: "bob", method: "POST", path: "/v1/groups/{g}/messages", status: 201, shape: "sent",
		full: fullSend + `,"from":"bob","reply_to":1}`,
		also: []string{
			`{"body":[{"type":"text","text":"quiet-words"}],"mentions":["*"]}`, `{"body":[{"type":"custom","data":1}],"ack":"both","priority":"high"}`,
			`{"body":[{"type":"text","text":"quiet-words"}],"mentions":[],"ack":"accepted","priority":"normal"}`,
		},
		inputs: append([]input{replyInput, {name: "from", kind: "id", wrong: []wrongValue{{"eve", "forbidden", false}}}}, sendInputs...),
	},
	{
		who: "eve", method: "GET", path: "/v1/groups/{g}/messages", status: 200, shape: "page",
		right: []string{"after_seq=0&recalled_after_ms=0", "after_seq=0", "after_seq=4503599627370496", "before_seq=2", "before_ms=1", "limit=1", "limit=100000", "after_seq=0&limit=1"},
		query: []input{
			limitInput,
			{name: "after_seq", kind: "int", wrong: []wrongValue{{-1, badRequest, true}}},
			{name: "before_seq", kind: "int", wrong: []wrongValue{{-1, badRequest, true}}},
			{name: "before_ms", kind: "int", wrong: []wrongValue{{-1, badRequest, true}}},
			{name: "recalled_after_ms", kind: "int", wrong: []wrongValue{{0, badRequest, false}, {-1, badRequest, true}}}, // needs after_seq
		},
	},
	{who: "eve", method: "GET", path: "/v1/groups/{g}/messages/1", status: 200, shape: "message"},
	{who: "bob", method: "DELETE", path: "/v1/groups/{g}/messages/1", status: 204},
	{
		who: "bob", method: "POST", path: "/v1/uploads", status: 201, shape: "upload",
		full: `{"name":"cät.png","content_type":"image/png","bytes":7}`,
		inputs: []input{
			{name: "name", kind: "text", must: true, wrong: []wrongValue{{"", badRequest, true}, {"..", badRequest, false}, {"a/b", badRequest, false}}},
			{name: "content_type", kind: "text", must: true, wrong: []wrongValue{{"", badRequest, false}, {"text/html", badRequest, false}}},
			{name: "bytes", kind: "int", must: true, wrong: []wrongValue{{0, badRequest, true}, {-1, badRequest, true}, {20<<20 + 1, tooLarge, false}}},
		},
	},
	{
		who: "bob", method: "POST", path: "/v1/groups/{g}/signals", status: 204,
		full: `{"kind":"typing","data":{"on":true},"from":"bob"}`, also: []string{`{"kind":"k"}`, `{"kind":"k","data":null}`},
		inputs: []input{kindInput, dataInput, {name: "from", kind: "id", wrong: []wrongValue{{"eve", "forbidden", false}}}},
	},
	{
		who: "bob", method: "POST", path: "/v1/groups/{g}/read", status: 200, shape: "mark",
		full: `{"seq":1,"user":"bob"}`, also: []string{`{"seq":4503599627370496}`},
		inputs: []input{
			{name: "seq", kind: "int", must: true, wrong: []wrongValue{{0, badRequest, true}, {-1, badRequest, true}}},
			{name: "user", kind: "user", wrong: []wrongValue{{"eve", "forbidden", false}}},
		},
	},
	{
		who: "bob", method: "GET", path: "/v1/groups/{g}/readers", status: 200, shape: "readers",
		right: []string{"seq=1"},
		query: []input{{name: "seq", kind: "int", must: true, wrong: []wrongValue{{0, badRequest, true}, {-1, badRequest, true}}}},
	},
	{
		who: "bob", method: "POST", path: "/v1/sync", optional: true, status: 200, shape: "synced",
		full: `{"groups":{"{g}":0},"limit":1,"max_bytes":1048576,"recalled_after_ms":0,"user":"bob"}`, also: []string{`{"groups":{}}`, `{"groups":{"{g}":4503599627370496}}`},
		inputs: []input{
			{name: "groups", kind: "object", wrong: []wrongValue{{fields{"g": -1}, badRequest, false}, {fields{"g": "1"}, badRequest, true}, {manyGroups(201), tooLarge, true}}},
			limitInput,
			{name: "max_bytes", kind: "int", wrong: []wrongValue{{0, badRequest, true}}},
			{name: "recalled_after_ms", kind: "int", wrong: []wrongValue{{-1, badRequest, true}}},
			{name: "user", kind: "user", wrong: []wrongValue{{"eve", "forbidden", false}}},
		},
	},
	{
		who: "bob", method: "POST", path: "/v1/sync", status: 200, shape: "heads", full: `{"user":"bob"}`, optional: true,
		inputs: []input{{name: "user", kind: "user"}, {name: "cursor", kind: "text", wrong: []wrongValue{{"no cursor", badRequest, false}}}},
	},
	{
		who: "bob", method: "POST", path: "/v1/direct/{new}/messages", status: 201, shape: "direct",
		full: fullSend + `,"from":"bob"}`, also: []string{`{"body":[{"type":"text","text":"quiet-words"}]}`},
		inputs: append([]input{{name: "from", kind: "id", wrong: []wrongValue{{"eve", "forbidden", false}}}}, sendInputs...),
	},
	{
		who: "eve", method: "GET", path: "/v1/groups/hot", status: 200, shape: "hot",
		right: []string{"limit=1", "limit=200", "type=room", "explain=0"},
		query: []input{
			limitInput, cursorInput,
			{name: "type", kind: "word", wrong: []wrongValue{{"group", "forbidden", false}, {"all", "forbidden", false}, {"direct", badRequest, true}}},
			{name: "explain", kind: "word", wrong: []wrongValue{{"1", "forbidden", false}, {"true", badRequest, true}}},
		},
	},
	{
		who: "eve", method: "GET", path: "/v1/presence", status: 200, shape: "presences",
		right: []string{"user=bob", "user=bob&user=nobody"},
		query: []input{{name: "user", kind: "", must: true, wrong: []wrongValue{{"a b", badRequest, true}, {strings.Repeat("a", 65), badRequest, true}}}},
	},
	{who: appServer, method: "DELETE", path: "/v1/users/nobody/connections", status: 204},
	{who: "olivia", method: "DELETE", path: "/v1/groups/{g}", status: 204},
}

func manyGroups(n int) fields {
	groups := fields{}
	for _, g := range names("g", n) {
		groups[g] = 0
	}
	return groups
}

// walkRoutes asks each route rightly, and wrongly in each way, in the order of the table.
func (w *walk) walkRoutes(t *testing.T) {
	for _, r := range walkTable {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			t.Parallel()
			g := w.group(t, "room open")
			w.prepare(t, r, g)
			w.walkWrong(t, r, g)
			w.walkPathIDs(t, r)
			w.walkRight(t, r, g)
		})
	}
}

// prepare brings zoe to where the route wants her.
func (w *walk) prepare(t *testing.T, r walkRoute, g string) {
	t.Helper()
	if strings.HasSuffix(r.path, "/leave") || strings.HasSuffix(r.path, "/members/zoe") {
		w.call(t, "zoe", http.MethodPost, "/v1/groups/"+g+"/join", nil).fine(t, 200, "member")
	}
}

func (w *walk) fill(s, g string) string {
	for strings.Contains(s, "{new}") {
		s = strings.Replace(s, "{new}", w.fresh("new"), 1)
	}
	return strings.ReplaceAll(s, "{g}", g)
}

func (w *walk) walkRight(t *testing.T, r walkRoute, g string) {
	bodies := append([]string{r.full}, r.also...)
	if r.optional {
		bodies = append(bodies, "")
	}
	for _, body := range bodies {
		if !slices.ContainsFunc(r.query, func(in input) bool { return in.must }) {
			w.isRight(t, r, g, r.path, body)
		}
	}
	for _, query := range r.right {
		w.isRight(t, r, g, r.path+"?"+query, r.full)
	}
}

func (w *walk) isRight(t *testing.T, r walkRoute, g, path, body string) {
	t.Helper()
	var sent any
	if body != "" {
		sent = w.fill(body, g)
	}
	x := w.exchange(t, r.who, r.method, w.fill(path, g), sent)
	w.spec.answered(t, x)
	if err := w.spec.verdict(t, x); err != nil {
		t.Errorf("%s: right for the page, wrong for the OpenAPI file: %v", x.answer.what, err)
	}
	shape := r.shape
	if shape == "synced" && body == "" {
		shape = "heads"
	}
	x.answer.fine(t, r.status, shape)
	if r.status == http.StatusCreated && x.answer.Status == r.status {
		shape := map[string]string{"group": "group", "sent": "message", "direct": "message"}[shape]
		if shape != "" { // where an upload will be, nothing is yet
			w.call(t, r.who, http.MethodGet, x.answer.Header.Get("Location"), nil).fine(t, 200, shape)
		}
	}
}

func (w *walk) walkWrong(t *testing.T, r walkRoute, g string) {
	if r.full != "" {
		for _, m := range mistakes(t, w.fill(r.full, g), r.inputs) {
			w.isWrong(t, w.exchange(t, r.who, r.method, w.fill(r.path, g), m.body), m)
		}
	} else {
		m := mistake{"a body that is not wanted", nil, badRequest, "", true}
		w.isWrong(t, w.exchange(t, r.who, r.method, w.fill(r.path, g), fields{}), m)
	}
	w.walkWrongQueries(t, r, g)
}

// walkWrongQueries: a parameter that is unknown, empty, given twice, in capitals, mistyped or out of bounds.
func (w *walk) walkWrongQueries(t *testing.T, r walkRoute, g string) {
	type wrongQuery struct {
		query string
		m     mistake
	}
	list := []wrongQuery{{"colour=red", mistake{code: badRequest, field: "colour", says: true}}}
	for _, in := range r.query {
		capital := strings.ToUpper(in.name[:1]) + in.name[1:]
		list = append(
			list,
			wrongQuery{in.name + "=", mistake{code: badRequest, field: in.name}},
			wrongQuery{capital + "=1", mistake{code: badRequest, field: capital, says: true}},
			wrongQuery{in.name + "=%FF", mistake{code: badRequest, field: in.name}},
		)
		if in.must {
			list = append(list, wrongQuery{"", mistake{code: badRequest, field: in.name, says: true}})
		}
		if in.kind != "" {
			list = append(list, wrongQuery{in.name + "=1&" + in.name + "=2", mistake{code: badRequest, field: in.name}})
		}
		if in.kind == "int" {
			list = append(
				list,
				wrongQuery{in.name + "=many", mistake{code: badRequest, field: in.name, says: true}},
				wrongQuery{in.name + "=1.5", mistake{code: badRequest, field: in.name, says: true}},
				wrongQuery{in.name + "=9223372036854775808", mistake{code: badRequest, field: in.name}},
			)
		}
		if in.kind == "user" {
			list = append(list, wrongQuery{in.name + "=a+b", mistake{code: badRequest, field: in.name, says: true}})
		}
		for _, wrong := range in.wrong {
			query := in.name + "=" + url.QueryEscape(fmt.Sprint(wrong.value))
			list = append(list, wrongQuery{query, mistake{code: wrong.code, field: in.name, says: wrong.says}})
		}
	}
	for _, q := range list {
		path := w.fill(r.path, g)
		if q.query != "" {
			path += "?" + q.query
		}
		var body any
		if r.full != "" {
			body = w.fill(r.full, g)
		}
		w.isWrong(t, w.exchange(t, r.who, r.method, path, body), q.m)
	}
}

// isWrong fails unless an answer is this mistake's error; where the OpenAPI file can tell, it has to call it wrong, too.
func (w *walk) isWrong(t *testing.T, x exchange, m mistake) {
	t.Helper()
	w.spec.answered(t, x)
	x.answer.what += " (" + m.what + ")"
	x.answer.refused(statuses[m.code], m.code, "")
	var p problem
	if x.answer.ok(x.answer.Status, &p); m.field != "" && (len(p.Errors) != 1 || !begins(p.Errors[0].Location, m.field)) {
		t.Errorf("%s: does not name %s: %s", x.answer.what, m.field, x.answer.Body)
	}
	if err := w.spec.verdict(t, x); m.says && err == nil {
		t.Errorf("%s: wrong for the page, right for the OpenAPI file", x.answer.what)
	}
}

// walkPathIDs: ids in the path that are none, that are reserved, that nobody has.
func (w *walk) walkPathIDs(t *testing.T, r walkRoute) {
	var body any
	if r.full != "" {
		body = w.fill(r.full, "{g}")
	}
	query := ""
	if strings.HasSuffix(r.path, "/readers") {
		query = "?seq=1"
	}
	if strings.Contains(r.path, "{g}") {
		for id, code := range map[string]string{
			"a%20b": badRequest, "%FF": badRequest, "dm:b:a": badRequest, "dm:a": badRequest, strings.Repeat("a", 65): badRequest, w.fresh("none"): "not_found",
			"dm:bob:" + w.fresh("zzz"): "not_found",
		} {
			path := strings.ReplaceAll(r.path, "{g}", id) + query
			x := w.exchange(t, r.who, r.method, path, body)
			w.isWrong(t, x, mistake{what: "the group's id", code: code, field: map[string]string{badRequest: "group"}[code], says: id == "a%20b"})
		}
	}
	for _, name := range []string{"/zoe", "/bob", "/{new}", "/nobody"} {
		if i := strings.LastIndex(r.path, name); i > len("/v1/groups") {
			field := "user"
			for _, id := range []string{"a%20b", "system", strings.Repeat("a", 65)} {
				path := strings.Replace(r.path, name, "/"+id, 1)
				x := w.exchange(t, r.who, r.method, w.fill(path, "somewhere"), body)
				w.isWrong(t, x, mistake{what: "the user's id", code: badRequest, field: field, says: id == "a%20b"})
			}
		}
	}
	if strings.HasSuffix(r.path, "/messages/1") {
		g := w.group(t, "room open")
		for _, seq := range []string{"0", "-1", "x", "1.5"} {
			x := w.exchange(t, r.who, r.method, "/v1/groups/"+g+"/messages/"+seq, nil)
			w.isWrong(t, x, mistake{what: "the seq", code: badRequest, field: "seq", says: true})
		}
		w.isWrong(t, w.exchange(t, r.who, r.method, "/v1/groups/"+g+"/messages/2", nil), mistake{code: "not_found"})
	}
}

// walkWrongBodies: what is no JSON object in UTF-8 of at most 1 MiB, for each route that takes a body.
func (w *walk) walkWrongBodies(t *testing.T) {
	g := w.group(t, "room open")
	for _, r := range walkTable {
		if r.full == "" {
			continue
		}
		path := w.fill(r.path, g)
		for what, body := range map[string]string{
			"half an object": `{`, "a list": `[]`, "a number": `1`, "null and more": `null null`, "two objects": `{}{}`, "bad UTF-8": `{"a":"` + "\xff" + `"}`,
			"a name twice": `{"user":"a","user":"b"}`, "a comment": `{} //`,
		} {
			w.isWrong(t, w.exchange(t, r.who, r.method, path, body), mistake{what: what, code: badRequest})
		}
		w.isWrong(t, w.exchange(t, r.who, r.method, path, strings.Repeat(" ", 1<<20)+"{}"), mistake{what: "over 1 MiB", code: tooLarge})
		if !r.optional && r.status != 204 {
			w.isWrong(t, w.exchange(t, r.who, r.method, path, nil), mistake{what: "no body", code: badRequest, says: true})
		}
		w.walkWrongType(t, r, path)
	}
}

// walkWrongType: a body that does not say it is JSON.
func (w *walk) walkWrongType(t *testing.T, r walkRoute, path string) {
	t.Helper()
	request, err := http.NewRequest(r.method, "http://"+w.instances[w.next()].addr+path, strings.NewReader("a=b"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+credentials(r.who))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := (&caller{t, w.http, "", ""}).send(request)
	if err != nil {
		t.Fatal(err)
	}
	w.spec.answered(t, exchange{r.method, path, "application/x-www-form-urlencoded", []byte("a=b"), a})
	a.refused(http.StatusUnsupportedMediaType, badRequest, "")
}

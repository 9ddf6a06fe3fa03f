package e2e

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// walkOp is an op with right requests and all that it takes. {g} is a group of the cast's, {new} an id that nobody has
// used.
type walkOp struct {
	op     string
	full   string   // a request with every field
	also   []string // other right ones
	inputs []input
	shape  string
}

var (
	groupInput = input{name: "group", kind: "group", must: true}
	afterInput = input{name: "after_seq", kind: "int", wrong: []wrongValue{{-1, badRequest, false}}}

	recalledInput = input{name: "recalled_after_ms", kind: "int", wrong: []wrongValue{{-1, badRequest, false}}}
)

var opTable = []walkOp{
	{
		op: "send", shape: "sent", full: fullSend + `,"group":"{g}","reply_to":1}`,
		also: []string{
			`{"group":"{g}","body":[{"type":"text","text":"quiet-words"}],"mentions":["*"],"ack":"accepted","priority":"high"}`,
			`{"group":"{g}","body":[{"type":"text","text":"quiet-words"}],"ack":"both","priority":"normal","echo":true}`,
		},
		inputs: append([]input{groupInput, replyInput}, sendInputs...),
	},
	{
		op: "signal", shape: "none", full: `{"group":"{g}","kind":"typing","data":{"on":true}}`, also: []string{`{"group":"{g}","kind":"k"}`},
		inputs: []input{groupInput, kindInput, dataInput},
	},
	{
		op: "subscribe", shape: "entered", full: `{"group":"{g}","after_seq":0,"limit":1,"recalled_after_ms":0}`,
		also:   []string{`{"group":"{g}"}`, `{"group":"{g}","after_seq":4503599627370496,"limit":100000}`},
		inputs: []input{groupInput, afterInput, limitInput, recalledInput},
	},
	{op: "unsubscribe", shape: "none", full: `{"group":"{g}"}`, inputs: []input{groupInput}},
	{
		op: "sync", shape: "synced", full: `{"groups":{"{g}":0},"limit":1,"max_bytes":1048576,"recalled_after_ms":0}`, also: []string{`{"groups":{}}`},
		inputs: []input{
			{name: "groups", kind: "object", wrong: []wrongValue{{fields{"g": -1}, badRequest, false}, {fields{"g": "1"}, badRequest, false}, {manyGroups(201), tooLarge, false}}},
			limitInput,
			{name: "max_bytes", kind: "int", wrong: []wrongValue{{0, badRequest, false}}},
			recalledInput,
		},
	},
	{op: "sync", shape: "heads", full: `{}`, inputs: []input{{name: "cursor", kind: "text", wrong: []wrongValue{{"no cursor", badRequest, false}}}}},
	{
		op: "pull", shape: "page", full: `{"group":"{g}","after_seq":0,"limit":200,"recalled_after_ms":0}`,
		also:   []string{`{"group":"{g}"}`, `{"group":"{g}","before_seq":2}`, `{"group":"{g}","before_ms":1}`, `{"group":"{g}","limit":100000}`},
		inputs: []input{groupInput, afterInput, limitInput, recalledInput},
	},
	{
		op: "recall", shape: "none", full: `{"group":"{g}","seq":2}`,
		inputs: []input{groupInput, {name: "seq", kind: "int", must: true, wrong: []wrongValue{{0, badRequest, false}, {-1, badRequest, false}}}},
	},
	{
		op: "pull", shape: "page", full: `{"group":"{g}","before_seq":1}`,
		inputs: []input{{name: "before_seq", kind: "int", wrong: []wrongValue{{-1, badRequest, false}}}, {name: "after_seq", wrong: []wrongValue{{0, badRequest, false}}}},
	},
	{
		op: "pull", shape: "page", full: `{"group":"{g}","before_ms":1}`,
		inputs: []input{{name: "before_ms", kind: "int", wrong: []wrongValue{{-1, badRequest, false}}}},
	},
	{
		op: "read", shape: "mark", full: `{"group":"{g}","seq":1}`, also: []string{`{"group":"{g}","seq":4503599627370496}`},
		inputs: []input{groupInput, {name: "seq", kind: "int", must: true, wrong: []wrongValue{{0, badRequest, false}, {-1, badRequest, false}}}},
	},
	{
		op: "presence", shape: "presences", full: `{"users":["bob","nobody"]}`,
		inputs: []input{{name: "users", kind: "users", must: true, wrong: []wrongValue{{names("u", 201), tooLarge, false}}}},
	},
	{
		op: "hot", shape: "none", full: `{"watch":true,"limit":10}`,
		also:   []string{`{"watch":false}`, `{"watch":true,"limit":100000}`, `{"watch":true}`},
		inputs: []input{{name: "watch", kind: "bool", must: true}, {name: "limit", kind: "int", wrong: []wrongValue{{0, badRequest, false}, {-1, badRequest, false}}}},
	},
	{op: "ping", shape: "pong", full: `{}`},
	{
		op: "refresh", shape: "refreshed", full: `{"token":"{token}"}`,
		inputs: []input{{name: "token", kind: "text", must: true, wrong: []wrongValue{{"not.a.token", "unauthorized", false}, {token("eve"), "unauthorized", false}, {apiKey, "unauthorized", false}}}},
	},
}

// opsOfThePage are all; those that no table has have to stand in notYet.
var opsOfThePage = []string{
	"send", "signal", "subscribe", "unsubscribe", "sync", "pull", "read", "recall", "presence", "hot", "ping", "refresh",
}

func (w *walk) walkOps(t *testing.T) {
	for _, op := range opsOfThePage {
		inTable := slices.ContainsFunc(opTable, func(o walkOp) bool { return o.op == op })
		missing := slices.ContainsFunc(notYet, func(n absent) bool { return n.op == op && n.whole })
		if inTable == missing {
			t.Errorf("op %s: stands in one of the table and notYet", op)
		}
	}
	for _, o := range opTable {
		t.Run(o.op, func(t *testing.T) {
			t.Parallel()
			user := w.fresh("walker")
			g := w.group(t, "room open")
			fill := func(request string) string { return strings.ReplaceAll(w.fill(request, g), "{token}", token(user)) }
			if o.op == "recall" { // one's own
				w.call(t, user, http.MethodPost, "/v1/groups/"+g+"/messages", fields{"body": textBody(say("mine"))}).fine(t, 201, "sent")
			}
			for _, m := range mistakes(t, fill(o.full), o.inputs) {
				_, err := w.askFields(t, user, o.op, m.body)
				isMistake(t, o.op+": "+m.what, err, m)
			}
			if strings.Contains(o.full, `"group":`) {
				_, err := w.ask(t, user, o.op, strings.ReplaceAll(fill(o.full), g, w.fresh("none")))
				want := "not_found"
				if o.op == "unsubscribe" {
					want = "" // from what one is not subscribed to
				}
				if codeOf(err) != want {
					t.Errorf("%s of an unknown group: got %v, want %q", o.op, err, want)
				}
			}
			for _, request := range append([]string{o.full}, o.also...) {
				ok, err := w.ask(t, user, o.op, fill(request))
				w.isOutcome(t, o.op+" "+request, ok, err, o.shape, "ok", false)
			}
		})
	}
	t.Run("to whom", func(t *testing.T) {
		t.Parallel()
		g, user := w.group(t, "room open"), w.fresh("walker")
		for _, x := range []struct{ op, request, code string }{
			{"send", `{"to":"{user}","group":"{g}","body":[{"type":"text","text":"a"}]}`, badRequest},
			{"send", `{"to":"{me}","body":[{"type":"text","text":"a"}]}`, badRequest},
			{"send", `{"to":"system","body":[{"type":"text","text":"a"}]}`, badRequest},
			{"send", `{"to":"a b","body":[{"type":"text","text":"a"}]}`, badRequest},
			{"send", `{"group":"dm:{me}:zzz","body":[{"type":"text","text":"a"}]}`, "not_found"}, // only to opens one
			{"send", `{"group":"{g}","body":[{"type":"text","text":"a"}],"timeout_ms":1}`, badRequest},
			{"send", `{"group":"{g}","body":[{"type":"text","text":"a"}],"ack":"both","timeout_ms":1}`, badRequest},
			{"signal", `{"to":"{user}","kind":"k"}`, "stranger_limit"},
			{"signal", `{"to":"{user}","group":"{g}","kind":"k"}`, badRequest},
			{"pull", `{"group":"{g}","after_seq":0,"before_ms":1}`, badRequest},
			{"pull", `{"group":"{g}","recalled_after_ms":0}`, badRequest},
			{"subscribe", `{"group":"{g}","recalled_after_ms":0}`, badRequest},
			{"sync", `{"recalled_after_ms":0}`, badRequest},
			{"recall", `{"group":"{g}","seq":99}`, "not_found"},
			{"pull", `{"group":"{g}","before_seq":1,"before_ms":1}`, badRequest},
			{"sync", `{"groups":{},"cursor":"x"}`, badRequest},
			{"sync", `{"limit":1}`, badRequest},
			{"sync", `{"max_bytes":1}`, badRequest},
			{"Ping", `{}`, badRequest},
			{"fly", `{}`, badRequest},
		} {
			request := strings.NewReplacer("{g}", g, "{me}", user, "{user}", w.fresh("zz")).Replace(x.request)
			if _, err := w.ask(t, user, x.op, request); codeOf(err) != x.code {
				t.Errorf("%s %s: got %v, want %s", x.op, request, err, x.code)
			}
		}
	})
}

// askFields is ask with the fields as they are.
func (w *walk) askFields(t *testing.T, user, op string, f fields) (ok []byte, err error) {
	t.Helper()
	c := w.ear(t, user)
	reply, err := c.ask(op, f)
	if err != nil {
		return nil, err
	}
	return nil, c.result(reply, nil)
}

// isMistake fails unless an error reply is this mistake's; its message begins with the field.
func isMistake(t *testing.T, what string, err error, m mistake) {
	t.Helper()
	var f *failure
	switch {
	case !errors.As(err, &f) || f.Code != m.code:
		t.Errorf("%s: got %v, want %s", what, err, m.code)
	case m.code != "unauthorized" && !strings.HasPrefix(f.Message, m.field):
		t.Errorf("%s: message %q does not name %s", what, f.Message, m.field)
	case strings.Contains(f.Message, quiet):
		t.Errorf("%s: repeats what was sent: %q", what, f.Message)
	}
}

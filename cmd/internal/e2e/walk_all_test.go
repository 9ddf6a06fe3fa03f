package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWalk asks every route and every op of PROTOCOL.md: rightly, wrongly in each way, and as everybody. What is asked
// and what has to come stand in tables: walk_routes_test.go, walk_ops_test.go, walk_rights_test.go. Every request goes
// to the next of two instances.
func TestWalk(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	t.Run("all", func(t *testing.T) {
		for name, part := range map[string]func(*walk, *testing.T){
			"rights":         (*walk).walkRights,
			"rights over":    (*walk).walkRightsOver,
			"routes":         (*walk).walkRoutes,
			"wrong bodies":   (*walk).walkWrongBodies,
			"wrong methods":  (*walk).walkWrongMethods,
			"tokens":         (*walk).walkTokens,
			"ops":            (*walk).walkOps,
			"events":         (*walk).walkEvents,
			"what ends":      (*walk).walkEnds,
			"not there yet":  (*walk).walkNotYet,
			"direct":         (*walk).walkDirect,
			"recalls":        (*walk).walkRecalls,
			"uploads":        (*walk).walkUploads,
			"around the API": (*walk).walkPlain,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				part(w, t)
			})
		}
	})
	w.sawEverything(t)
}

// walk is the system that all rows share, and what they have seen of it. Rows stay apart by groups and users of their own.
type walk struct {
	*stack
	spec *walkSpec
	turn atomic.Int64 // of the instance that is asked next
	last atomic.Int64 // number of the last id made

	dialing sync.Mutex // guards ears; before mu
	ears    map[string]*client

	mu     sync.Mutex      // guards what follows
	events map[string]bool // kinds that came
	broken []string        // frames that are none of the page's
}

func newWalk(t *testing.T) *walk {
	t.Helper()
	w := &walk{
		stack: newStack(t, setup{instances: 2, together: true, env: map[string]string{"HEARTH_UPLOADS_DIR": t.TempDir()}}),
		ears:  map[string]*client{}, events: map[string]bool{},
	}
	file := w.anybody(0).get("/v1/openapi.yaml")
	file.ok(http.StatusOK, nil)
	w.spec = loadWalkSpec(t, file.Body)
	return w
}

// next is the instance whose turn it is.
func (w *walk) next() int { return int(w.turn.Add(1)) % len(w.instances) }

// fresh is an id that nobody has used.
func (w *walk) fresh(prefix string) string { return fmt.Sprintf("%s-%d", prefix, w.last.Add(1)) }

// Those who are no user by this name.
const (
	appServer  = "app server"
	noToken    = "no token"
	badToken   = "bad token"
	otherToken = "token of another secret"
)

func credentials(who string) string {
	switch who {
	case appServer:
		return apiKey
	case noToken:
		return ""
	case badToken:
		return "not.a.token"
	case otherToken:
		return signedElsewhere("bob")
	}
	return token(who)
}

// call asks over HTTP; a body that is a string goes as it is. The OpenAPI file has to know the answer.
func (w *walk) call(t *testing.T, who, method, path string, body any) *answer {
	t.Helper()
	x := w.exchange(t, who, method, path, body)
	w.spec.answered(t, x)
	return x.answer
}

func (w *walk) exchange(t *testing.T, who, method, path string, body any) exchange {
	t.Helper()
	x := exchange{method: method, path: path, contentType: "application/json"}
	switch b := body.(type) {
	case nil:
	case string:
		x.body = []byte(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		x.body, body = encoded, string(encoded)
	}
	c := &caller{t, w.http, "http://" + w.instances[w.next()].addr, credentials(who)}
	x.answer = c.do(method, path, body)
	x.answer.what += fmt.Sprintf(" %.80s as %s", x.body, who)
	return x
}

// ear is a user's connection, on whatever instance; it hears every frame that it gets.
func (w *walk) ear(t *testing.T, user string) *client {
	t.Helper()
	w.dialing.Lock()
	defer w.dialing.Unlock()
	if w.ears[user] == nil {
		c, err := dial(w.t, w.instances[w.next()].ws(), token(user), user, w.hear)
		if err != nil {
			t.Fatalf("connect %s: %v", user, err)
		}
		w.ears[user] = c
	}
	return w.ears[user]
}

// hear holds a frame against the page.
func (w *walk) hear(f frame) {
	event, err := checkFrame(f.raw)
	w.mu.Lock()
	defer w.mu.Unlock()
	if event != "" {
		w.events[event] = true
	}
	if err != nil && len(w.broken) < 10 {
		w.broken = append(w.broken, fmt.Sprintf("%v: %s", err, f.raw))
	}
}

// ask sends a request over a user's connection: its fields as JSON, without id and op.
func (w *walk) ask(t *testing.T, user, op, request string) (ok json.RawMessage, err error) {
	t.Helper()
	c := w.ear(t, user)
	var f fields
	if err := json.Unmarshal([]byte(request), &f); err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	err = c.try(op, f, &ok)
	return ok, err
}

// isShape fails unless JSON is exactly of a shape.
func isShape(t *testing.T, what string, data []byte, shape string) {
	t.Helper()
	value, err := decodeJSON(data)
	if err == nil {
		err = checkShape(value, shape)
	}
	if err != nil {
		t.Errorf("%s: the answer is no %s: %v; %s", what, shape, err, data)
	}
}

// fine fails unless an HTTP answer has this status and exactly this shape ("": no body).
func (a *answer) fine(t *testing.T, status int, shape string) {
	t.Helper()
	if a.Status != status {
		t.Errorf("%s: got %d %s, want %d", a.what, a.Status, a.Body, status)
		return
	}
	if shape == "" {
		if len(a.Body) > 0 {
			t.Errorf("%s: got a body: %s", a.what, a.Body)
		}
		return
	}
	isShape(t, a.what, a.Body, shape)
}

// cast are the users of a group, by what they are in it.
var cast = map[string]string{
	"owner": "olivia", "admin": "adam", "member": "bob", "muted": "mia", "outsider": "eve", "blocked": "mallory",
	"server": appServer,
}

// kinds of groups: type and join.
var kinds = []string{"room open", "room invite", "room closed", "group open", "group invite", "group closed", "direct"}

// group makes a group of a kind with everybody of the cast in his place, two more of whom things are done to – max, a
// member, and ada, an admin – and one message.
func (w *walk) group(t *testing.T, kind string) string {
	t.Helper()
	if kind == "direct" {
		return w.directGroup(t)
	}
	typ, join, _ := strings.Cut(kind, " ")
	g := w.fresh("g")
	w.setUp(t, appServer, http.MethodPost, "/v1/groups", fields{
		"group": g, "type": typ, "join": join, "name": "Group " + g, "owner": "olivia",
		"members": []string{"adam", "ada", "bob", "mia", "max"},
	})
	path := "/v1/groups/" + g
	for _, admin := range []string{"adam", "ada"} {
		w.setUp(t, appServer, http.MethodPatch, path+"/members/"+admin, fields{"role": "admin"})
	}
	w.setUp(t, "adam", http.MethodPatch, path+"/members/mia", fields{"mute_ms": -1})
	w.setUp(t, "olivia", http.MethodPut, path+"/blocked/mallory", nil)
	w.setUp(t, "bob", http.MethodPost, path+"/messages", fields{"body": textBody(say("first"))})
	return g
}

// directGroup is bob's conversation with somebody new, who has answered.
func (w *walk) directGroup(t *testing.T) string {
	t.Helper()
	other := w.fresh("zed") // behind bob in byte order
	w.setUp(t, appServer, http.MethodPost, "/v1/direct/"+other+"/messages", fields{"from": "bob", "body": textBody(say("hi"))})
	w.setUp(t, other, http.MethodPost, "/v1/direct/bob/messages", fields{"body": textBody(say("hi"))})
	return "dm:bob:" + other
}

// setUp is a call that only makes what others are about; it is not held against the OpenAPI file.
func (w *walk) setUp(t *testing.T, who, method, path string, body any) {
	t.Helper()
	if a := w.exchange(t, who, method, path, body).answer; a.Status >= 300 {
		t.Fatalf("%s: got %d %s", a.what, a.Status, a.Body)
	}
}

// sawEverything fails where the tables have left out an event of the page or an answer of the OpenAPI file, and for
// frames that were none of the page's.
func (w *walk) sawEverything(t *testing.T) {
	t.Helper()
	for _, c := range w.ears {
		c.close() // all frames are in
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.broken {
		t.Errorf("a frame that the page does not know: %s", f)
	}
	for _, event := range slices.Sorted(maps.Keys(eventShapes)) {
		if !w.events[event] && !slices.Contains(eventsElsewhere, event) {
			t.Errorf("no event %s came", event)
		}
	}
	for _, missing := range w.spec.unseen(answersElsewhere) {
		t.Errorf("the OpenAPI file tells of an answer that did not come: %s", missing)
	}
}

// eventsElsewhere take what a walk does not do: a reader that is too slow (slow_reader_test.go).
var eventsElsewhere = []string{"resync"}

// answersElsewhere take parts that fail, or load; tests of faults and limits have them.
var answersElsewhere = []string{
	"* 500 internal", "* 503 unavailable", "* 503 overloaded", "* 503", "* 429 rate_limited", "* 408 bad_request",
	"* 403 rejected",     // no hook and no word list here
	"hotGroups 410 gone", // after a minute; hot_test.go
	"openWebSocket *", "getMetrics *",
	"createUpload 404 not_found", "putUpload 404 not_found", // uploads that are off; uploads_test.go
	"getUpload 304", // a copy that is still good; uploads_test.go
}

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func signedElsewhere(user string) string {
	claims := jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}
	return signed(jwt.SigningMethodHS256, []byte(strings.Repeat("x", 40)), claims)
}

// absent is something of the page that is not built yet: it is refused as what nobody knows.
type absent struct {
	why          string
	who          string
	method, path string
	op           string
	whole        bool // of the op: all of it, not one field
	body         string
	status       int // 0 for ops
	code, field  string
}

// notYet is to get shorter: whoever builds one takes it out and puts it into the tables.
var notYet = []absent{
	{why: "Tencent's API", who: noToken, method: "POST", path: "/v4/group_open_http_svc/send_group_msg", body: `{}`, status: 404, code: "not_found"},
}

func (w *walk) walkNotYet(t *testing.T) {
	g := w.group(t, "room open")
	for _, n := range notYet {
		body := strings.ReplaceAll(n.body, "{g}", g)
		if n.op != "" {
			_, err := w.ask(t, "walker", n.op, body)
			isMistake(t, n.why+", not there yet: "+n.op+" "+body, err, mistake{code: n.code, field: n.field})
			continue
		}
		var sent any
		if body != "" {
			sent = body
		}
		a := w.call(t, n.who, n.method, strings.ReplaceAll(n.path, "{g}", g), sent)
		a.what = n.why + ", not there yet: " + a.what
		a.refused(n.status, n.code, n.field)
	}
}

// walkTokens: no route takes anybody without a good token, and only app servers end others' connections.
func (w *walk) walkTokens(t *testing.T) {
	g := w.group(t, "room open")
	for path, item := range w.spec.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Security == nil || len(*op.Security) == 0 || path == "/v1/ws" {
				continue
			}
			concrete := strings.NewReplacer("{g}", g, "{u}", "bob", "{user}", "bob", "{seq}", "1").Replace(path)
			for _, who := range []string{noToken, badToken, otherToken} {
				a := w.call(t, who, method, concrete, nil)
				a.refused(http.StatusUnauthorized, "unauthorized", "")
				a.header("WWW-Authenticate", "Bearer")
			}
		}
	}
	for _, who := range []string{"bob", "eve"} {
		w.call(t, who, http.MethodDelete, "/v1/users/bob/connections", nil).refused(http.StatusForbidden, "forbidden", "")
	}
	for who, want := range map[string]int{
		"walker": 101, appServer: 401, noToken: 401, badToken: 401, otherToken: 401,
	} {
		if status, code := handshake(t, w.stack, credentials(who), nil); status != want || status != 101 && code != "unauthorized" {
			t.Errorf("upgrade as %s: got %d %s, want %d", who, status, code, want)
		}
	}
	w.call(t, noToken, http.MethodGet, "/v1/ws", nil).refused(http.StatusUnauthorized, "unauthorized", "")
	w.call(t, "walker", http.MethodGet, "/v1/ws", nil).refused(http.StatusBadRequest, badRequest, "")
}

// walkPlain is what stands beside the API.
func (w *walk) walkPlain(t *testing.T) {
	w.call(t, noToken, http.MethodGet, "/healthz", nil).fine(t, 200, "alive")
	w.call(t, noToken, http.MethodGet, "/readyz", nil).fine(t, 200, "ready")
	for path, media := range map[string]string{"/v1/openapi.yaml": "application/yaml", "/v1/docs": "text/html"} {
		c := &caller{t, w.http, "http://" + w.instances[w.next()].addr, ""}
		a := c.get(path)
		if a.ok(200, nil); !strings.HasPrefix(a.Header.Get("Content-Type"), media) {
			t.Errorf("%s: content type: got %q, want %s", path, a.Header.Get("Content-Type"), media)
		}
		w.spec.saw(map[string]string{"/v1/openapi.yaml": "getOpenAPI", "/v1/docs": "getDocs"}[path], a)
	}
}

// walkEnds: a group that was dismissed is gone for everybody and everything, and what is in use stays so.
func (w *walk) walkEnds(t *testing.T) {
	w.handsOver(t)
	g := w.group(t, "group open")
	w.call(t, "bob", http.MethodPost, "/v1/groups", fields{"group": g, "type": "room", "name": "x"}).refused(409, "conflict", "")
	w.call(t, "olivia", http.MethodDelete, "/v1/groups/"+g, nil).fine(t, 204, "")
	for _, d := range append(deeds, deed{method: "POST", path: "/v1/groups", body: `{"group":"{g}","type":"room","name":"x"}`}) {
		for _, who := range []string{"owner", "member", "outsider", "blocked", "server"} {
			if d.op == "" || who != "server" {
				w.do(t, d, g, who, "gone")
			}
		}
	}
	limited := w.group(t, "group invite")
	w.call(t, "olivia", http.MethodPatch, "/v1/groups/"+limited, fields{"member_limit": 6}).fine(t, 200, "group")
	w.call(t, "olivia", http.MethodPost, "/v1/groups/"+limited+"/members", fields{"members": []string{"zoe"}}).refused(413, tooLarge, "members")
	w.call(t, appServer, http.MethodPost, "/v1/groups/"+limited+"/join", fields{"user": "zoe"}).refused(413, tooLarge, "")

	w.call(t, appServer, http.MethodPatch, "/v1/groups/"+limited, fields{"muted": true}).fine(t, 200, "group")
	for who, code := range map[string]string{"owner": "ok", "admin": "ok", "member": "muted", "server": "ok"} {
		w.do(t, deed{method: "POST", path: "/v1/groups/{g}/messages", body: `{"body":[{"type":"text","text":"a"}]}`, status: 201, shape: "sent"}, limited, who, code)
	}
	t.Run("repeats", w.walkRepeats)
	t.Run("hot", w.walkHot)
	t.Run("an app server acts for users", w.walkServer)
}

// walkRepeats: the same client_id again.
func (w *walk) walkRepeats(t *testing.T) {
	g := w.group(t, "room open")
	path := "/v1/groups/" + g + "/messages"
	for _, c := range []struct{ path, from, shape string }{
		{path, "bob", "sent"}, {"/v1/direct/" + w.fresh("zz") + "/messages", w.fresh("aa"), "direct"},
	} {
		first := fields{"body": textBody(say("once")), "client_id": "c1"}
		w.call(t, c.from, http.MethodPost, c.path, first).fine(t, 201, c.shape)
		w.call(t, c.from, http.MethodPost, c.path, first).fine(t, 200, c.shape)
		w.call(t, c.from, http.MethodPost, c.path, fields{"body": textBody(say("another")), "client_id": "c1"}).refused(409, "conflict", "")
	}
	w.call(t, "bob", http.MethodPost, path, fields{"body": []fields{{"type": "text", "text": strings.Repeat("x", 12_001)}}}).refused(413, tooLarge, "body[0].text")
	w.call(t, "bob", http.MethodGet, path+"?after_seq=0&before_seq=1", nil).refused(400, badRequest, "")
	var users strings.Builder
	for _, u := range names("user=u", 201) {
		users.WriteString(u + "&")
	}
	w.call(t, "bob", http.MethodGet, "/v1/presence?"+strings.TrimSuffix(users.String(), "&"), nil).refused(413, tooLarge, "user")
}

// walkHot: who may see which ranking.
func (w *walk) walkHot(t *testing.T) {
	for _, kind := range []string{"room", "group", "all"} {
		w.call(t, appServer, http.MethodGet, "/v1/groups/hot?type="+kind, nil).fine(t, 200, "hot")
		w.call(t, appServer, http.MethodGet, "/v1/groups/hot?explain=1&type="+kind, nil).fine(t, 200, "explained")
	}
	var first struct{ Cursor string }
	w.group(t, "room open")
	w.group(t, "room open")
	await(t, patience, "a ranking of more than one page", func() (bool, any) {
		a := w.call(t, "eve", http.MethodGet, "/v1/groups/hot?limit=1", nil)
		a.fine(t, 200, "hot")
		a.ok(200, &first)
		return first.Cursor != "", string(a.Body)
	})
	w.call(t, "eve", http.MethodGet, "/v1/groups/hot?cursor="+first.Cursor, nil).fine(t, 200, "hot")
	watcher := w.fresh("watcher")
	if _, err := w.ask(t, watcher, "hot", `{"watch":true}`); err != nil {
		t.Error(err)
	}
	w.ear(t, watcher).awaitEvent("hot")
}

// walkServer: an app server names whom it acts for, where a user would act for himself.
func (w *walk) walkServer(t *testing.T) {
	g := w.group(t, "group invite")
	for path, body := range map[string]string{
		"/join": `{}`, "/leave": `{}`, "/read": `{"seq":1}`,
	} {
		w.call(t, appServer, http.MethodPost, "/v1/groups/"+g+path, body).refused(400, badRequest, "user")
	}
	w.call(t, appServer, http.MethodPost, "/v1/sync", `{}`).refused(400, badRequest, "user")
	w.call(t, appServer, http.MethodPost, "/v1/direct/bob/messages", fields{"body": textBody(say("hi"))}).refused(400, badRequest, "from")
	w.call(t, appServer, http.MethodPost, "/v1/sync", `{"user":"bob"}`).fine(t, 200, "heads")
	w.call(t, appServer, http.MethodGet, "/v1/groups?user=bob&limit=1", nil).fine(t, 200, "groups")
	w.call(t, appServer, http.MethodGet, "/v1/groups?limit=1", nil).fine(t, 200, "groups")
	w.call(t, appServer, http.MethodPost, "/v1/groups/"+g+"/messages", fields{"from": "eve", "body": textBody(say("for eve"))}).fine(t, 201, "sent")
	var one message
	a := w.call(t, "bob", http.MethodGet, "/v1/groups/"+g+"/messages/2", nil)
	a.fine(t, 200, "message")
	if a.ok(200, &one); one.From != "eve" || one.Operator != apiKeyID {
		t.Errorf("sent for eve: got %s", a.Body)
	}
	w.call(t, appServer, http.MethodPost, "/v1/groups/"+g+"/signals", fields{"kind": "k", "from": "bob"}).fine(t, 204, "")
}

// walkDirect: §7.
func (w *walk) walkDirect(t *testing.T) {
	ann, ben := w.fresh("ann"), w.fresh("ben")
	hello := fields{"body": textBody(say("hello"))}
	path := "/v1/direct/" + ben + "/messages"
	w.call(t, ann, http.MethodPost, "/v1/direct/"+ann+"/messages", hello).refused(400, badRequest, "user")
	w.call(t, ann, http.MethodPost, path, hello).fine(t, 201, "direct")
	if ok, err := w.ask(t, ann, "send", fmt.Sprintf(`{"to":%q,"body":[{"type":"text","text":"quiet-words"}]}`, ben)); err != nil {
		t.Errorf("send to ben: %v", err)
	} else {
		isShape(t, "send to ben", ok, "direct")
	}
	w.call(t, ann, http.MethodPost, path, hello).fine(t, 201, "direct")
	w.call(t, ann, http.MethodPost, path, hello).refused(403, "stranger_limit", "")
	dm := "dm:" + ann + ":" + ben
	w.call(t, ann, http.MethodPost, "/v1/groups/"+dm+"/messages", hello).refused(403, "stranger_limit", "")
	w.call(t, ann, http.MethodPost, "/v1/groups/"+dm+"/signals", fields{"kind": "k"}).refused(403, "stranger_limit", "")
	w.call(t, appServer, http.MethodPost, path, fields{"from": ann, "body": textBody(say("it may"))}).fine(t, 201, "direct")
	w.call(t, ben, http.MethodPost, "/v1/groups/"+dm+"/messages", hello).fine(t, 201, "direct")
	w.call(t, ann, http.MethodPost, path, hello).fine(t, 201, "direct")
	w.call(t, "bob", http.MethodPost, path, fields{"from": ann, "body": textBody(say("not he"))}).refused(403, "forbidden", "from")
	if _, err := w.ask(t, ann, "signal", fmt.Sprintf(`{"to":%q,"kind":"k"}`, ben)); err != nil {
		t.Errorf("signal to ben, who has written: %v", err)
	}
}

// walkEvents makes each event come that a walk can.
func (w *walk) walkEvents(t *testing.T) {
	ann, ben := w.fresh("ann"), w.fresh("ben")
	g := w.group(t, "group open")
	for _, user := range []string{ann, ben} {
		w.call(t, user, http.MethodPost, "/v1/groups/"+g+"/join", nil).fine(t, 200, "member")
	}
	listener := w.listen(t, ann, time.Hour)
	w.call(t, ben, http.MethodPost, "/v1/direct/"+ann+"/messages", fields{"body": textBody(say("hi"))}).fine(t, 201, "direct")
	other := w.listen(t, ben, time.Hour)
	listener.awaitMatch("ben is there", func(f frame) bool { return f.Event == "presence" && f.User == ben })
	other.do("send", fields{"group": g, "body": textBody(say("both")), "ack": "both"}, nil)
	other.awaitEvent("durable")
	other.do("signal", fields{"group": g, "kind": "typing"}, nil)
	other.do("signal", fields{"group": g, "kind": "typing", "data": nil}, nil)
	listener.awaitEvent("signal")
	w.call(t, "bob", http.MethodPost, "/v1/groups/"+g+"/messages", fields{"body": textBody(say("read this"))}).fine(t, 201, "sent")
	other.do("read", fields{"group": g, "seq": 1 << 40}, nil)
	listener.awaitMatch("ben has read", func(f frame) bool { return f.Event == "read" && f.User == ben })
	for _, change := range []struct {
		who, method, path string
		body              any
		want              string
	}{
		{"olivia", "PATCH", "", fields{"name": "x"}, "updated"},
		{"olivia", "PATCH", "/members/bob", fields{"role": "admin"}, "role"},
		{"adam", "PATCH", "/members/max", fields{"mute_ms": 1000}, "muted"},
		{"olivia", "DELETE", "/members/max", nil, "removed"},
		{"ada", "POST", "/leave", nil, "left"},
		{appServer, "POST", "/members", fields{"members": []string{w.fresh("new")}}, "joined"},
		{"olivia", "DELETE", "", nil, "dismissed"},
	} {
		if a := w.call(t, change.who, change.method, "/v1/groups/"+g+change.path, change.body); a.Status >= 300 {
			t.Errorf("%s: got %d %s", a.what, a.Status, a.Body)
		}
		listener.awaitMatch(change.want, func(f frame) bool { return f.Event == "group" && f.Group == g && f.Change == change.want })
	}
	w.call(t, ann, http.MethodPost, "/v1/groups", fields{"type": "room", "name": "x"}).fine(t, 201, "group")
	listener.awaitMatch("created", func(f frame) bool { return f.Event == "group" && f.Change == "created" })

	soon := w.listen(t, ann, 50*time.Second)
	soon.awaitEvent("token_expiring")
	w.call(t, appServer, http.MethodDelete, "/v1/users/"+ann+"/connections", nil).fine(t, 204, "")
	for _, c := range []*client{soon, listener} {
		if bye := c.awaitEvent("goodbye"); bye.Code != 4503 {
			t.Errorf("goodbye: got %s, want 4503", bye.raw)
		}
		c.awaitClose(4503)
	}
}

// listen is a connection of the test's own, whose token is good for so long.
func (w *walk) listen(t *testing.T, user string, good time.Duration) *client {
	t.Helper()
	c, err := dial(t, w.instances[w.next()].ws(), tokenUntil(user, time.Now().Add(good)), user, w.hear)
	if err != nil {
		t.Fatalf("connect %s: %v", user, err)
	}
	return c
}

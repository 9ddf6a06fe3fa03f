package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
)

const (
	badRequest = "bad_request"
	tooLarge   = "too_large"
)

// badBodies are bodies with what is wrong with them: the code, and the field that has to be named.
func badBodies() []struct{ name, body, code, field string } {
	long := strings.Repeat("x", 12_001)
	longURL := "https://example.com/" + strings.Repeat("x", 2049)
	eleven := "[" + strings.Repeat(`{"type":"text","text":"a"},`, 10) + `{"type":"text","text":"a"}]`
	two := `{"type":"text","text":"` + long[:7000] + `"}`
	one := func(element string) string { return "[" + element + "]" }
	return []struct{ name, body, code, field string }{
		{"null", `null`, badRequest, "body"},
		{"a string", `"` + quiet + `"`, badRequest, "body"},
		{"an object", `{"type":"text","text":"a"}`, badRequest, "body"},
		{"no element", `[]`, badRequest, "body"},
		{"eleven elements", eleven, badRequest, "body"},
		{"over 12 KiB", `[` + two + `,` + two + `]`, tooLarge, "body"},
		{"element is a number", `[1]`, badRequest, "body[0]"},
		{"second element is null", `[{"type":"text","text":"a"},null]`, badRequest, "body[1]"},
		{"no type", one(`{"text":"a"}`), badRequest, "body[0].type"},
		{"type is a number", one(`{"type":5}`), badRequest, "body[0].type"},
		{"unknown type", one(`{"type":"` + quiet + `"}`), badRequest, "body[0].type"},
		{"type in capitals", one(`{"type":"TEXT","text":"a"}`), badRequest, "body[0].type"},

		{"text: none", one(`{"type":"text"}`), badRequest, "body[0].text"},
		{"text: null", one(`{"type":"text","text":null}`), badRequest, "body[0].text"},
		{"text: empty", one(`{"type":"text","text":""}`), badRequest, "body[0].text"},
		{"text: number", one(`{"type":"text","text":5}`), badRequest, "body[0].text"},
		{"text: too long", one(`{"type":"text","text":"` + long + `"}`), tooLarge, "body[0].text"},
		{"text: unknown field", one(`{"type":"text","text":"a","color":"red"}`), badRequest, "body[0].color"},
		{"text: field in capitals", one(`{"type":"text","Text":"a"}`), badRequest, "body[0].Text"},
		{"text: twice", one(`{"type":"text","text":"a","text":"b"}`), badRequest, "body[0].text"},

		{"sticker: nothing", one(`{"type":"sticker"}`), badRequest, "body[0]"},
		{"sticker: index a string", one(`{"type":"sticker","index":"1"}`), badRequest, "body[0].index"},
		{"sticker: index a fraction", one(`{"type":"sticker","index":1.5}`), badRequest, "body[0].index"},
		{"sticker: data an object", one(`{"type":"sticker","data":{}}`), badRequest, "body[0].data"},
		{"sticker: url of another kind", one(`{"type":"sticker","url":"ftp://example.com/a"}`), badRequest, "body[0].url"},

		{"voice: no url", one(`{"type":"voice","duration_ms":1}`), badRequest, "body[0].url"},
		{"voice: empty url", one(`{"type":"voice","url":"","duration_ms":1}`), badRequest, "body[0].url"},
		{"voice: url without host", one(`{"type":"voice","url":"https://","duration_ms":1}`), badRequest, "body[0].url"},
		{"voice: other path here", one(`{"type":"voice","url":"/etc/passwd","duration_ms":1}`), badRequest, "body[0].url"},
		{"voice: way out of the uploads", one(`{"type":"voice","url":"/v1/uploads/../groups","duration_ms":1}`), badRequest, "body[0].url"},
		{"voice: no duration", one(`{"type":"voice","url":"https://example.com/a"}`), badRequest, "body[0].duration_ms"},
		{"voice: duration a string", one(`{"type":"voice","url":"https://example.com/a","duration_ms":"1"}`), badRequest, "body[0].duration_ms"},
		{"voice: negative duration", one(`{"type":"voice","url":"https://example.com/a","duration_ms":-1}`), badRequest, "body[0].duration_ms"},
		{"voice: negative bytes", one(`{"type":"voice","url":"https://example.com/a","duration_ms":1,"bytes":-1}`), badRequest, "body[0].bytes"},
		{"voice: bytes beyond 2^53", one(`{"type":"voice","url":"https://example.com/a","duration_ms":1,"bytes":9007199254740992}`), badRequest, "body[0].bytes"},
		{"voice: other's field", one(`{"type":"voice","url":"https://example.com/a","duration_ms":1,"width":1}`), badRequest, "body[0].width"},

		{"image: no url", one(`{"type":"image"}`), badRequest, "body[0].url"},
		{"image: url a number", one(`{"type":"image","url":1}`), badRequest, "body[0].url"},
		{"image: long url", one(`{"type":"image","url":"` + longURL + `"}`), badRequest, "body[0].url"},
		{"image: script", one(`{"type":"image","url":"javascript:alert(1)"}`), badRequest, "body[0].url"},
		{"image: negative width", one(`{"type":"image","url":"https://example.com/a","width":-1}`), badRequest, "body[0].width"},
		{"image: height a string", one(`{"type":"image","url":"https://example.com/a","height":"9"}`), badRequest, "body[0].height"},
		{"image: bytes a fraction", one(`{"type":"image","url":"https://example.com/a","bytes":0.5}`), badRequest, "body[0].bytes"},
		{"image: bad thumb_url", one(`{"type":"image","url":"https://example.com/a","thumb_url":"data:x"}`), badRequest, "body[0].thumb_url"},

		{"video: no url", one(`{"type":"video","duration_ms":1}`), badRequest, "body[0].url"},
		{"video: no duration", one(`{"type":"video","url":"https://example.com/a"}`), badRequest, "body[0].duration_ms"},
		{"video: bad thumb_url", one(`{"type":"video","url":"https://example.com/a","duration_ms":1,"thumb_url":"x"}`), badRequest, "body[0].thumb_url"},
		{"video: negative height", one(`{"type":"video","url":"https://example.com/a","duration_ms":1,"height":-5}`), badRequest, "body[0].height"},

		{"file: no url", one(`{"type":"file","name":"a","bytes":1}`), badRequest, "body[0].url"},
		{"file: no name", one(`{"type":"file","url":"https://example.com/a","bytes":1}`), badRequest, "body[0].name"},
		{"file: name a list", one(`{"type":"file","url":"https://example.com/a","name":[],"bytes":1}`), badRequest, "body[0].name"},
		{"file: no bytes", one(`{"type":"file","url":"https://example.com/a","name":"a"}`), badRequest, "body[0].bytes"},

		{"location: no latitude", one(`{"type":"location","longitude":1}`), badRequest, "body[0].latitude"},
		{"location: no longitude", one(`{"type":"location","latitude":1}`), badRequest, "body[0].longitude"},
		{"location: beyond the pole", one(`{"type":"location","latitude":90.1,"longitude":1}`), badRequest, "body[0].latitude"},
		{"location: around the world", one(`{"type":"location","latitude":1,"longitude":-180.1}`), badRequest, "body[0].longitude"},
		{"location: latitude a string", one(`{"type":"location","latitude":"1","longitude":1}`), badRequest, "body[0].latitude"},
		{"location: title a number", one(`{"type":"location","latitude":1,"longitude":1,"title":1}`), badRequest, "body[0].title"},

		{"custom: no data", one(`{"type":"custom","desc":"a"}`), badRequest, "body[0].data"},
		{"custom: desc a number", one(`{"type":"custom","data":1,"desc":1}`), badRequest, "body[0].desc"},
		{"custom: unknown field", one(`{"type":"custom","data":1,"ext":1}`), badRequest, "body[0].ext"},
	}
}

// goodBodies are accepted: the limits themselves, and every element at its fullest.
func goodBodies() []string {
	return []string{
		`[{"type":"text","text":"` + strings.Repeat("x", 12_000) + `"}]`,
		`[` + strings.Repeat(`{"type":"text","text":"a"},`, 9) + `{"type":"text","text":"a"}]`,
		`[ {"type" : "text",   "text":"` + quiet + `é 😀 \u0000 \" <&> ` + "\u2028" + `"} ]`,
		`[{"type":"sticker","index":0},{"type":"sticker","data":"s"},{"type":"sticker","url":"https://example.com/a"}]`,
		`[{"type":"voice","url":"http://example.com/a?b=c","duration_ms":0,"bytes":9007199254740991}]`,
		`[{"type":"image","url":"/v1/uploads/2026/a.png","width":1,"height":1,"bytes":1,"thumb_url":"https://example.com/t"}]`,
		`[{"type":"video","url":"https://example.com/a","duration_ms":1,"thumb_url":"https://example.com/t","width":1,"height":1,"bytes":1}]`,
		`[{"type":"file","url":"https://example.com/a","name":"a.pdf","bytes":0}]`,
		`[{"type":"location","latitude":-90,"longitude":180,"title":"edge"}]`,
		`[{"type":"custom","data":{"a":[1,null,{"b":1e3}]},"desc":"d"},{"type":"custom","data":"x"}]`,
	}
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "g", "alice", "bob")
	alice, bob := s.connect(0, "alice"), s.connect(1, "bob")
	web := s.user(1, "alice")
	for _, c := range badBodies() {
		alice.refused(t, c.name, `"op":"send","group":"g","body":`+c.body, c.code, c.field)
		status := map[string]int{badRequest: 400, tooLarge: 413}[c.code]
		a := web.post("/v1/groups/g/messages", `{"body":`+c.body+`}`)
		a.what += " with body " + c.name
		a.refused(status, c.code, c.field)
	}
	for i, body := range goodBodies() {
		var a sent
		if i%2 == 0 {
			alice.do("send", fields{"group": "g", "body": json.RawMessage(body)}, &a)
		} else {
			web.post("/v1/groups/g/messages", `{"body":`+body+`}`).ok(201, &a)
		}
		if a.Seq != int64(i+1) {
			t.Errorf("seq of good body %d: got %d, want %d: none of the bad ones was stored", i, a.Seq, i+1)
		}
	}
	pushes := bob.awaitPushes("g", len(goodBodies()))
	s.awaitPersisted(patience)
	rows := s.rows()
	for i, body := range goodBodies() {
		if !sameJSON(t, pushes[i].Body, []byte(body)) {
			t.Errorf("push of good body %d: got %s, want %s", i, pushes[i].Body, body)
		}
		if i < len(rows) && rows[i].Body != string(pushes[i].Body) {
			t.Errorf("row of good body %d: got %s, want %s", i, rows[i].Body, pushes[i].Body)
		}
	}
	if len(rows) != len(goodBodies()) {
		t.Errorf("rows: got %d, want %d", len(rows), len(goodBodies()))
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

// refused sends a request without its id and fails unless the answer is this error, whose message starts with the field.
func (c *client) refused(t *testing.T, name, request, code, field string) {
	t.Helper()
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	reply := make(chan frame, 1)
	c.waiting[id] = reply
	c.mu.Unlock()
	c.raw(fmt.Sprintf(`{"id":%d,%s}`, id, request))
	c.isRefusal(t, name, c.result(reply, nil), code, field)
}

func (c *client) isRefusal(t *testing.T, name string, err error, code, field string) {
	t.Helper()
	var f *failure
	retryable := map[string]bool{"rate_limited": true, "overloaded": true, "unavailable": true, "internal": true}[code]
	switch {
	case !errors.As(err, &f):
		t.Errorf("%s: got %v, want %s", name, err, code)
	case f.Code != code || f.Retryable != retryable:
		t.Errorf("%s: got %s (retryable %v), want %s (%v)", name, f.Code, f.Retryable, code, retryable)
	case field != "" && !strings.HasPrefix(f.Message, field+":"):
		t.Errorf("%s: message: got %q, want the field %s named", name, f.Message, field)
	case strings.Contains(f.Message, quiet):
		t.Errorf("%s: repeats what was sent: %q", name, f.Message)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "alice")
	s.createGroup("group", "others", "bob")
	s.createGroup("group", "ended", "alice")
	s.createGroup("room", "r")
	s.server(0).delete("/v1/groups/ended").ok(204, nil)
	c := s.connect(0, "alice")
	c.send("g", say("first"))
	hello := `"body":[{"type":"text","text":"` + quiet + `"}]`
	users := `"` + strings.Join(names("u", 51), `","`) + `"`
	var many []string
	for _, g := range names("g", 201) {
		many = append(many, `"`+g+`":0`)
	}
	for _, x := range []struct{ name, request, code, field string }{
		{"unknown op", `"op":"fly"`, badRequest, "op"},
		{"op in capitals", `"op":"Send","group":"g",` + hello, badRequest, "op"},
		{"unknown field", `"op":"ping","colour":1`, badRequest, "colour"},
		{"field in capitals", `"op":"send","group":"g","Ack":"accepted",` + hello, badRequest, "Ack"},
		{"send: no group", `"op":"send",` + hello, badRequest, "group"},
		{"send: no body", `"op":"send","group":"g"`, badRequest, "body"},
		{"send: group a number", `"op":"send","group":7,` + hello, badRequest, "group"},
		{"send: bad id", `"op":"send","group":"` + quiet + ` ",` + hello, badRequest, "group"},
		{"send: long id", `"op":"send","group":"` + strings.Repeat("g", 65) + `",` + hello, badRequest, "group"},
		{"send: reserved id", `"op":"send","group":"hot",` + hello, badRequest, "group"},
		{"send: direct id the wrong way round", `"op":"send","group":"dm:b:a",` + hello, badRequest, "group"},
		{"send: unknown group", `"op":"send","group":"nowhere",` + hello, "not_found", ""},
		{"send: others' group", `"op":"send","group":"others",` + hello, "not_member", ""},
		{"send: dismissed group", `"op":"send","group":"ended",` + hello, "gone", ""},
		{"send: bad client_id", `"op":"send","group":"g","client_id":"a b",` + hello, badRequest, "client_id"},
		{"send: empty client_id", `"op":"send","group":"g","client_id":"",` + hello, badRequest, "client_id"},
		{"send: unknown ack", `"op":"send","group":"g","ack":"soon",` + hello, badRequest, "ack"},
		{"send: timeout without durable", `"op":"send","group":"g","timeout_ms":10,` + hello, badRequest, "timeout_ms"},
		{"send: timeout 0", `"op":"send","group":"g","ack":"durable","timeout_ms":0,` + hello, badRequest, "timeout_ms"},
		{"send: timeout over 10 s", `"op":"send","group":"g","ack":"durable","timeout_ms":10001,` + hello, badRequest, "timeout_ms"},
		{"send: echo a string", `"op":"send","group":"g","echo":"no",` + hello, badRequest, "echo"},
		{"send: 51 mentions", `"op":"send","group":"g","mentions":[` + users + `],` + hello, tooLarge, "mentions"},
		{"send: bad mention", `"op":"send","group":"g","mentions":["bob","b b"],` + hello, badRequest, "mentions[1]"},
		{"send: all and more", `"op":"send","group":"g","mentions":["*","bob"],` + hello, badRequest, "mentions[0]"},
		{"send: reply_to 0", `"op":"send","group":"g","reply_to":0,` + hello, badRequest, "reply_to"},
		{"send: reply_to above max_seq", `"op":"send","group":"g","reply_to":2,` + hello, badRequest, "reply_to"},
		{"send: unknown priority", `"op":"send","group":"g","priority":"urgent",` + hello, badRequest, "priority"},
		{"send: as somebody else", `"op":"send","group":"g","from":"bob",` + hello, badRequest, "from"},
		{"subscribe: no group", `"op":"subscribe"`, badRequest, "group"},
		{"subscribe: others' group", `"op":"subscribe","group":"others"`, "not_member", ""},
		{"subscribe: unknown group", `"op":"subscribe","group":"nowhere"`, "not_found", ""},
		{"subscribe: dismissed group", `"op":"subscribe","group":"ended"`, "gone", ""},
		{"subscribe: negative seq", `"op":"subscribe","group":"g","after_seq":-1`, badRequest, "after_seq"},
		{"subscribe: limit 0", `"op":"subscribe","group":"g","after_seq":0,"limit":0`, badRequest, "limit"},
		{"unsubscribe: bad id", `"op":"unsubscribe","group":""`, badRequest, "group"},
		{"pull: two bounds", `"op":"pull","group":"g","after_seq":0,"before_seq":1`, badRequest, ""},
		{"pull: seq a string", `"op":"pull","group":"g","after_seq":"0"`, badRequest, "after_seq"},
		{"pull: seq a fraction", `"op":"pull","group":"g","after_seq":0.5`, badRequest, "after_seq"},
		{"pull: seq of 2^53", `"op":"pull","group":"g","before_seq":9007199254740992`, badRequest, "before_seq"},
		{"pull: negative time", `"op":"pull","group":"g","before_ms":-1`, badRequest, "before_ms"},
		{"pull: limit 0", `"op":"pull","group":"g","limit":0`, badRequest, "limit"},
		{"pull: others' group", `"op":"pull","group":"others"`, "not_member", ""},
		{"pull: dismissed group", `"op":"pull","group":"ended"`, "gone", ""},
		{"sync: 201 groups", `"op":"sync","groups":{` + strings.Join(many, ",") + `}`, tooLarge, "groups"},
		{"sync: seq a string", `"op":"sync","groups":{"g":"0"}`, badRequest, "groups.g"},
		{"sync: max_bytes 0", `"op":"sync","groups":{"g":0},"max_bytes":0`, badRequest, "max_bytes"},
		{"sync: broken cursor", `"op":"sync","cursor":"` + quiet + `"`, badRequest, "cursor"},
		{"read: no seq", `"op":"read","group":"g"`, badRequest, "seq"},
		{"read: seq 0", `"op":"read","group":"g","seq":0`, badRequest, "seq"},
		{"read: others' group", `"op":"read","group":"others","seq":1`, "not_member", ""},
		{"read: dismissed group", `"op":"read","group":"ended","seq":1`, "gone", ""},
	} {
		c.refused(t, x.name, x.request, x.code, x.field)
	}
	t.Run("sync tells errors by group", func(t *testing.T) {
		var got struct{ Results []page }
		c.do("sync", fields{"groups": fields{"g": 0, "others": 0, "nowhere": 0, "ended": 0, "a b": 0}}, &got)
		want := map[string]string{"g": "", "others": "not_member", "nowhere": "not_found", "ended": "gone", "a b": badRequest}
		for _, r := range got.Results {
			code := ""
			if r.Error != nil {
				code = r.Error.Code
			}
			if code != want[r.Group] {
				t.Errorf("%q: got %q, want %q", r.Group, code, want[r.Group])
			}
		}
		if len(got.Results) != len(want) {
			t.Errorf("results: got %d, want %d", len(got.Results), len(want))
		}
	})
	t.Run("clamped, not refused", func(t *testing.T) {
		c.do("pull", fields{"group": "g", "limit": 100000}, nil)
		var p page
		if c.do("pull", fields{"group": "g", "after_seq": 1 << 50}, &p); len(p.Messages) > 0 || p.More {
			t.Errorf("pull above max_seq: got %+v, want nothing", p)
		}
		if got := c.send("r", say("an outsider may")); got.Seq != 1 {
			t.Errorf("send of an outsider to a room: got %+v, want seq 1", got)
		}
	})
	t.Run("bad ids", func(t *testing.T) {
		bad := []string{`-1`, `1.5`, `"7"`, `9007199254740992`, `1e3`, `null`, `true`}
		for n, id := range bad {
			c.raw(`{"id":` + id + `,"op":"ping"}`)
			if !c.wait(patience, func() bool { return len(c.strays) == n+1 }) {
				t.Fatalf("id %s: no error without an id (%v)", id, c.why())
			}
			c.isRefusal(t, "id "+id, &c.strays[n], badRequest, "id")
		}
	})
	if got := c.send("g", say("last")); got.Seq != 2 {
		t.Errorf("seq of the next message: got %d, want 2: nothing that was refused is stored", got.Seq)
	}
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "alice")
	alive := func(t *testing.T, c *client) {
		t.Helper()
		var pong struct {
			TimeMS int64 `json:"time_ms"`
		}
		c.do("ping", nil, &pong)
		if d := time.Since(time.UnixMilli(pong.TimeMS)); d > 5*time.Second || d < -5*time.Second {
			t.Errorf("time_ms: got %v ago, want now", d)
		}
	}
	t.Run("the connection lives through ten in a minute", func(t *testing.T) {
		c := s.in(t).connect(0, "alice")
		for n, bad := range []string{
			`{`, `hello`, `[]`, `1`, `""`, `{"id":1}`, `{"id":1,"op":""}`, `{"op":"ping"} x`, ` `, `{"op":5}`,
		} {
			c.raw(bad)
			if !c.wait(patience, func() bool { return len(c.strays) > n }) {
				t.Fatalf("%q: no answer (%v)", bad, c.why())
			}
			c.isRefusal(t, bad, &c.strays[n], badRequest, "")
			alive(t, c)
		}
		c.raw(`{`)
		bye := c.awaitEvent("goodbye")
		if bye.Code != 4501 || bye.ReconnectAfterMS != 0 {
			t.Errorf("goodbye: got %s, want code 4501 without reconnect_after_ms", bye.raw)
		}
		c.awaitClose(4501)
	})
	t.Run("binary frames are bad frames", func(t *testing.T) {
		c := s.in(t).connect(0, "alice")
		if err := c.write(websocket.BinaryMessage, []byte(`{"op":"ping"}`)); err != nil {
			t.Fatal(err)
		}
		c.wait(patience, func() bool { return len(c.strays) > 0 })
		alive(t, c)
		c.isRefusal(t, "binary", &c.strays[0], badRequest, "")
	})
	t.Run("invalid UTF-8", func(t *testing.T) {
		c := s.in(t).connect(0, "alice")
		c.raw(`{"op":"send","group":"g","body":[{"type":"text","text":"` + "\xff\xfe" + `"}]}`)
		c.awaitClose(1007)
	})
	t.Run("64 KiB pass, one byte more does not", func(t *testing.T) {
		c := s.in(t).connect(0, "alice")
		reply, err := c.ask("ping", nil)
		if err != nil || c.result(reply, nil) != nil {
			t.Fatal("no ping")
		}
		c.raw(padded(`{"op":"ping"}`, 64<<10))
		alive(t, c)
		c.raw(padded(`{"op":"ping"}`, 64<<10+1))
		c.awaitClose(1009)
	})
	t.Run("a frame holds 100 objects", func(t *testing.T) {
		c := s.in(t).connect(0, "alice")
		var objects []string
		replies := make([]chan frame, 101)
		for n := range replies {
			replies[n] = make(chan frame, 1)
			c.waiting[int64(1000+n)] = replies[n]
			objects = append(objects, fmt.Sprintf(`{"id":%d,"op":"ping"}`, 1000+n))
		}
		c.raw(strings.Join(objects, "\n"))
		for n, reply := range replies {
			err := c.result(reply, nil)
			if n < 100 && err != nil {
				t.Fatalf("object %d: got %v, want ok", n+1, err)
			}
			if n == 100 {
				c.isRefusal(t, "object 101", err, badRequest, "")
			}
		}
		alive(t, c)
	})
}

func padded(s string, n int) string { return s + strings.Repeat(" ", n-len(s)) }

func TestBadTokens(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	hour := time.Now().Add(time.Hour).Unix()
	claims := jwt.MapClaims{"sub": "alice", "exp": hour}
	secret := []byte(jwtSecret)
	for name, token := range map[string]string{
		"none at all":       "",
		"garbage":           "garbage",
		"another secret":    signed(jwt.SigningMethodHS256, []byte(strings.Repeat("x", 40)), claims),
		"unsigned":          signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims),
		"another algorithm": signed(jwt.SigningMethodHS512, secret, claims),
		"expired":           tokenUntil("alice", time.Now().Add(-31*time.Second)),
		"without exp":       signed(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "alice"}),
		"not yet valid":     signed(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "alice", "exp": hour, "nbf": hour - 10}),
		"issued later":      signed(jwt.SigningMethodHS256, secret, jwt.MapClaims{"sub": "alice", "exp": hour, "iat": hour - 10}),
		"without sub":       signed(jwt.SigningMethodHS256, secret, jwt.MapClaims{"exp": hour}),
		"of system":         token("system"),
		"of no id":          token("a b"),
		"an API key":        apiKey,
	} {
		if status, code := handshake(t, s, token, nil); status != http.StatusUnauthorized || code != "unauthorized" {
			t.Errorf("upgrade with a token %s: got %d %s, want 401 unauthorized", name, status, code)
		}
		if name == "an API key" {
			continue
		}
		a := (&caller{t, s.http, "http://" + s.instances[0].addr, token}).get("/v1/groups")
		a.refused(http.StatusUnauthorized, "unauthorized", "")
		a.header("WWW-Authenticate", "Bearer")
	}
	if status, _ := handshake(t, s, tokenUntil("alice", time.Now().Add(-20*time.Second)), nil); status != http.StatusSwitchingProtocols {
		t.Errorf("expired 20 s ago: got %d, want 101: clocks may differ by 30 s", status)
	}
	good := token("alice")
	for name, x := range map[string]struct {
		header http.Header
		token  string
		want   int
	}{
		"origin of another site":   {http.Header{"Origin": {"https://evil.example"}}, good, http.StatusForbidden},
		"origin null":              {http.Header{"Origin": {"null"}}, good, http.StatusForbidden},
		"own origin":               {http.Header{"Origin": {"http://" + s.instances[0].addr}}, good, http.StatusSwitchingProtocols},
		"token as subprotocol":     {http.Header{"Sec-Websocket-Protocol": {"hearth.v1, hearth.token." + good}}, "", http.StatusSwitchingProtocols},
		"bad token as subprotocol": {http.Header{"Sec-Websocket-Protocol": {"hearth.v1, hearth.token.x"}}, "", http.StatusUnauthorized},
		"no subprotocol of ours":   {http.Header{"Sec-Websocket-Protocol": {"hearth.v9"}}, good, http.StatusBadRequest},
	} {
		if status, code := handshake(t, s, x.token, x.header); status != x.want {
			t.Errorf("%s: got %d %s, want %d", name, status, code, x.want)
		}
	}
	query := "ws://" + s.instances[0].addr + "/v1/ws?access_token=" + good
	_, response, err := websocket.DefaultDialer.Dial(query, nil)
	if err == nil || response == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("token in the query: got %v, want 401: it is off", err)
	}
	s.user(0, "alice").get("/v1/ws").refused(http.StatusBadRequest, badRequest, "")
}

// handshake tries an upgrade and tells the status, and the code of a refusal.
func handshake(t *testing.T, s *stack, token string, header http.Header) (status int, code string) {
	t.Helper()
	if header == nil {
		header = http.Header{"Sec-Websocket-Protocol": {"hearth.v1"}}
	}
	header = header.Clone()
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+s.instances[0].addr+"/v1/ws", header)
	if err == nil {
		if got := ws.Subprotocol(); got != "hearth.v1" && header.Get("Sec-Websocket-Protocol") != "" {
			t.Errorf("subprotocol: got %q, want hearth.v1", got)
		}
		_ = ws.Close()
		return response.StatusCode, ""
	}
	if response == nil {
		t.Fatal(err)
	}
	var p problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		t.Errorf("refusal with %s: %v", response.Status, err)
	}
	return response.StatusCode, p.Code
}

// TestTokenExpires: the token ends under the connection.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second)
	c, err := dial(t, "ws://"+s.instances[0].addr+"/v1/ws", tokenUntil("alice", expires), "alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.awaitEvent("token_expiring")
	bye := c.awaitEvent("goodbye")
	if bye.Code != 4002 || bye.ReconnectAfterMS <= 0 {
		t.Errorf("goodbye: got %s, want code 4002 and reconnect_after_ms", bye.raw)
	}
	c.awaitClose(4002)
	if early := time.Until(expires); early > 0 {
		t.Errorf("closed %v before the token ended", early)
	}
}

func TestBadHTTP(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "alice")
	s.createGroup("group", "others", "bob")
	alice := s.user(0, "alice")
	hello := fields{"body": textBody(say("hello"))}
	for _, x := range []struct {
		method, path string
		body         any
		status       int
		code, field  string
	}{
		{"GET", "/v1/nowhere", nil, 404, "not_found", ""},
		{"GET", "/nowhere", nil, 404, "not_found", ""},
		{"GET", "/v1/groups/", nil, 404, "not_found", ""},
		{"PUT", "/v1/groups", nil, 405, badRequest, ""},
		{"PUT", "/v1/groups/g/messages", hello, 405, badRequest, ""},
		{"POST", "/healthz", nil, 405, badRequest, ""},
		{"POST", "/v1/ws", nil, 405, badRequest, ""},
		{"GET", "/v1/groups?colour=red", nil, 400, badRequest, "colour"},
		{"GET", "/v1/groups?limit=0", nil, 400, badRequest, "limit"},
		{"GET", "/v1/groups?limit=many", nil, 400, badRequest, "limit"},
		{"GET", "/v1/groups?limit=1&limit=2", nil, 400, badRequest, "limit"},
		{"GET", "/v1/groups?limit=", nil, 400, badRequest, "limit"},
		{"GET", "/v1/groups?cursor=" + quiet + "%20", nil, 400, badRequest, "cursor"},
		{"POST", "/v1/groups?limit=1", fields{"type": "room", "name": "x"}, 400, badRequest, "limit"},
		{"GET", "/v1/groups/a%20b", nil, 400, badRequest, "group"},
		{"GET", "/v1/groups/others", nil, 403, "not_member", ""},
		{"GET", "/v1/groups/none", nil, 404, "not_found", ""},
		{"GET", "/v1/groups/g/messages?after_seq=0&before_seq=9", nil, 400, badRequest, ""},
		{"GET", "/v1/groups/g/messages?after_seq=x", nil, 400, badRequest, "after_seq"},
		{"GET", "/v1/groups/g/messages/x", nil, 400, badRequest, "seq"},
		{"GET", "/v1/groups/g/messages/0", nil, 400, badRequest, "seq"},
		{"GET", "/v1/groups/g/messages/1", nil, 404, "not_found", ""},
		{"POST", "/v1/groups", nil, 400, badRequest, ""},
		{"POST", "/v1/groups", `{"type":`, 400, badRequest, ""},
		{"POST", "/v1/groups", `[]`, 400, badRequest, ""},
		{"POST", "/v1/groups", `{"type":"room","name":"x"}{}`, 400, badRequest, ""},
		{"POST", "/v1/groups", fields{"type": "club", "name": "x"}, 400, badRequest, "type"},
		{"POST", "/v1/groups", fields{"type": "room"}, 400, badRequest, "name"},
		{"POST", "/v1/groups", fields{"type": "room", "name": strings.Repeat("x", 257)}, 413, tooLarge, "name"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "group": "a b"}, 400, badRequest, "group"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "group": "hot"}, 400, badRequest, "group"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "join": "never"}, 400, badRequest, "join"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "owner": "bob"}, 403, "forbidden", "owner"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "members": []string{"bob", "system"}}, 400, badRequest, "members[1]"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "members": names("u", 501)}, 413, tooLarge, "members"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "attributes": []int{1}}, 400, badRequest, "attributes"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "attributes": fields{"a": strings.Repeat("x", 4096)}}, 413, tooLarge, "attributes"},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "group": "g"}, 409, "conflict", ""},
		{"POST", "/v1/groups", fields{"type": "room", "name": "x", "colour": "red"}, 400, badRequest, "colour"},
		{"POST", "/v1/groups", `{"type":"room","name":"` + "\xff" + `"}`, 400, badRequest, ""},
		{"POST", "/v1/groups", strings.Repeat(" ", 1<<20) + `{}`, 413, tooLarge, ""},
		{"POST", "/v1/groups/g/messages", fields{"body": textBody("x"), "from": "bob"}, 403, "forbidden", "from"},
		{"POST", "/v1/groups/g/messages", fields{"body": textBody("x"), "ack": "soon"}, 400, badRequest, "ack"},
		{"POST", "/v1/groups/g/messages", fields{"body": textBody("x"), "client_id": "a b"}, 400, badRequest, "client_id"},
		{"POST", "/v1/groups/g/messages", fields{"body": textBody("x"), "reply_to": 1}, 400, badRequest, "reply_to"},
		{"POST", "/v1/groups/others/messages", hello, 403, "not_member", ""},
		{"POST", "/v1/groups/none/messages", hello, 404, "not_found", ""},
		{"POST", "/v1/groups/g/join", fields{"user": "bob"}, 403, "forbidden", "user"},
		{"POST", "/v1/groups/others/join", nil, 403, "forbidden", ""},
		{"POST", "/v1/groups/g/members", fields{"members": []string{}}, 400, badRequest, "members"},
		{"POST", "/v1/groups/g/members", fields{"members": []string{"x y"}}, 400, badRequest, "members[0]"},
		{"POST", "/v1/groups/g/members", fields{"members": []string{"carol"}}, 403, "forbidden", ""},
		{"DELETE", "/v1/groups/g", nil, 403, "forbidden", ""},
		{"DELETE", "/v1/groups/g/members/alice", nil, 403, "forbidden", ""},
		{"POST", "/v1/groups/g/read", fields{"seq": 0}, 400, badRequest, "seq"},
		{"POST", "/v1/sync", fields{"user": "bob"}, 403, "forbidden", "user"},
		{"POST", "/v1/sync", fields{"groups": fields{"g": -1}}, 400, badRequest, "groups"},
	} {
		a := alice.do(x.method, x.path, x.body)
		if text, ok := x.body.(string); ok {
			a.what += " " + text[:min(len(text), 40)]
		} else if x.body != nil {
			encoded, _ := json.Marshal(x.body) // fields always marshal
			a.what += " " + string(encoded[:min(len(encoded), 80)])
		}
		a.refused(x.status, x.code, x.field)
		if x.status == http.StatusMethodNotAllowed && a.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", a.what)
		}
	}
	request, err := http.NewRequest("POST", alice.base+"/v1/groups", strings.NewReader("type=room"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+alice.token)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := alice.send(request)
	if err != nil {
		t.Fatal(err)
	}
	a.refused(http.StatusUnsupportedMediaType, badRequest, "")
}

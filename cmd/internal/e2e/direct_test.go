package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// direct is the answer to a send to a user.
type direct struct {
	sent
	PeerOnline *bool `json:"peer_online"`
}

// sendTo sends a text to a user; client_id may be "".
func (c *client) sendTo(user, text, clientID string) (direct, error) {
	request := fields{"to": user, "body": textBody(text)}
	if clientID != "" {
		request["client_id"] = clientID
	}
	var d direct
	return d, c.try("send", request, &d)
}

// tells is sendTo for what has to work: the message has this seq, and the peer is online or not.
func (c *client) tells(user, text string, seq int64, online bool) direct {
	c.t.Helper()
	d, err := c.sendTo(user, text, "")
	c.isDirect(err, d, user, seq, online)
	return d
}

func (c *client) isDirect(err error, d direct, user string, seq int64, online bool) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s to %s: %v", c.user, user, err)
	}
	if d.Group != directID(c.user, user) || d.Seq != seq || d.PeerOnline == nil || *d.PeerOnline != online {
		c.t.Errorf("%s to %s: got %+v (peer_online %v), want seq %d of %s and peer_online %v", c.user, user, d.sent, told(d.PeerOnline),
			seq, directID(c.user, user), online)
	}
}

func told(b *bool) string {
	if b == nil {
		return "not told"
	}
	return fmt.Sprint(*b)
}

func directID(a, b string) string { return "dm:" + min(a, b) + ":" + max(a, b) }

// isStranger fails unless the error is stranger_limit.
func (c *client) isStranger(what string, err error) {
	c.t.Helper()
	var f *failure
	if !errors.As(err, &f) || f.Code != "stranger_limit" || f.Retryable {
		c.t.Errorf("%s: %s: got %v, want stranger_limit, not retryable", c.user, what, err)
	}
}

// sameTexts fails unless these texts were pushed to the connection in a group, and nothing else, in this order.
func (c *client) sameTexts(group string, want ...string) {
	c.t.Helper()
	var got, bodies []string
	for _, p := range c.awaitPushes(group, len(want)) {
		got = append(got, string(p.Body))
	}
	for _, text := range want {
		bodies = append(bodies, compactText(text))
	}
	if !slices.Equal(got, bodies) {
		c.t.Errorf("%s: pushed in %s: got %q, want %q", c.user, group, got, bodies)
	}
}

// TestDirectFirstMessage: the first message opens the conversation on every device of both, on whatever instance it is.
func TestDirectFirstMessage(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3})
	ann, phone := s.connect(0, "ann"), s.connect(2, "ann")
	bob1, bob2, carol := s.connect(1, "bob"), s.connect(2, "bob"), s.connect(1, "carol")
	const group = "dm:ann:bob"
	hello := []string{say("one"), say("two"), say("three")}
	ann.tells("bob", hello[0], 1, true)
	for _, c := range []*client{ann, phone, bob1, bob2} {
		c.sameTexts(group, hello[0])
	}

	t.Run("no echo", func(t *testing.T) {
		var d direct
		ann.do("send", fields{"to": "bob", "body": textBody(hello[1]), "echo": false}, &d)
		phone.sameTexts(group, hello[:2]...)
		bob1.tells("ann", hello[2], 3, true)
		ann.sameTexts(group, hello[0], hello[2])
		phone.sameTexts(group, hello...)
		bob2.sameTexts(group, hello...)
	})
	t.Run("it is a conversation like others", func(t *testing.T) {
		s := s.in(t)
		ann.send(group, say("by its id"))
		if got := ann.pull(group, fields{"after_seq": 0}); len(got.Messages) != 4 || got.MaxSeq != 4 {
			t.Errorf("pull: got %+v, want 4 messages", got)
		}
		var p page
		bob1.do("subscribe", fields{"group": group, "after_seq": 0}, &p)
		if _, err := p.explained(0); err != nil || len(p.Messages) != 4 {
			t.Errorf("subscribe: got %+v (%v), want 4 messages", p, err)
		}
		var list struct{ Results []head }
		s.user(2, "bob").post("/v1/sync", nil).ok(http.StatusOK, &list)
		if len(list.Results) != 1 || list.Results[0].Group != group || list.Results[0].Type != "direct" || list.Results[0].Unread != 1 {
			t.Errorf("bob's conversations: got %+v, want %s of type direct with one unread", list.Results, group)
		}
	})
	t.Run("it is nobody else's", func(t *testing.T) {
		s := s.in(t)
		web := s.user(1, "carol")
		web.get("/v1/groups/"+group).refused(http.StatusForbidden, "not_member", "")
		web.get("/v1/groups/"+group+"/messages").refused(http.StatusForbidden, "not_member", "")
		web.post("/v1/groups/"+group+"/join", nil).refused(http.StatusForbidden, "forbidden", "")
		carol.refused(t, "send", `"op":"send","group":"`+group+`","body":[{"type":"text","text":"x"}]`, "not_member", "")
		carol.refused(t, "subscribe", `"op":"subscribe","group":"`+group+`"`, "not_member", "")
		add := fields{"members": []string{"carol"}}
		s.user(0, "ann").post("/v1/groups/"+group+"/members", add).refused(http.StatusForbidden, "forbidden", "")
		s.server(0).post("/v1/groups/"+group+"/members", add).refused(http.StatusForbidden, "forbidden", "")
		s.server(0).post("/v1/groups/"+group+"/join", fields{"user": "carol"}).refused(http.StatusForbidden, "forbidden", "")
		if n := len(carol.got(group)); n > 0 {
			t.Errorf("messages pushed to carol: got %d, want none", n)
		}
	})
	t.Run("the peer is away", func(t *testing.T) {
		carol.tells("dave", say("nobody there"), 1, false)
		dave := s.in(t).connect(0, "dave")
		carol.tells("dave", say("somebody there"), 2, true)
		dave.awaitPushes("dm:carol:dave", 1)
	})
}

// TestDirectLimit: three messages to somebody who has never written, and more as soon as he has.
func TestDirectLimit(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3})
	ann := s.connect(0, "ann")
	s.connect(1, "bob")
	const group = "dm:ann:bob"
	web := s.user(2, "ann")
	fourth := func(t *testing.T) {
		t.Helper()
		_, err := ann.sendTo("bob", say("four"), "")
		ann.isStranger("the fourth", err)
		ann.isStranger("the fourth, by id", ann.try("send", fields{"group": group, "body": textBody(say("four"))}, nil))
		web.post("/v1/direct/bob/messages", fields{"body": textBody(say("four"))}).refused(http.StatusForbidden, "stranger_limit", "")
		web.post("/v1/groups/"+group+"/messages", fields{"body": textBody(say("four"))}).refused(http.StatusForbidden, "stranger_limit", "")
	}
	ann.tells("bob", say("one"), 1, true)
	first, err := ann.sendTo("bob", say("two"), "c2")
	ann.isDirect(err, first, "bob", 2, true)
	t.Run("duplicates, refused ones and app servers' do not count", func(t *testing.T) {
		for range 5 {
			again, err := ann.sendTo("bob", say("two"), "c2")
			if ann.isDirect(err, again, "bob", 2, true); !again.Duplicate {
				t.Errorf("repeated: got %+v, want a duplicate", again.sent)
			}
		}
		_, err := ann.sendTo("bob", say("other"), "c2")
		if codeOf(err) != "conflict" {
			t.Errorf("same client_id, other content: got %v, want conflict", err)
		}
		ann.refused(t, "bad body", `"op":"send","to":"bob","body":[]`, badRequest, "body")
		var d direct
		s.in(t).server(1).post("/v1/direct/bob/messages", fields{"from": "ann", "body": textBody(say("by the server"))}).ok(http.StatusCreated, &d)
		if d.Group != group || d.Seq != 3 {
			t.Errorf("app server in ann's name: got %+v, want seq 3 of %s", d.sent, group)
		}
	})
	a := web.post("/v1/direct/bob/messages", fields{"body": textBody(say("three")), "client_id": "c3"})
	var third direct
	a.ok(http.StatusCreated, &third)
	ann.isDirect(nil, third, "bob", 4, true)
	a.header("Location", "/v1/groups/"+group+"/messages/4")
	web.post("/v1/direct/bob/messages", fields{"body": textBody(say("three")), "client_id": "c3"}).ok(http.StatusOK, &third)

	t.Run("the fourth is refused", fourth)
	t.Run("a duplicate is answered all the same", func(t *testing.T) {
		again, err := ann.sendTo("bob", say("two"), "c2")
		if ann.isDirect(err, again, "bob", 2, true); !again.Duplicate {
			t.Errorf("repeated: got %+v, want a duplicate", again.sent)
		}
	})
	t.Run("other conversations are not concerned", func(t *testing.T) { ann.tells("carol", say("hello"), 1, false) })
	for _, i := range s.instances {
		i.kill()
	}
	s.startTogether()
	ann = s.connect(0, "ann")
	bob := s.connect(1, "bob")
	t.Run("still after a restart of all", fourth)
	bob.tells("ann", say("now you may"), 5, true)
	for n := range 5 {
		ann.tells("bob", say("thanks", n), int64(6+n), true)
	}
	bob.awaitPushes(group, 6)
}

// TestDirectLimitOutlivesRedis: who has written to whom stands in MySQL too.
func TestDirectLimitOutlivesRedis(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")
	var acks []ack
	tell := func(c *client, user, text string) {
		t.Helper()
		d, err := c.sendTo(user, text, "")
		if err != nil {
			t.Fatalf("%s: %q: %v", c.user, text, err)
		}
		acks = append(acks, ack{sent: d.sent, From: c.user, Body: compactText(text), Tries: 1})
	}
	empty := func() {
		t.Helper()
		s.awaitPersisted(patience)
		if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		tell(ann, "bob", say(n))
	}
	empty()
	_, err := ann.sendTo("bob", say("four"), "")
	ann.isStranger("the fourth, after Redis was emptied", err)
	tell(bob, "ann", say("answer"))
	empty()
	for n := range 4 {
		tell(ann, "bob", say("more", n))
	}
	s.awaitPersisted(patience)
	var got []string
	for _, r := range s.rows() {
		got = append(got, r.Body)
	}
	var want []string
	for _, a := range acks {
		want = append(want, a.Body)
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows: got %q, want %q", got, want)
	}
}

func TestDirectWithoutLimit(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{env: map[string]string{"HEARTH_DIRECT_STRANGER_LIMIT": "0"}})
	ann := s.connect(0, "ann")
	for n := range 10 {
		ann.tells("bob", say(n), int64(n+1), false)
	}
}

func TestDirectBadRequests(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "ann")
	ann, web := s.connect(0, "ann"), s.user(0, "ann")
	hello := `"body":[{"type":"text","text":"` + quiet + `"}]`
	for _, x := range []struct{ name, target, field string }{
		{"to oneself", `"to":"ann"`, "to"},
		{"to system", `"to":"system"`, "to"},
		{"to no id", `"to":"` + quiet + ` "`, "to"},
		{"to nobody", `"to":""`, "to"},
		{"to a number", `"to":7`, "to"},
		{"to a long id", `"to":"` + strings.Repeat("b", 65) + `"`, "to"},
		{"with oneself, by id", `"group":"dm:ann:ann"`, "group"},
		{"with system, by id", `"group":"dm:ann:system"`, "group"},
		{"the wrong way round", `"group":"dm:bob:ann"`, "group"},
	} {
		ann.refused(t, x.name, `"op":"send",`+x.target+`,`+hello, badRequest, x.field)
	}
	t.Run("both, or neither", func(t *testing.T) {
		for name, target := range map[string]fields{"both": {"group": "g", "to": "bob"}, "neither": {}} {
			target["body"] = textBody(say("x"))
			err := ann.try("send", target, nil)
			if codeOf(err) != badRequest || !strings.Contains(err.Error(), "group") && !strings.Contains(err.Error(), "to:") {
				t.Errorf("%s: got %v, want bad_request that names a field", name, err)
			}
		}
	})
	t.Run("only to opens a conversation", func(t *testing.T) {
		err := ann.try("send", fields{"group": "dm:ann:zoe", "body": textBody(say("x"))}, nil)
		if code := codeOf(err); code != "not_found" && code != "not_member" {
			t.Errorf("send by an id that nobody has opened: got %v, want not_found", err)
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		in := *web
		in.t = t
		body := fields{"body": textBody(say("x"))}
		in.post("/v1/direct/ann/messages", body).refused(http.StatusBadRequest, badRequest, "user")
		in.post("/v1/direct/system/messages", body).refused(http.StatusBadRequest, badRequest, "user")
		in.post("/v1/direct/a%20b/messages", body).refused(http.StatusBadRequest, badRequest, "user")
		in.post("/v1/direct/bob/messages", fields{"body": []string{}}).refused(http.StatusBadRequest, badRequest, "body")
		in.post("/v1/direct/bob/messages", fields{"body": textBody("x"), "from": "carol"}).refused(http.StatusForbidden, "forbidden", "from")
		in.post("/v1/direct/bob/messages", fields{"body": textBody("x"), "to": "bob"}).refused(http.StatusBadRequest, badRequest, "to")
		in.get("/v1/direct/bob/messages").refused(http.StatusMethodNotAllowed, badRequest, "")
	})
	t.Run("nothing of it was stored", func(t *testing.T) { ann.tells("bob", say("first"), 1, false) })
}

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// signals are those of a group that a connection has received.
func (c *client) signals(group string) (list []frame) {
	for _, f := range c.seen() {
		if f.Event == "signal" && f.Group == group {
			list = append(list, f)
		}
	}
	return list
}

// awaitSignals waits for n signals in a group and returns the last one.
func (c *client) awaitSignals(group string, n int) frame {
	c.t.Helper()
	ok := c.wait(patience, func() bool {
		got := 0
		for _, f := range c.events {
			if f.Event == "signal" && f.Group == group {
				got++
			}
		}
		return got >= n
	})
	list := c.signals(group)
	if !ok || len(list) != n {
		c.t.Fatalf("%s: signals in %s: got %d, want %d (%v)", c.user, group, len(list), n, c.why())
	}
	return list[n-1]
}

// isSignal fails unless the event is this signal.
func isSignal(t testing.TB, f frame, group, from, kind, data string) {
	t.Helper()
	if f.Group != group || f.From != from || f.Kind != kind || string(f.Data) != data || f.TimeMS <= 0 || f.Seq != 0 {
		t.Errorf("signal: got %s, want %s from %s in %s with data %q, time_ms and no seq", f.raw, kind, from, group, data)
	}
}

// TestSignals: they reach whoever is subscribed now, on every instance, but the sending connection, and are not kept.
func TestSignals(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 3})
	s.createGroup("group", "g", "ann", "bob", "eve")
	ann, phone := s.connect(0, "ann"), s.connect(1, "ann")
	bob, eve := s.connect(1, "bob"), s.connect(2, "eve")
	stranger := s.connect(2, "zoe")
	n := 0
	reaches := func(t *testing.T, kind, data, from string, got ...*client) {
		t.Helper()
		n++
		for _, c := range got {
			isSignal(t, c.awaitSignals("g", n), "g", from, kind, data)
		}
	}
	signal := func(kind string, data any) fields {
		f := fields{"group": "g", "kind": kind}
		if data != nil {
			f["data"] = data
		}
		return f
	}
	ann.do("signal", signal("typing", nil), nil)
	reaches(t, "typing", "", "ann", phone, bob, eve)
	for _, data := range []string{`{"a":[1,null,true,"x"]}`, `"text"`, `5`, `null`, `false`, `"` + strings.Repeat("x", 4094) + `"`} {
		ann.do("signal", signal("k", json.RawMessage(data)), nil)
		n++
		for _, c := range []*client{phone, bob, eve} {
			if f := c.awaitSignals("g", n); string(f.Data) != data && !(data == "null" && len(f.Data) == 0) {
				t.Errorf("data: got %s, want %s", f.Data, data)
			}
		}
	}
	ann.do("signal", signal(strings.Repeat("k", 64), nil), nil)
	reaches(t, strings.Repeat("k", 64), "", "ann", phone, bob, eve)

	t.Run("not to the sending connection, nor to others", func(t *testing.T) {
		ann.do("ping", nil, nil)
		stranger.do("ping", nil, nil)
		if len(ann.signals("g")) > 0 || len(stranger.signals("g")) > 0 {
			t.Errorf("signals: ann got %d of her own, zoe %d, want none", len(ann.signals("g")), len(stranger.signals("g")))
		}
	})
	t.Run("not after unsubscribe", func(t *testing.T) {
		eve.do("unsubscribe", fields{"group": "g"}, nil)
		ann.do("signal", signal("typing", nil), nil)
		reaches(t, "typing", "", "ann", phone, bob)
		eve.do("ping", nil, nil)
		if got := len(eve.signals("g")); got != n-1 {
			t.Errorf("eve: signals: got %d, want %d", got, n-1)
		}
	})
	t.Run("over HTTP", func(t *testing.T) {
		s := s.in(t)
		s.user(2, "ann").post("/v1/groups/g/signals", fields{"kind": "typing", "data": fields{"on": true}}).ok(http.StatusNoContent, nil)
		reaches(t, "typing", `{"on":true}`, "ann", phone, bob)
		isSignal(t, ann.awaitSignals("g", 1), "g", "ann", "typing", `{"on":true}`) // it came from no connection
		s.server(0).post("/v1/groups/g/signals", fields{"kind": "maintenance"}).ok(http.StatusNoContent, nil)
		reaches(t, "maintenance", "", "system", phone, bob)
		s.server(0).post("/v1/groups/g/signals", fields{"kind": "wave", "from": "carol"}).ok(http.StatusNoContent, nil)
		reaches(t, "wave", "", "carol", phone, bob)
		s.user(0, "ann").post("/v1/groups/g/signals", fields{"kind": "k", "from": "bob"}).refused(http.StatusForbidden, "forbidden", "from")
		s.user(0, "zoe").post("/v1/groups/g/signals", fields{"kind": "k"}).refused(http.StatusForbidden, "not_member", "")
		s.user(0, "ann").post("/v1/groups/nowhere/signals", fields{"kind": "k"}).refused(http.StatusNotFound, "not_found", "")
		s.user(0, "ann").post("/v1/groups/g/signals", fields{}).refused(http.StatusBadRequest, badRequest, "kind")
		s.user(0, "ann").post("/v1/groups/g/signals", fields{"kind": "k", "data": strings.Repeat("x", 4095)}).
			refused(http.StatusRequestEntityTooLarge, tooLarge, "data")
	})
	t.Run("nothing is kept", func(t *testing.T) {
		if p := ann.pull("g", fields{"after_seq": 0}); p.MaxSeq != 0 || len(p.Messages) > 0 {
			t.Errorf("pull: got %+v, want nothing", p)
		}
		if first := ann.send("g", say("first")); first.Seq != 1 {
			t.Errorf("seq of the first message: got %d, want 1", first.Seq)
		}
		s.in(t).awaitRows(patience, 1)
		late := s.in(t).connect(0, "bob")
		late.do("subscribe", fields{"group": "g", "after_seq": 0}, nil)
		if got := len(late.signals("g")); got > 0 {
			t.Errorf("a later connection: signals: got %d, want none", got)
		}
	})
}

func TestBadSignals(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{})
	s.createGroup("group", "g", "ann", "bob")
	s.createGroup("group", "others", "bob")
	s.createGroup("group", "ended", "ann")
	s.server(0).delete("/v1/groups/ended").ok(http.StatusNoContent, nil)
	ann, bob := s.connect(0, "ann"), s.connect(0, "bob")
	for _, x := range []struct{ name, request, code, field string }{
		{"no kind", `"group":"g"`, badRequest, "kind"},
		{"empty kind", `"group":"g","kind":""`, badRequest, "kind"},
		{"kind a number", `"group":"g","kind":5`, badRequest, "kind"},
		{"data over 4 KiB", `"group":"g","kind":"k","data":"` + strings.Repeat("x", 4095) + `"`, tooLarge, "data"},
		{"unknown field", `"group":"g","kind":"k","colour":1`, badRequest, "colour"},
		{"as somebody else", `"group":"g","kind":"k","from":"bob"`, badRequest, "from"},
		{"bad group", `"group":"a b","kind":"k"`, badRequest, "group"},
		{"no group", `"kind":"k"`, badRequest, "group"},
		{"others' group", `"group":"others","kind":"k"`, "not_member", ""},
		{"unknown group", `"group":"nowhere","kind":"k"`, "not_found", ""},
		{"dismissed group", `"group":"ended","kind":"k"`, "gone", ""},
		{"to oneself", `"to":"ann","kind":"k"`, badRequest, "to"},
		{"to system", `"to":"system","kind":"k"`, badRequest, "to"},
		{"to a stranger", `"to":"bob","kind":"k"`, "stranger_limit", ""},
	} {
		ann.refused(t, x.name, `"op":"signal",`+x.request, x.code, x.field)
	}
	t.Run("kind of 65 bytes", func(t *testing.T) {
		err := ann.try("signal", fields{"group": "g", "kind": strings.Repeat("k", 65)}, nil)
		if code := codeOf(err); code != badRequest && code != tooLarge || !strings.Contains(fmt.Sprint(err), "kind:") {
			t.Errorf("got %v, want bad_request or too_large that names kind", err)
		}
	})
	t.Run("both, the group and a user", func(t *testing.T) {
		if err := ann.try("signal", fields{"group": "g", "to": "bob", "kind": "k"}, nil); codeOf(err) != badRequest {
			t.Errorf("got %v, want bad_request", err)
		}
	})
	bob.do("ping", nil, nil)
	for _, e := range bob.seen() {
		if e.Event == "signal" {
			t.Errorf("bob: got %s, and all were refused", e.raw)
		}
	}
}

// TestDirectSignals: only to somebody who has written before.
func TestDirectSignals(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	ann, phone, bob := s.connect(0, "ann"), s.connect(1, "ann"), s.connect(1, "bob")
	const group = "dm:ann:bob"
	refused := func(when string) {
		t.Helper()
		for _, target := range []fields{{"to": "bob"}, {"group": group}} {
			target["kind"] = "typing"
			err := ann.try("signal", target, nil)
			var f *failure
			if !errors.As(err, &f) || f.Code != "stranger_limit" && !(target["group"] != nil && f.Code == "not_found") {
				t.Errorf("%s: signal %v: got %v, want stranger_limit", when, target, err)
			}
		}
	}
	refused("nobody has written")
	ann.tells("bob", say("hello"), 1, true)
	refused("only ann has written")
	bob.awaitPushes(group, 1)
	bob.do("signal", fields{"to": "ann", "kind": "typing"}, nil) // ann has written
	for _, c := range []*client{ann, phone} {
		isSignal(t, c.awaitSignals(group, 1), group, "bob", "typing", "")
	}
	bob.tells("ann", say("hi"), 2, true)
	ann.do("signal", fields{"to": "bob", "kind": "typing"}, nil)
	isSignal(t, bob.awaitSignals(group, 1), group, "ann", "typing", "")
	ann.do("signal", fields{"group": group, "kind": "recording"}, nil)
	isSignal(t, bob.awaitSignals(group, 2), group, "ann", "recording", "")
	isSignal(t, phone.awaitSignals(group, 3), group, "ann", "recording", "")
}

// TestRoomSignals: rooms are open, for signals too.
func TestRoomSignals(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("room", "r")
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")
	bob.do("subscribe", fields{"group": "r"}, nil)
	ann.do("signal", fields{"group": "r", "kind": "applause"}, nil) // from outside
	isSignal(t, bob.awaitSignals("r", 1), "r", "ann", "applause", "")
}

// reads are the events read of a group that a connection has received, as user:seq.
func (c *client) reads(group string) (list []string) {
	for _, f := range c.seen() {
		if f.Event == "read" && f.Group == group {
			list = append(list, fmt.Sprint(f.User, ":", f.Seq))
		}
	}
	return list
}

func (c *client) awaitReads(group string, want ...string) {
	c.t.Helper()
	c.wait(patience, func() bool {
		n := 0
		for _, f := range c.events {
			if f.Event == "read" && f.Group == group {
				n++
			}
		}
		return n >= len(want)
	})
	if got := c.reads(group); !slices.Equal(got, want) {
		c.t.Errorf("%s: events read in %s: got %v, want %v (%v)", c.user, group, got, want, c.why())
	}
}

// TestReadEvents: who has read how far is told to all members of small groups, and in large ones to the reader's other
// connections only.
func TestReadEvents(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	others := names("m", 97)
	s.createGroup("group", "small", append(others, "ann", "bob", "carol")...)         // 100
	s.createGroup("group", "large", append(names("n", 98), "ann", "bob", "carol")...) // 101
	ann, bob, phone, carol := s.connect(0, "ann"), s.connect(0, "bob"), s.connect(1, "bob"), s.connect(1, "carol")
	for _, group := range []string{"small", "large"} {
		for n := range 5 {
			ann.send(group, say(n))
		}
		bob.awaitPushes(group, 5)
		for _, seq := range []int{2, 5} {
			bob.do("read", fields{"group": group, "seq": seq}, nil)
		}
		phone.awaitReads(group, "bob:2", "bob:5")
	}
	ann.awaitReads("small", "bob:2", "bob:5")
	carol.awaitReads("small", "bob:2", "bob:5")
	ann.do("signal", fields{"group": "large", "kind": "fence"}, nil) // behind whatever was published before
	carol.awaitSignals("large", 1)
	for _, c := range []*client{ann, carol} {
		if got := c.reads("large"); len(got) > 0 {
			t.Errorf("%s: events read in the large group: got %v, want none", c.user, got)
		}
	}
	if got := bob.reads("small"); len(got) > 0 {
		t.Errorf("the connection that read: got %v, want none", got)
	}
}

// TestReaders: who has read a message, its sender not counted.
func TestReaders(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "g", "ann", "bob", "carol", "dave")
	ann, bob, carol := s.connect(0, "ann"), s.connect(0, "bob"), s.connect(1, "carol")
	for n := range 5 {
		ann.send("g", say(n))
	}
	bob.send("g", say("six")) // has read up to here
	carol.do("read", fields{"group": "g", "seq": 3}, nil)
	for _, x := range []struct {
		seq   int
		users []string
	}{
		{1, []string{"bob", "carol"}},
		{3, []string{"bob", "carol"}},
		{4, []string{"bob"}},
		{6, nil},
	} {
		for n := range s.instances {
			var got struct {
				Seq       int64    `json:"seq"`
				ReadCount int      `json:"read_count"`
				Users     []string `json:"users"`
			}
			s.user(n, "dave").get(fmt.Sprint("/v1/groups/g/readers?seq=", x.seq)).ok(http.StatusOK, &got)
			slices.Sort(got.Users)
			if got.Seq != int64(x.seq) || got.ReadCount != len(x.users) || !slices.Equal(got.Users, x.users) {
				t.Errorf("readers of %d on %s: got %+v, want %v", x.seq, s.instances[n].name, got, x.users)
			}
		}
	}
	dave := s.user(0, "dave")
	dave.get("/v1/groups/g/readers").refused(http.StatusBadRequest, badRequest, "seq")
	dave.get("/v1/groups/g/readers?seq=0").refused(http.StatusBadRequest, badRequest, "seq")
	dave.get("/v1/groups/g/readers?seq=x").refused(http.StatusBadRequest, badRequest, "seq")
	dave.get("/v1/groups/g/readers?seq=7").refused(http.StatusNotFound, "not_found", "")
	s.user(0, "zoe").get("/v1/groups/g/readers?seq=1").refused(http.StatusForbidden, "not_member", "")
	s.server(0).get("/v1/groups/g/readers?seq=1").ok(http.StatusOK, nil)
}

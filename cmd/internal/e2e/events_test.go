package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// heard is an event that a listener has taken.
type heard struct {
	Type string
	Data json.RawMessage

	id   string // webhook-id
	seq  int64  // of a message
	what string // of a change
}

// listener is an app's back end that is told what happens. It notes each event when it takes it for the first time.
type listener struct {
	t    testing.TB
	addr string

	mu       sync.Mutex // guards what follows
	server   *httptest.Server
	fails    float64       // share of requests that it fails, half of them behind having taken the event
	refuses  bool          // it takes nothing
	hangs    chan struct{} // while not nil, requests get no answer until it is closed
	asked    int
	repeated int
	ids      map[string]bool
	events   map[string][]heard // by group
}

func startListener(t testing.TB) *listener {
	l := &listener{t: t, addr: "127.0.0.1:0", ids: map[string]bool{}, events: map[string][]heard{}}
	l.start()
	t.Cleanup(func() {
		l.set(0, false)
		l.stop()
	})
	return l
}

// start listens, on the same address as before.
func (l *listener) start() {
	l.t.Helper()
	var listen net.Listener
	await(l.t, patience, "the receiver's address is free", func() (bool, any) {
		var err error
		listen, err = net.Listen("tcp", l.addr)
		return err == nil, err
	})
	l.addr = listen.Addr().String()
	server := &httptest.Server{Listener: listen, Config: &http.Server{Handler: l}}
	server.Start()
	l.mu.Lock()
	l.server = server
	l.mu.Unlock()
}

func (l *listener) stop() {
	l.server.CloseClientConnections()
	l.server.Close()
}

// set says how many of the requests fail, and whether the others hang.
func (l *listener) set(fails float64, hang bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = fails
	if l.hangs != nil {
		close(l.hangs)
		l.hangs = nil
	}
	if hang {
		l.hangs = make(chan struct{})
	}
}

// refuse says whether every request fails, with nothing taken.
func (l *listener) refuse(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = on
}

// env has the instances post here. They retry sooner than in life, so that the test ends.
func (l *listener) env(more map[string]string) map[string]string {
	env := map[string]string{
		"HEARTH_WEBHOOKS_URL": "http://" + l.addr + "/events", "HEARTH_WEBHOOKS_SECRET": webhookSecret,
		"HEARTH_WEBHOOKS_TIMEOUT": "20s", "HEARTH_WEBHOOKS_RETRY_MIN": "100ms", "HEARTH_WEBHOOKS_RETRY_MAX": "2s",
	}
	maps.Copy(env, more)
	return env
}

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := heard{id: r.Header.Get("webhook-id")}
	there, err := readSigned(r, &e)
	if !there {
		return
	}
	var data struct {
		Group, Change, User string
		Seq                 int64
	}
	if err == nil {
		err = json.Unmarshal(e.Data, &data)
	}
	if err != nil {
		l.t.Errorf("an event: %v: %s of %s", err, e.Type, e.Data)
		return
	}
	e.seq, e.what = data.Seq, strings.TrimSpace(data.Change+" "+data.User)
	l.mu.Lock()
	hangs, luck := l.hangs, rand.Float64()
	l.asked++
	if hangs == nil && !l.refuses && luck >= l.fails/2 {
		if l.ids[e.id] {
			l.repeated++
		} else {
			l.ids[e.id] = true
			l.events[data.Group] = append(l.events[data.Group], e)
		}
	}
	fails := l.refuses || luck < l.fails
	l.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-r.Context().Done():
		}
		fails = true
	}
	if fails {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// of are the events of a group of one type, "" for all.
func (l *listener) of(group, typ string) (list []heard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[group] {
		if typ == "" || e.Type == typ {
			list = append(list, e)
		}
	}
	return list
}

// counts are how often it was asked, and how often about what it had taken before.
func (l *listener) counts() (asked, repeated int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked, l.repeated
}

// toldAll waits until every acknowledged message was told; and nothing else, and in the order of the seqs.
func (l *listener) toldAll(acks []ack, groups ...string) {
	l.t.Helper()
	for _, g := range groups {
		var want []int64
		for _, a := range ofGroup(acks, g) {
			want = append(want, a.Seq)
		}
		var got []int64
		await(l.t, 3*patience, "every message of "+g+" is told", func() (bool, any) {
			got = got[:0]
			for _, e := range l.of(g, "after_send") {
				got = append(got, e.seq)
			}
			return len(got) >= len(want), fmt.Sprintf("%d of %d", len(got), len(want))
		})
		if !slices.Equal(got, want) {
			n := 0
			for n < min(len(got), len(want)) && got[n] == want[n] {
				n++
			}
			l.t.Errorf("%s: %d events, want %d; from event %d on: got %v, want %v", g, len(got), len(want), n, got[n:min(n+10, len(got))], want[n:min(n+10, len(want))])
		}
	}
}

func TestTheReceiverIsToldWhatHappens(t *testing.T) {
	t.Parallel()
	l := startListener(t)
	s := newStack(t, setup{instances: 2, env: l.env(nil)})
	s.server(0).post("/v1/groups", fields{"group": "g", "type": "group", "name": "G", "owner": "ann", "members": []string{"bob"}}).ok(201, nil)
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")

	var first, again sent
	draft := fields{"group": "g", "client_id": "c-1", "body": textBody(say("hello")), "mentions": []string{"bob"}}
	ann.do("send", draft, &first)
	s.connect(1, "ann").do("send", draft, &again)
	if again.Seq != first.Seq || !again.Duplicate {
		t.Fatalf("repeated: got %+v, want %+v", again, first)
	}
	if code := codeOf(s.connect(1, "eve").try("send", fields{"group": "g", "body": textBody(say("no"))}, nil)); code != "not_member" {
		t.Fatalf("an outsider: got %q", code)
	}
	s.server(1).post("/v1/groups/g/messages", fields{"from": "bob", "body": textBody(say("of a server")), "reply_to": 1}).ok(201, nil)
	bob.send("g", say("bye"))
	await(t, patience, "three messages are told", func() (bool, any) {
		n := len(l.of("g", "after_send"))
		return n >= 3, n
	})
	var told []json.RawMessage
	for _, e := range l.of("g", "after_send") {
		told = append(told, e.Data)
	}
	var page struct{ Messages []json.RawMessage }
	ann.do("pull", fields{"group": "g", "after_seq": 0}, &page)
	if got, want := fmt.Sprintf("%s", told), fmt.Sprintf("%s", page.Messages); got != want {
		t.Errorf("messages: got %s, want them as clients get them, once: %s", got, want)
	}

	bob.do("recall", fields{"group": "g", "seq": 3}, nil)
	s.user(1, "ann").delete("/v1/groups/g/messages/2").ok(204, nil)
	bob.do("recall", fields{"group": "g", "seq": 3}, nil) // again
	await(t, patience, "the recalls are told", func() (bool, any) {
		var got []string
		for _, e := range l.of("g", "recalled") {
			got = append(got, string(e.Data))
		}
		return len(got) == 2 && strings.HasPrefix(got[0], `{"group":"g","seq":3,"by":"bob","time_ms":`) && strings.HasPrefix(got[1], `{"group":"g","seq":2,"by":"ann","time_ms":`), got
	})

	s.user(1, "ann").patch("/v1/groups/g", fields{"name": "New"}).ok(200, nil)
	s.user(0, "ann").post("/v1/groups/g/members", fields{"members": []string{"bob", "zoe", "max"}}).ok(200, nil)
	s.user(1, "ann").patch("/v1/groups/g/members/bob", fields{"role": "admin", "mute_ms": -1}).ok(200, nil)
	s.user(0, "zoe").post("/v1/groups/g/leave", nil).ok(204, nil)
	s.user(1, "ann").delete("/v1/groups/g/members/max").ok(204, nil)
	s.user(0, "ann").delete("/v1/groups/g").ok(204, nil)
	want := []string{"created", "updated", "joined max", "joined zoe", "role bob", "muted bob", "left zoe", "removed max", "dismissed"}
	var got []string
	await(t, patience, "the changes are told", func() (bool, any) {
		got = nil
		for _, e := range l.of("g", "") {
			if strings.HasSuffix(e.Type, "_changed") {
				got = append(got, e.what)
			}
		}
		return slices.Equal(got, want), got
	})
	for _, e := range l.of("g", "group_changed") {
		if e.what == "updated" && !strings.Contains(string(e.Data), `"name":"New"`) {
			t.Errorf("updated: got %s, want the group as it is", e.Data)
		}
	}
}

// TestEventsThroughFaults: the receiver fails, hangs and restarts, instances and Redis are killed under load.
// Whatever has piled up meanwhile: a change is told behind the messages that were stored before it.
func TestAChangeIsToldBehindTheMessagesBeforeIt(t *testing.T) {
	t.Parallel()
	l := startListener(t)
	s := newStack(t, setup{instances: 2, env: l.env(nil)})
	s.createGroup("room", "g", "ann")
	await(t, patience, "the group is told", func() (bool, any) { n := len(l.of("g", "group_changed")); return n == 1, n })
	l.refuse(true)
	ann := s.connect(0, "ann")
	for range 70 {
		ann.do("send", fields{"group": "g", "body": textBody(say("before")), "ack": "durable", "timeout_ms": 10000}, nil)
	}
	s.server(1).patch("/v1/groups/g", fields{"name": "New"}).ok(200, nil)
	ann.do("send", fields{"group": "g", "body": textBody(say("behind")), "ack": "durable", "timeout_ms": 10000}, nil)
	l.refuse(false)
	await(t, patience, "everything is told", func() (bool, any) { n := len(l.of("g", "")); return n == 73, n })
	for i, e := range l.of("g", "") {
		if want := i == 0 || i == 71; want != (e.Type == "group_changed") {
			t.Errorf("event %d: got %s", i, e.Type)
		}
	}
}

func TestEventsThroughFaults(t *testing.T) {
	t.Parallel()
	l := startListener(t)
	s := newStack(t, setup{instances: 2, env: l.env(nil), redis: []string{"--appendonly", "yes", "--appendfsync", "everysec"}})
	users, groups := names("u", 4), names("g", 6)
	for _, g := range groups {
		s.createGroup("group", g, users...)
	}
	load := startLoad(s, users, groups)
	steps := []func(){
		func() { l.set(0.3, false) },
		func() { s.instances[0].kill() },
		func() { s.instances[0].up() },
		func() { l.set(0, true) },
		func() { s.instances[1].kill() },
		func() { l.set(0.1, false) },
		func() { s.instances[1].up() },
		func() { l.stop() },
		func() {
			if err := s.redis.Restart(); err != nil {
				t.Fatal(err)
			}
		},
		func() { l.start() },
		func() { l.set(0, false) },
	}
	for _, step := range steps {
		load.awaitMore(150)
		step()
	}
	load.awaitMore(150)
	acks := load.stop()
	l.toldAll(acks, groups...)
	for _, g := range groups {
		if changes := l.of(g, "group_changed"); len(changes) != 1 {
			t.Errorf("%s: got %d changes, want that it was created", g, len(changes))
		}
	}
	asked, repeated := l.counts()
	t.Logf("%d messages acknowledged, %d requests, %d of them repeats", len(acks), asked, repeated)
	await(t, patience, "nothing is left to be told", func() (bool, any) {
		n := s.count("SELECT COUNT(*) FROM hook_position WHERE pending") + s.count("SELECT COUNT(*) FROM hook_outbox")
		return n == 0, n
	})
}

// TestAHangingReceiverHoldsUpNobody: as long as it does, messages are accepted and stored, and it has no more requests
// before it than there are workers.
func TestAHangingReceiverHoldsUpNobody(t *testing.T) {
	t.Parallel()
	l := startListener(t)
	s := newStack(t, setup{instances: 2, env: l.env(map[string]string{"HEARTH_WEBHOOKS_TIMEOUT": "1m"})})
	users, groups := names("u", 4), names("g", 20)
	for _, g := range groups {
		s.createGroup("group", g, users...)
	}
	before := 0
	await(t, patience, "the groups are told", func() (bool, any) {
		before, _ = l.counts()
		return before >= len(groups), before
	})
	l.set(0, true)
	load := startLoad(s, users, groups)
	load.awaitMore(2000)
	acks := load.stop()
	s.awaitPersisted(patience)
	if asked, _ := l.counts(); asked-before > 2*16+20 { // 20: the machine may be so slow that the first run into their timeout
		t.Errorf("a receiver that hangs was asked %d times about %d messages, want about 16 times by each instance", asked-before, len(acks))
	}
	l.set(0, false)
	l.toldAll(acks, groups...)
}

// TestEventsThatAreGivenUp: what the receiver does not take for too long is listed, and told when an operator says so.
func TestEventsThatAreGivenUp(t *testing.T) {
	t.Parallel()
	l := startListener(t)
	s := newStack(t, setup{env: l.env(map[string]string{"HEARTH_WEBHOOKS_RETRY_FOR": "1s"})})
	s.does(0, []string{"hooks", "list"})
	l.refuse(true)
	s.createGroup("group", "g", "ann", "bob")
	ann := s.connect(0, "ann")
	for n := range 3 {
		ann.send("g", say(n))
	}
	await(t, 3*patience, "all is given up", func() (bool, any) {
		untold := s.count("SELECT COUNT(*) FROM hook_position WHERE pending") + s.count("SELECT COUNT(*) FROM hook_outbox WHERE dead_time=0")
		return untold == 0 && s.count("SELECT COALESCE(SUM(to_seq-from_seq+1),0) FROM hook_outbox WHERE event='after_send'") == 3, untold
	})
	list := s.does(0, []string{"hooks", "list"}, "group_changed  g", "after_send  g 1", "the receiver answered 500")
	if strings.Contains(s.does(0, []string{"hooks", "list", "--group", "h"}), "g") {
		t.Errorf("of another group: got %s", list)
	}
	s.does(0, []string{"hooks", "list", "--json"}, `{"event":"group_changed","group":"g",`, `"data":{"group":"g","change":"created"`)
	if n := len(l.of("g", "")); n > 0 {
		t.Errorf("%d events were taken, want none", n)
	}

	l.refuse(false)
	s.does(0, []string{"hooks", "retry", "--group", "h"}, "0 will be told")
	s.does(0, []string{"hooks", "retry"}, "will be told after all")
	var what []string
	await(t, patience, "what was given up is told", func() (bool, any) {
		what = nil
		for _, e := range l.of("g", "") {
			what = append(what, fmt.Sprint(e.Type, " ", e.seq))
		}
		return len(what) == 4, what
	})
	if got := strings.Join(what, ", "); got != "group_changed 0, after_send 1, after_send 2, after_send 3" {
		t.Errorf("got %s, want them in their order", got)
	}
	s.does(0, []string{"hooks", "replay", "g", "2.."}, "2 messages will be told again")
	s.does(0, []string{"hooks", "replay", "g", "1"}, "1 message will be told again")
	s.does(1, []string{"hooks", "replay", "g", "17..42"}, "no messages there")
	await(t, patience, "the messages are told again", func() (bool, any) {
		_, repeated := l.counts()
		return repeated >= 3, repeated
	})
}

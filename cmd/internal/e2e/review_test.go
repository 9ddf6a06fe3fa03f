package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"hearth/domain/testserver"
	goclient "hearth/transport/client"
)

// TestRefusedSendsOpenNothing: who sends to a hundred strangers, one by one or all at once, has conversations with those
// alone to whom a message was accepted, and nobody else learns of one.
func TestRefusedSendsOpenNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 1, env: map[string]string{"HEARTH_LIMITS_USER_RATE": "1", "HEARTH_LIMITS_USER_BURST": "1"}})
	strangers := names("u", 100)
	want := make(map[string]bool)
	refused := func(err error) bool {
		t.Helper()
		if err != nil && codeOf(err) != "rate_limited" {
			t.Fatalf("send to a stranger: got %v, want rate_limited or none", err)
		}
		return err != nil
	}
	ann, bob := s.connect(0, "ann"), s.connect(0, "bob")
	last := s.connect(0, strangers[len(strangers)-1])
	for _, user := range strangers {
		if _, err := ann.sendTo(user, say("one by one"), ""); !refused(err) {
			want[directID("ann", user)] = true
		}
	}
	var replies []<-chan frame
	for _, user := range strangers {
		reply, err := bob.ask("send", fields{"to": user, "body": textBody(say("all at once"))})
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, reply)
	}
	for i, reply := range replies {
		if !refused(bob.result(reply, nil)) {
			want[directID("bob", strangers[i])] = true
		}
	}
	if n := len(want); n < 2 || n > 20 {
		t.Errorf("accepted sends: got %d, want one a second and user", n)
	}
	var got []string
	rows, err := s.db.QueryContext(t.Context(), "SELECT group_id FROM chat_group ORDER BY group_id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var group string
		if err := rows.Scan(&group); err != nil {
			t.Fatal(err)
		}
		got = append(got, group)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if wanted := slices.Sorted(maps.Keys(want)); !slices.Equal(got, wanted) {
		t.Errorf("conversations: got %v, want %v", got, wanted)
	}
	last.do("ping", nil, nil) // what was to be pushed has come before the answer
	for _, f := range last.seen() {
		if f.Event == "group" && !want[f.Group] {
			t.Errorf("a stranger was told of a conversation that nobody has: %s", f.raw)
		}
	}
}

// TestDurableComesBehindTheReply: with ack "both" the event never overtakes the reply, in direct conversations neither,
// whose replies wait for the other side's presence.
func TestDurableComesBehindTheReply(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 1, env: map[string]string{"HEARTH_DIRECT_STRANGER_LIMIT": "0"}})
	var mu sync.Mutex // guards order
	var order []string
	ann, err := s.dial(s.instances[0], "ann", func(f frame) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case f.OK != nil:
			order = append(order, "ok")
		case f.Event == "durable":
			order = append(order, fmt.Sprint("durable ", f.Seq))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.connect(0, "bob")
	const group = "dm:ann:bob"
	for n := range 10 {
		var d direct
		ann.do("send", fields{"to": "bob", "body": textBody(say(n)), "ack": "both", "client_id": fmt.Sprint("c", n)}, &d)
		ann.awaitMatch("durable", func(f frame) bool { return f.Event == "durable" && f.Group == group && f.Seq == d.Seq })
		// A repeat's row is there: the event comes at once.
		var again direct
		ann.do("send", fields{"to": "bob", "body": textBody(say(n)), "ack": "both", "client_id": fmt.Sprint("c", n)}, &again)
		if !again.Duplicate || !again.Durable || again.PeerOnline == nil {
			t.Fatalf("repeat: got %+v, want a durable duplicate with peer_online", again)
		}
		ann.awaitMatch("durable again", func(f frame) bool {
			mu.Lock()
			defer mu.Unlock()
			return len(order) >= 4*(n+1)
		})
	}
	mu.Lock()
	defer mu.Unlock()
	var want []string
	for n := range 10 {
		durable := fmt.Sprint("durable ", n+1)
		want = append(want, "ok", durable, "ok", durable)
	}
	if !slices.Equal(order, want) {
		t.Errorf("order: got %v, want %v", order, want)
	}
}

// TestGoClientComesBackUnderReject: a link is cut and the server does not learn of it. The client's own session keeps it
// out until it is given up, and no longer.
func TestGoClientComesBackUnderReject(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 1, env: map[string]string{
		"HEARTH_SESSION_POLICY": "reject", "HEARTH_WS_PING_INTERVAL": "2s", "HEARTH_WS_PONG_TIMEOUT": "2s",
	}})
	s.createGroup("group", "g", "ann", "bob")
	p := testserver.NewProxy(t, s.instances[0].addr)
	states, messages := make(chan goclient.State, 100), make(chan goclient.Message, 100)
	c, err := goclient.New(goclient.Config{
		URLs:      []string{"http://" + p.Addr()},
		Token:     func(context.Context) (string, error) { return token("ann"), nil },
		All:       true,
		OnMessage: func(m goclient.Message) { messages <- m },
		OnState:   func(state goclient.State) { states <- state },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: got %v, want nil after the cancel", err)
		}
	}()
	next := func(what string) goclient.State {
		t.Helper()
		select {
		case state := <-states:
			return state
		case <-time.After(patience):
			t.Fatalf("no %s", what)
			return goclient.State{}
		}
	}
	if first := next("connection"); !first.Connected {
		t.Fatalf("got %+v, want a connection", first)
	}
	p.Links().CutClients()
	refused := 0
	for state := next("loss"); !state.Connected; state = next("connection again") {
		if state.Code == http.StatusConflict {
			refused++
		}
	}
	if refused == 0 {
		t.Error("the client was not refused once: the server knew that the link was cut")
	}
	s.connect(0, "bob").send("g", say("there again"))
	select {
	case m := <-messages:
		if m.Group != "g" || m.Seq != 1 {
			t.Errorf("got %+v, want the first message of g", m)
		}
	case <-time.After(patience):
		t.Error("no message after the reconnect")
	}
}

// TestConnectWithAnOldListWhileMySQLHangs: a MySQL that takes connections and does not answer does not keep out a user
// whose groups are known from a while ago.
func TestConnectWithAnOldListWhileMySQLHangs(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 1, ownMySQL: true})
	s.createGroup("group", "g", "ann")
	s.connect(0, "ann").close()
	keys, err := s.rdb.Keys(t.Context(), "hearth:{*}:mine:ann").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("the list of ann's groups: got %v (%v), want one key", keys, err)
	}
	left := 24*time.Hour - 11*time.Minute // of a day: the list is older than what is believed unasked
	if err := s.rdb.PExpire(t.Context(), keys[0], left).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.mysql.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.mysql.Resume() })
	for range 3 { // connections of the pool that hang are not the last ones
		start := time.Now()
		ann, err := s.dial(s.instances[0], "ann", nil)
		if err != nil {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("connect: took %v, want 2s at most", took)
		}
		if welcome := ann.seen()[0]; welcome.Subscribed != 1 {
			t.Errorf("welcome: got %s, want one group", welcome.raw)
		}
		ann.close()
	}
}

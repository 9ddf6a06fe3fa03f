package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// tombs are what a page says beside messages of their recalls.
type tombs struct {
	MaxSeq   int64 `json:"max_seq"`
	Unread   int64 `json:"unread"`
	Messages []struct {
		message
		RecalledMS int64  `json:"recalled_ms"`
		RecalledBy string `json:"recalled_by"`
	} `json:"messages"`
	Recalled []int64 `json:"recalled"`
}

// recalledBy is by whom each message was recalled, "" for those that were not; a tombstone with a body fails.
func (p tombs) recalledBy(t testing.TB) map[int64]string {
	t.Helper()
	by := make(map[int64]string)
	for _, m := range p.Messages {
		by[m.Seq] = m.RecalledBy
		if (len(m.Body) == 0) != (m.RecalledBy != "") || (m.RecalledMS == 0) != (m.RecalledBy == "") {
			t.Errorf("message %d: got body %q, recalled by %q at %d", m.Seq, m.Body, m.RecalledBy, m.RecalledMS)
		}
	}
	return by
}

// tombsOf pulls a group from its start on an instance.
func (s *stack) tombsOf(n int, user, group string) (p tombs) {
	s.t.Helper()
	s.user(n, user).get("/v1/groups/"+group+"/messages?after_seq=0&limit=200").ok(http.StatusOK, &p)
	return p
}

// showsRecalls fails unless every instance shows these recalls and no others.
func (s *stack) showsRecalls(t testing.TB, what, user, group string, want map[int64]string) {
	t.Helper()
	for n := range s.instances {
		if got := s.tombsOf(n, user, group).recalledBy(t); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s, on instance %d: got %v, want %v", what, n, got, want)
		}
	}
}

// awaitWrittenRecalls waits until MySQL has so many tombstones.
func (s *stack) awaitWrittenRecalls(want int) {
	s.t.Helper()
	await(s.t, patience, fmt.Sprint(want, " recalled rows"), func() (bool, any) {
		n := s.count("SELECT COUNT(*) FROM group_msg WHERE recalled_time>0 AND msg_body='' AND content_hash<>''")
		return n == want, n
	})
}

// TestRecall: nobody is shown the content behind the answer, on whatever instance, before and after MySQL has it.
func TestRecall(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: slowly})
	s.createGroup("group", "g", "ann", "bob")
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")
	var first sent
	once := fields{"group": "g", "body": textBody("one"), "client_id": "c1"}
	ann.do("send", once, &first)
	for n := range 3 {
		ann.send("g", say(n))
	}
	bob.awaitPushes("g", 4)
	s.awaitRows(patience, 4)

	ann.do("recall", fields{"group": "g", "seq": 1}, nil)
	s.showsRecalls(t, "recalled", "bob", "g", map[int64]string{1: "ann", 2: "", 3: "", 4: ""})
	ann.send("g", say(9))
	ann.do("recall", fields{"group": "g", "seq": 5}, nil)
	s.showsRecalls(t, "recalled at once", "bob", "g", map[int64]string{1: "ann", 2: "", 3: "", 4: "", 5: "ann"})
	event := bob.awaitMatch("recall of 1", func(f frame) bool { return f.Event == "recall" && f.Seq == 1 })
	if event.By != "ann" || event.Group != "g" || event.TimeMS < first.TimeMS {
		t.Errorf("event: got %s", event.raw)
	}
	var again sent
	if ann.do("send", once, &again); !again.Duplicate || again.Seq != 1 {
		t.Errorf("repeat of a recalled message: got %+v, want the duplicate of 1", again)
	}

	one := "/v1/groups/g/messages/"
	s.user(1, "bob").delete(one+"2").refused(http.StatusForbidden, "forbidden", "")
	s.user(1, "eve").delete(one+"2").refused(http.StatusForbidden, "not_member", "")
	s.user(1, "ann").delete(one+"99").refused(http.StatusNotFound, "not_found", "")
	for range 2 {
		s.user(1, "ann").delete(one+"2").ok(http.StatusNoContent, nil)
	}
	s.server(0).delete(one+"3").ok(http.StatusNoContent, nil)
	key := s.tombsOf(0, "bob", "g").recalledBy(t)[3]
	if key == "" || key == "ann" {
		t.Errorf("recalled by an app server: got %q, want its key's id", key)
	}
	want := map[int64]string{1: "ann", 2: "ann", 3: key, 4: "", 5: "ann"}
	s.awaitWrittenRecalls(4)
	s.awaitPersisted(patience)
	s.showsRecalls(t, "written", "bob", "g", want)

	var asked tombs
	after := fields{"group": "g", "after_seq": 4, "recalled_after_ms": event.TimeMS - 1}
	for _, op := range []string{"pull", "subscribe"} {
		if bob.do(op, after, &asked); !slices.Equal(asked.Recalled, []int64{1, 2, 3}) {
			t.Errorf("%s: got recalled %v, want 1, 2 and 3", op, asked.Recalled)
		}
	}
	var synced struct{ Results []tombs }
	bob.do("sync", fields{"groups": fields{"g": 2}, "recalled_after_ms": event.TimeMS}, &synced)
	if got := synced.Results[0].Recalled; !slices.Equal(got, []int64{2}) {
		t.Errorf("sync: got recalled %v, want 2", got)
	}
	if synced.Results[0].Unread != 5 {
		t.Errorf("unread: got %d, want 5, tombstones among them", synced.Results[0].Unread)
	}
	for _, bad := range []fields{{"group": "g", "recalled_after_ms": 1}, {"group": "g", "before_seq": 3, "recalled_after_ms": 1}} {
		if err := bob.try("pull", bad, nil); codeOf(err) != "bad_request" {
			t.Errorf("pull %v: got %v, want bad_request", bad, err)
		}
	}

	// Of a message that only MySQL has.
	s.deleteKeys("hearth:{*}:recent:*")
	s.deleteKeys("hearth:{*}:recalled:*")
	s.showsRecalls(t, "not in Redis any more", "bob", "g", want)
	ann.do("recall", fields{"group": "g", "seq": 4}, nil)
	want[4] = "ann"
	s.showsRecalls(t, "old message", "bob", "g", want)
	s.awaitWrittenRecalls(5)
	s.awaitPersisted(patience)
	s.showsRecalls(t, "old message, written", "bob", "g", want)
	s.sound()

	s.server(0).delete("/v1/groups/g").ok(http.StatusNoContent, nil)
	s.user(1, "ann").delete(one+"4").refused(http.StatusGone, "gone", "")
}

// TestRecallsOutliveRedis: it is emptied right behind the answers; the messages are some that MySQL has and some that only
// the other instance has acknowledged.
func TestRecallsOutliveRedis(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: slowly})
	s.createGroup("group", "g", "ann", "bob")
	ann, other := s.connect(0, "ann"), s.connect(1, "ann")
	want := map[int64]string{}
	for range 3 {
		var seqs []int64
		for n := range 6 {
			m := ann.send("g", say(n))
			seqs, want[m.Seq] = append(seqs, m.Seq), ""
			if n == 2 {
				s.awaitPersisted(patience)
			}
		}
		for i, seq := range []int64{seqs[1], seqs[4], seqs[5]} {
			[]*client{ann, other}[(i+1)%2].do("recall", fields{"group": "g", "seq": seq}, nil)
			want[seq] = "ann"
		}
		if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		m := ann.send("g", say(7)) // both are in the new generation once it is pushed
		want[m.Seq] = ""
		other.awaitMatchingPush("g", m.Seq)
		s.showsRecalls(t, "emptied", "bob", "g", want)
	}
	s.awaitPersisted(patience)
	s.showsRecalls(t, "in the end", "bob", "g", want)
	s.sound()
}

// TestRecallsOutliveTheirInstance: the one that has acknowledged is killed at once, and all are started again.
func TestRecallsOutliveTheirInstance(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: slowly})
	s.createGroup("group", "g", "ann", "bob")
	ann := s.connect(0, "ann")
	ann.send("g", say(1))
	ann.send("g", say(2))
	ann.do("recall", fields{"group": "g", "seq": 2}, nil)
	s.instances[0].kill()
	if got := s.tombsOf(1, "bob", "g").recalledBy(t); fmt.Sprint(got) != fmt.Sprint(map[int64]string{1: "", 2: "ann"}) {
		t.Errorf("on the other instance: got %v", got)
	}
	s.instances[0].up()
	s.instances[0].awaitReady()
	s.connect(0, "ann").do("recall", fields{"group": "g", "seq": 1}, nil)
	for _, i := range s.instances {
		i.kill()
		i.up()
	}
	for _, i := range s.instances {
		i.awaitReady()
	}
	want := map[int64]string{1: "ann", 2: "ann"}
	s.showsRecalls(t, "started again", "bob", "g", want)
	s.awaitWrittenRecalls(2)
	s.awaitPersisted(patience)
	s.showsRecalls(t, "written", "bob", "g", want)
	s.sound()
}

// TestRecallsAgainstAModel sends, recalls and reads at random, and looks after each step what one of the instances says.
func TestRecallsAgainstAModel(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "g", "ann", "bob", "cy")
	users := []string{"ann", "bob", "cy"}
	lines := make(map[string]*client)
	for i, u := range users {
		lines[u] = s.connect(i%2, u)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	from, recalled, read := map[int64]string{}, map[int64]string{}, map[string]int64{}
	top := int64(0)
	for step := range 250 {
		user := users[r.IntN(3)]
		switch do := r.IntN(10); {
		case do < 5 || top == 0:
			top = lines[user].send("g", say(step)).Seq
			from[top], recalled[top], read[user] = user, "", top
		case do < 8:
			seq := 1 + r.Int64N(top)
			err := lines[user].try("recall", fields{"group": "g", "seq": seq}, nil)
			switch {
			case recalled[seq] == "" && from[seq] != user:
				if codeOf(err) != "forbidden" {
					t.Fatalf("step %d: %s recalls %d of %s: got %v, want forbidden", step, user, seq, from[seq], err)
				}
			case err != nil:
				t.Fatalf("step %d: %s recalls %d: %v", step, user, seq, err)
			case recalled[seq] == "":
				recalled[seq] = user
			}
		default:
			seq := 1 + r.Int64N(top)
			lines[user].do("read", fields{"group": "g", "seq": seq}, nil)
			read[user] = max(read[user], seq)
		}
		p := s.tombsOf(r.IntN(2), users[r.IntN(3)], "g")
		if got := p.recalledBy(t); fmt.Sprint(got) != fmt.Sprint(recalled) || t.Failed() {
			t.Fatalf("step %d: got %v, want %v", step, got, recalled)
		}
	}
	for _, u := range users {
		if p, h := s.unread(r.IntN(2), u, "g"); p.Unread != top-read[u] || h.Unread != top-read[u] {
			t.Errorf("%s: got %d and %d unread, want %d", u, p.Unread, h.Unread, top-read[u])
		}
	}
	s.awaitPersisted(patience)
	s.deleteKeys("hearth:{*}:recent:*")
	s.showsRecalls(t, "as MySQL has it", "ann", "g", recalled)
	s.sound()
}

// TestRecallByEveryRole: who recalls whose messages, over HTTP and over the WebSocket, on two instances.
func TestRecallByEveryRole(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	for kind, g := range map[string]string{"group": "g", "room": "r"} {
		s.server(0).post("/v1/groups", fields{
			"group": g, "type": kind, "name": g, "owner": "olivia", "members": []string{"adam", "abe", "mia", "max"},
		}).ok(http.StatusCreated, nil)
		for _, user := range []string{"adam", "abe"} {
			s.server(0).patch("/v1/groups/"+g+"/members/"+user, fields{"role": "admin"}).ok(http.StatusOK, nil)
		}
	}
	for n, c := range []struct{ who, group, sender, code string }{
		{"olivia", "g", "olivia", ""},
		{"olivia", "g", "adam", ""},
		{"olivia", "g", "mia", ""},
		{"adam", "g", "olivia", "forbidden"},
		{"adam", "g", "abe", "forbidden"},
		{"adam", "g", "adam", ""},
		{"adam", "g", "mia", ""},
		{"mia", "g", "mia", ""},
		{"mia", "g", "max", "forbidden"},
		{"mia", "g", "olivia", "forbidden"},
		{"eve", "g", "mia", "not_member"},
		{"eve", "r", "eve", ""},
		{"eve", "r", "mia", "forbidden"},
		{"adam", "r", "eve", ""},
		{"mia", "dm:max:mia", "mia", ""},
		{"mia", "dm:max:mia", "max", "forbidden"},
		{"eve", "dm:max:mia", "max", "not_member"},
		{"", "g", "olivia", ""},
		{"", "dm:max:mia", "max", ""},
	} {
		for over := range 2 {
			m := s.sendAs(n%2, c.group, c.sender)
			var code string
			switch {
			case over == 0 && c.who != "":
				code = string(codeOf(s.connect((n+1)%2, c.who).try("recall", fields{"group": c.group, "seq": m.Seq}, nil)))
			default:
				caller := s.server((n + 1) % 2)
				if c.who != "" {
					caller = s.user((n+1)%2, c.who)
				}
				a := caller.delete(fmt.Sprintf("/v1/groups/%s/messages/%d", c.group, m.Seq))
				if c.code == "" {
					a.ok(http.StatusNoContent, nil)
				} else {
					a.refused(http.StatusForbidden, c.code, "")
				}
				code = c.code
			}
			if code != c.code {
				t.Errorf("%q recalls what %s sent to %s: got %q, want %q", c.who, c.sender, c.group, code, c.code)
			}
			s.shows(c.group, c.sender, m.Seq, c.code == "")
		}
	}
	s.sound()
}

// sendAs sends a message over HTTP; a direct conversation is opened by it.
func (s *stack) sendAs(n int, group, user string) (m sent) {
	s.t.Helper()
	path := "/v1/groups/" + group + "/messages"
	if _, peers, ok := strings.Cut(group, "dm:"); ok {
		path = "/v1/direct/" + strings.Trim(strings.ReplaceAll(peers, user, ""), ":") + "/messages"
	}
	s.user(n, user).post(path, fields{"body": textBody("hello")}).ok(http.StatusCreated, &m)
	return m
}

// shows fails unless every instance shows this message with or without its content, also among the user's conversations.
func (s *stack) shows(group, user string, seq int64, recalled bool) {
	s.t.Helper()
	for n := range s.instances {
		one := fmt.Sprintf("/v1/groups/%s/messages/%d", group, seq)
		if a := s.user(n, user).get(one); strings.Contains(string(a.Body), `"body"`) == recalled {
			s.t.Errorf("message %d of %s on instance %d: got %s, want recalled %v", seq, group, n, a.Body, recalled)
		}
	}
}

// TestWhoComesBackLearnsOfRecalls: Redis is emptied right behind the answer to a recall, and whoever was away asks the other
// instance what was recalled meanwhile. Nothing brings the content back, nor the mention.
func TestWhoComesBackLearnsOfRecalls(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: slowly})
	s.createGroup("group", "g", "ann", "bob")
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")
	var first, last sent
	ann.do("send", fields{"group": "g", "body": textBody("one"), "mentions": []string{"bob"}}, &first)
	ann.do("send", fields{"group": "g", "body": textBody("two"), "mentions": []string{"bob"}}, &last)
	bob.awaitPushes("g", 2)
	if got := s.heads(1, "bob")["g"]; got.MentionedSeq != 2 || got.Unread != 2 {
		t.Errorf("before: got %+v, want 2 unread and 2 mentioned", got)
	}
	bob.close()
	ann.do("recall", fields{"group": "g", "seq": last.Seq}, nil)
	if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for n := range s.instances {
		got := s.heads(n, "bob")["g"]
		if got.MentionedSeq != 1 || got.Unread != 2 || len(got.LastMessage.Body) > 0 || got.LastMessage.Seq != 2 {
			t.Errorf("instance %d: got %+v, want 2 unread, 1 mentioned and a tombstone", n, got)
		}
	}
	s.showsRecalls(t, "emptied", "bob", "g", map[int64]string{1: "", 2: "ann"})
	var back tombs
	s.connect(0, "bob").do("subscribe", fields{"group": "g", "after_seq": 2, "recalled_after_ms": last.TimeMS - 1}, &back)
	if !slices.Equal(back.Recalled, []int64{2}) {
		t.Errorf("recalled: got %v, want 2", back.Recalled)
	}
	s.sound()
}

// conversation is a head in the list of a user's groups.
type conversation struct {
	Group        string  `json:"group"`
	Unread       int64   `json:"unread"`
	MentionedSeq int64   `json:"mentioned_seq"`
	LastMessage  message `json:"last_message"`
}

func (s *stack) heads(n int, user string) map[string]conversation {
	s.t.Helper()
	var list struct{ Results []conversation }
	s.user(n, user).post("/v1/sync", fields{}).ok(http.StatusOK, &list)
	heads := make(map[string]conversation)
	for _, c := range list.Results {
		heads[c.Group] = c
	}
	return heads
}

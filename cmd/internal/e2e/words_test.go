package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// wordList is a file that all instances of a stack read.
type wordList struct {
	t    testing.TB
	path string
}

func newWordList(t testing.TB, text string) *wordList {
	w := &wordList{t, filepath.Join(t.TempDir(), "words.txt")}
	w.write(text)
	return w
}

// write puts another list in place of the one there is, as an editor does.
func (w *wordList) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.path+".new", w.path); err != nil {
		w.t.Fatal(err)
	}
}

// TestWordList: words are masked before anybody sees them, or refused, by whatever door they come; app servers are
// trusted; and another list is in force on all instances soon, or at once on SIGHUP.
func TestWordList(t *testing.T) {
	t.Parallel()
	list := newWordList(t, "# ours\nreject: *poison*\nmask: darn\nmask: *坏话*\n")
	s := newStack(t, setup{instances: 2, env: map[string]string{"HEARTH_MODERATION_WORDS_FILE": list.path}})
	s.createGroup("group", "g", "alice", "bob")
	alice, bob := s.connect(0, "alice"), s.connect(1, "bob")
	web := s.user(1, "alice")

	alice.send("g", say("DARN, ｄａｒｎ and 说坏话"))
	web.post("/v1/groups/g/messages", fields{"body": []fields{
		{"type": "file", "url": "https://example.com/darn", "name": "darn.pdf", "bytes": 1},
		{"type": "custom", "data": fields{"text": "darn"}, "desc": "d\u0061rn"},
	}}).ok(201, nil)
	for _, text := range []string{"poison", "with PoisonOus words"} {
		if code := codeOf(alice.try("send", fields{"group": "g", "body": textBody(text)}, nil)); code != "rejected" {
			t.Errorf("%q: got %q, want rejected", text, code)
		}
		web.post("/v1/groups/g/messages", fields{"body": textBody(text), "client_id": "p"}).refused(403, "rejected", "")
		web.post("/v1/direct/eve/messages", fields{"body": textBody(text), "client_id": "p"}).refused(403, "rejected", "")
	}
	s.server(0).post("/v1/groups/g/messages", fields{"from": "bob", "body": textBody(say("darn poison"))}).ok(201, nil)
	s.server(0).get("/v1/groups/dm:alice:eve").refused(404, "not_found", "")

	web.post("/v1/groups", fields{"type": "room", "name": "poison room"}).refused(403, "rejected", "name")
	web.post("/v1/groups", fields{"group": "mine", "type": "room", "name": "room"}).ok(201, nil)
	web.patch("/v1/groups/mine", fields{"name": "darn room"}).refused(403, "rejected", "name")
	s.server(0).patch("/v1/groups/mine", fields{"name": "darn room"}).ok(200, nil)

	want := []string{
		compactText(say("****, **** and 说**")),
		`[{"bytes":1,"name":"****.pdf","type":"file","url":"https://example.com/darn"},{"data":{"text":"darn"},"desc":"****","type":"custom"}]`,
		compactText(say("darn poison")),
	}
	s.awaitPersisted(patience)
	rows := s.rows()
	for i, push := range bob.awaitPushes("g", len(want)) {
		if i >= len(want) || i >= len(rows) || string(push.Body) != want[i] || rows[i].Body != want[i] {
			t.Errorf("message %d: pushed %s, stored %+v; want %q", i, push.Body, rows, want)
		}
	}
	s.counted(t, 0, `hearth_moderation_total{action="reject"}`)
	s.counted(t, 1, `hearth_moderation_total{action="mask"}`)

	t.Run("repeats are told by what was sent", func(t *testing.T) { s.in(t).repeatsAndWords(list) })
	t.Run("a list with a mistake", func(t *testing.T) { s.in(t).badList(list) })
}

// repeatsAndWords changes the list between a send and its repeat.
func (s *stack) repeatsAndWords(list *wordList) {
	t := s.t
	c := s.connect(1, "alice")
	draft := fields{"group": "g", "body": textBody(say("heck darn")), "client_id": "again"}
	var first, second sent
	c.do("send", draft, &first)
	list.write("reject: heck\n")
	await(t, patience, "the new list is in force everywhere", func() (bool, any) {
		refused := 0
		for n := range s.instances {
			a := s.user(n, "alice").post("/v1/groups/g/messages", fields{"body": textBody(say("heck"))})
			if a.Status == 403 {
				refused++
			}
		}
		return refused == len(s.instances), refused
	})
	if c.do("send", draft, &second); !second.Duplicate || second.Seq != first.Seq {
		t.Errorf("repeat of what would be refused now: got %+v, want the first result %+v", second, first)
	}
	draft["body"] = textBody(say("heck, another"))
	if code := codeOf(c.try("send", draft, nil)); code != "conflict" {
		t.Errorf("another message with its client_id: got %q, want conflict", code)
	}
	draft["client_id"] = "new"
	if code := codeOf(c.try("send", draft, nil)); code != "rejected" {
		t.Errorf("a new message: got %q, want rejected", code)
	}
	var one struct{ Body json.RawMessage }
	if s.user(0, "bob").get(fmt.Sprintf("/v1/groups/g/messages/%d", first.Seq)).ok(200, &one); string(one.Body) != compactText(say("heck ****")) {
		t.Errorf("stored: got %s, want it as it was masked then", one.Body)
	}
}

// badList leaves the former list in force, over a SIGHUP too; the next good one takes its place on SIGHUP.
func (s *stack) badList(list *wordList) {
	t := s.t
	list.write("reject: heck\nnonsense\n")
	for _, i := range s.instances {
		i.signal(syscall.SIGHUP)
		await(t, patience, i.name+" says that the list is bad", func() (bool, any) {
			return containsLine(i.logged(), "word list not read", "line 2"), "no such line"
		})
	}
	for n := range s.instances {
		s.user(n, "alice").post("/v1/groups/g/messages", fields{"body": textBody(say("heck"))}).refused(403, "rejected", "")
	}
	list.write("")
	for n, i := range s.instances {
		i.signal(syscall.SIGHUP)
		await(t, patience, i.name+" has the empty list", func() (bool, any) {
			a := s.user(n, "alice").post("/v1/groups/g/messages", fields{"body": textBody(say("heck"))})
			return a.Status == 201, a.Status
		})
	}
}

// containsLine tells whether a line has all of the words.
func containsLine(log []byte, words ...string) bool {
	for line := range bytes.Lines(log) {
		all := true
		for _, word := range words {
			all = all && bytes.Contains(line, []byte(word))
		}
		if all {
			return true
		}
	}
	return false
}

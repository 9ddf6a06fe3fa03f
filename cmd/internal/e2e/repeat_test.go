package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestSameClientIDAtOnce: 20 sends with one client_id over two instances and both doors are one message.
func TestSameClientIDAtOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2})
	s.createGroup("group", "g", "alice", "bob", "carol")
	watchers := []*client{s.connect(0, "bob"), s.connect(1, "carol")}
	var lines []*client
	for n := range 8 { // ten are a user's most
		lines = append(lines, s.connect(n%2, "alice"))
	}
	const rounds = 10
	for round := range rounds {
		clientID := fmt.Sprint("once-", round)
		text := say(clientID)
		answers := s.sendAtOnce(t, lines, fields{"body": textBody(text), "client_id": clientID})
		firsts := 0
		for _, a := range answers {
			if a.Seq != int64(round+1) || a.TimeMS != answers[0].TimeMS {
				t.Fatalf("round %d: got %+v, want seq %d at %d", round, a, round+1, answers[0].TimeMS)
			}
			if !a.Duplicate {
				firsts++
			}
		}
		if firsts != 1 || len(answers) != 20 {
			t.Fatalf("round %d: got %d answers, %d without duplicate; want 20 and 1", round, len(answers), firsts)
		}
	}
	for _, c := range append(watchers, lines...) {
		for i, p := range c.awaitPushes("g", rounds) {
			if p.Seq != int64(i+1) || p.ClientID != fmt.Sprint("once-", i) {
				t.Fatalf("push %d to %s: got seq %d of %s", i, c.user, p.Seq, p.ClientID)
			}
		}
	}
	s.awaitPersisted(patience)
	if n := s.countRows(); n != rounds {
		t.Errorf("rows: got %d, want %d", n, rounds)
	}
	t.Run("content that differs", func(t *testing.T) { s.conflicts(t, lines[0], lines[1]) })
	// A last message, so that a push too many would have come before it.
	last := watchers[0].send("g", say("last"))
	for _, c := range append(watchers, lines...) {
		pushes := c.awaitPushes("g", int(last.Seq))
		if got := pushes[len(pushes)-1]; got.Seq != last.Seq || len(pushes) != int(last.Seq) {
			t.Errorf("%s: got %d pushes, the last with seq %d; want %d", c.user, len(pushes), got.Seq, last.Seq)
		}
	}
}

// sendAtOnce sends the same 20 times: twice on each of 8 connections and four times over HTTP.
func (s *stack) sendAtOnce(t *testing.T, lines []*client, draft fields) []sent {
	t.Helper()
	answers := make([]sent, 20)
	start := make(chan struct{})
	var work errgroup.Group
	for n := range answers {
		work.Go(func() error {
			<-start
			if n < 16 {
				return lines[n%8].try("send", fields{"group": "g", "body": draft["body"], "client_id": draft["client_id"]}, &answers[n])
			}
			return s.post(s.user(n%2, "alice"), draft, &answers[n])
		})
	}
	close(start)
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	return answers
}

// post sends over HTTP: 201 for a first send, 200 for a repeated one.
func (s *stack) post(c *caller, draft fields, out *sent) error {
	a, err := c.try("POST", "/v1/groups/g/messages", draft)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return err
	}
	want := http.StatusCreated
	if out.Duplicate {
		want = http.StatusOK
	}
	if location := fmt.Sprintf("/v1/groups/g/messages/%d", out.Seq); a.Status != want || a.Header.Get("Location") != location {
		return fmt.Errorf("%s: got %d with Location %q, want %d with %q", a.Body, a.Status, a.Header.Get("Location"), want, location)
	}
	return nil
}

// conflicts: what counts as content, and what does not.
func (s *stack) conflicts(t *testing.T, here, there *client) {
	draft := fields{"group": "g", "client_id": "once-more", "body": textBody(say("once more")), "mentions": []string{"bob"}, "reply_to": 1}
	var first, again sent
	here.do("send", draft, &first)
	spaced := fmt.Sprintf(`{"id":77777,"op":"send","group":"g","client_id":"once-more","mentions":["bob"],"reply_to":1,`+
		`"body": [ {"type": "text", "text": %q} ]}`, say("once more"))
	there.raw(spaced)
	there.do("send", draft, &again)
	if !again.Duplicate || again.Seq != first.Seq {
		t.Errorf("sent again, also with white space: got %+v, want the duplicate of %+v", again, first)
	}
	for name, other := range map[string]fields{
		"body":     {"body": textBody(say("something else"))},
		"mentions": {"mentions": []string{"carol"}},
		"reply_to": {"reply_to": 2},
	} {
		changed := maps.Clone(draft)
		maps.Copy(changed, other)
		if err := there.try("send", changed, nil); codeOf(err) != "conflict" {
			t.Errorf("other %s over WebSocket: got %v, want conflict", name, err)
		}
		delete(changed, "group")
		s.user(1, "alice").post("/v1/groups/g/messages", changed).refused(http.StatusConflict, "conflict", "")
	}
	var bobs sent
	s.user(0, "bob").post("/v1/groups/g/messages", fields{"client_id": "once-more", "body": textBody(say("mine"))}).ok(http.StatusCreated, &bobs)
	if bobs.Duplicate || bobs.Seq != first.Seq+1 {
		t.Errorf("another sender's client_id: got %+v, want a message of its own", bobs)
	}
}

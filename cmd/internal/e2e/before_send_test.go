package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const webhookSecret = "whsec_dGhlIHdlYmhvb2tzIG9mIHRoZSB0ZXN0cyBhcmUgc2lnbmVk"

// asked is what before_send tells.
type asked struct {
	Type string
	Data struct {
		message
		To   string `json:"to"`
		Kind string `json:"type"`
	}
}

// backend is an app's back end that is asked about messages. By their text it rejects, changes, gives a bad answer or
// holds its answer back.
type backend struct {
	t        testing.TB
	url      string
	released chan struct{} // closed to let go what is held back

	mu     sync.Mutex // guards what follows
	asked  []asked
	strict bool // everything is rejected
	answer func(w http.ResponseWriter, r *http.Request)
}

func startBackend(t testing.TB) *backend {
	b := &backend{t: t, released: make(chan struct{})}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	b.url = s.URL + "/ask"
	return b
}

// env has the instances ask here. The machine may be busy: only what hangs is to run into the timeout.
func (b *backend) env(more map[string]string) map[string]string {
	env := map[string]string{
		"HEARTH_WEBHOOKS_BEFORE_SEND_URL": b.url, "HEARTH_WEBHOOKS_SECRET": webhookSecret,
		"HEARTH_WEBHOOKS_BEFORE_SEND_TIMEOUT": "10s", "HEARTH_WEBHOOKS_BEFORE_SEND_FAILURE": "closed",
	}
	maps.Copy(env, more)
	return env
}

// readSigned reads what a webhook posts. It is not there when the sender has gone; err tells that it is not signed, or no
// JSON.
func readSigned(r *http.Request, into any) (there bool, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false, nil
	}
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	if err == nil {
		err = verifier.Verify(body, r.Header)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	return true, err
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q asked
	there, err := readSigned(r, &q)
	if !there {
		return
	}
	if err != nil || q.Type != "before_send" {
		b.t.Errorf("what before_send is asked: %v, %q", err, q.Type)
	}
	b.mu.Lock()
	b.asked = append(b.asked, q)
	strict, answer := b.strict, b.answer
	b.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	text := string(q.Data.Body)
	if strings.Contains(text, "hold") {
		select {
		case <-b.released:
		case <-r.Context().Done():
		}
	}
	switch {
	case strict || strings.Contains(text, "rude"):
		_, _ = io.WriteString(w, `{"allow":false,"reason":"please be kind"}`)
	case strings.Contains(text, "damn"):
		changed, _ := json.Marshal(fields{"allow": true, "score": 0.7, "body": json.RawMessage(strings.ReplaceAll(text, "damn", "d***"))})
		_, _ = w.Write(changed)
	case strings.Contains(text, "puzzling"):
		_, _ = io.WriteString(w, `{"allow":true,"body":[{"type":"text"}]}`)
	default:
		_, _ = io.WriteString(w, `{"allow":true}`)
	}
}

func (b *backend) set(strict bool, answer func(w http.ResponseWriter, r *http.Request)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.strict, b.answer = strict, answer
}

// last is what was asked last, and how often something was.
func (b *backend) last() (q asked, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n = len(b.asked); n > 0 {
		q = b.asked[n-1]
	}
	return q, n
}

// isRejected fails unless the back end's words were given as the reason.
func isRejected(t testing.TB, what string, err error) {
	t.Helper()
	if codeOf(err) != "rejected" || !strings.Contains(err.Error(), "before_send hook") || !strings.Contains(err.Error(), "please be kind") {
		t.Errorf("%s: got %v, want it rejected by the hook with its reason", what, err)
	}
}

func TestBeforeSendAllowsRejectsAndChanges(t *testing.T) {
	t.Parallel()
	b := startBackend(t)
	s := newStack(t, setup{instances: 2, env: b.env(nil)})
	s.createGroup("group", "team", "ann", "bob")
	ann, bob := s.connect(0, "ann"), s.connect(1, "bob")

	first := ann.send("team", say("hello"))
	bob.awaitPushes("team", 1)
	ann.do("send", fields{
		"group": "team", "body": textBody(say("again")), "client_id": "c1", "mentions": []string{"bob"}, "reply_to": first.Seq,
	}, nil)
	q, _ := b.last()
	got := fmt.Sprint(q.Data.Group, q.Data.From, q.Data.ClientID, q.Data.Mentions, q.Data.ReplyTo, q.Data.To, q.Data.Operator, q.Data.Kind, string(q.Data.Body))
	want := fmt.Sprint("team", "ann", "c1", []string{"bob"}, first.Seq, "", "", "group", `[{"type":"text","text":"`+say("again")+`"}]`)
	if got != want {
		t.Errorf("what is asked: got %s, want %s", got, want)
	}

	rude := fields{"body": textBody(say("rude")), "client_id": "r"}
	isRejected(t, "over the WebSocket", ann.try("send", with(rude, "group", "team"), nil))
	_, before := b.last()
	isRejected(t, "repeated", ann.try("send", with(rude, "group", "team"), nil))
	if _, n := b.last(); n != before+1 {
		t.Errorf("a rejected send is repeated: it was asked about %d times more, want 1", n-before)
	}
	s.user(1, "ann").post("/v1/groups/team/messages", rude).refused(403, "rejected", "")
	isRejected(t, "to a user", ann.try("send", with(rude, "to", "carol"), nil))
	if q, _ := b.last(); q.Data.Group != "dm:ann:carol" || q.Data.To != "carol" || q.Data.Kind != "direct" {
		t.Errorf("what is asked about a direct message: got group %q to %q", q.Data.Group, q.Data.To)
	}
	s.user(0, "ann").get("/v1/groups/dm:ann:carol/messages").refused(404, "not_found", "")
	s.server(1).post("/v1/groups/team/messages", with(rude, "from", "bob")).refused(403, "rejected", "")
	if q, _ := b.last(); q.Data.From != "bob" || q.Data.Operator != apiKeyID {
		t.Errorf("what is asked about an app server's message: got from %q, operator %q", q.Data.From, q.Data.Operator)
	}

	b.changes(s, ann, bob)
	for _, i := range s.instances {
		if bytes.Contains(i.logged(), []byte(webhookSecret)) {
			t.Errorf("the secret is in the log of %s", i.name)
		}
	}
}

// changes is about a message whose body is changed: what others see, and what its repeats are told.
func (b *backend) changes(s *stack, ann, bob *client) {
	t := b.t
	damn := fields{"group": "team", "body": textBody(say("damn")), "client_id": "d"}
	var first sent
	ann.do("send", damn, &first)
	pushed := bob.awaitPushes("team", 3)
	changed := `[{"type":"text","text":"` + say("d***") + `"}]`
	if got := pushed[2]; string(got.Body) != changed || got.Seq != first.Seq || first.Seq != 3 {
		t.Errorf("a subscriber sees %s, want seq 3 with %s", got.raw, changed)
	}
	if page := ann.pull("team", nil); len(page.Messages) != 3 || string(page.Messages[2].Body) != changed {
		t.Errorf("a page shows %+v, want the changed body", page.Messages)
	}

	repeated := func(when string) {
		for _, c := range []*client{ann, s.connect(1, "ann")} {
			var again sent
			if err := c.try("send", damn, &again); err != nil || !again.Duplicate || again.Seq != first.Seq || again.TimeMS != first.TimeMS {
				t.Errorf("%s, a repeat of the original: got %+v, %v, want the duplicate of %+v", when, again, err, first)
			}
			other := with(damn, "body", json.RawMessage(changed))
			if code := codeOf(c.try("send", other, nil)); code != "conflict" {
				t.Errorf("%s, a repeat of what became of it: got %q, want conflict", when, code)
			}
		}
	}
	repeated("at once")
	b.set(true, nil)
	repeated("when the hook rejects everything")
	s.awaitPersisted(patience)
	if rows := s.rows(); len(rows) != 3 || rows[2].Body != changed {
		t.Errorf("rows: got %+v, want the changed body", rows)
	}
	if err := s.rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	repeated("when Redis has forgotten everything")
	s.does(0, []string{"verify"})
}

// with is the fields and one more.
func with(f fields, name string, value any) fields {
	more := maps.Clone(f)
	more[name] = value
	return more
}

func TestBeforeSendHoldsUpNobodyElseAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	const n = 30
	b := startBackend(t)
	s := newStack(t, setup{instances: 2, env: b.env(nil)})
	s.createGroup("group", "team", "ann", "bob")
	s.createGroup("group", "other", "ann", "bob")
	ann := s.connect(0, "ann")
	var replies []<-chan frame
	for i := range n {
		text := say(i)
		if i == 0 || i == n/2 {
			text = say("hold", i)
		}
		reply, err := ann.ask("send", fields{"group": "team", "body": textBody(text)})
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, reply)
	}
	ann.send("other", say("another group"))
	for k, c := range []*client{s.connect(0, "bob"), s.connect(1, "bob"), s.connect(0, "ann")} {
		if got := c.send("team", say("another connection")); got.Seq != int64(k+1) {
			t.Errorf("%s's seq: got %d, want %d: those that are held up come later", c.user, got.Seq, k+1)
		}
	}
	for i, reply := range replies {
		if len(reply) > 0 {
			t.Errorf("message %d was answered before the first", i)
		}
	}
	close(b.released)
	for i, reply := range replies {
		var got sent
		if err := ann.result(reply, &got); err != nil || got.Seq != int64(4+i) {
			t.Fatalf("message %d: got %+v, %v, want seq %d", i, got, err, 4+i)
		}
	}
}

// badAnswers are what a back end may do wrong.
var badAnswers = map[string]func(w http.ResponseWriter, r *http.Request){
	"hangs": func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	},
	"hangs in its answer": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"allow":`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	},
	"fails":             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	"answers elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/yes", http.StatusFound) },
	"says nothing":      func(http.ResponseWriter, *http.Request) {},
	"says no JSON":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
	"does not decide":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"reason":"why not"}`) },
	"gives no message":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"allow":true,"body":[]}`) },
}

func TestBeforeSendThatFailsIsOpenOrClosed(t *testing.T) {
	t.Parallel()
	for failure, want := range map[string]string{"open": "", "closed": "unavailable"} {
		t.Run(failure, func(t *testing.T) {
			t.Parallel()
			b := startBackend(t)
			s := newStack(t, setup{env: b.env(map[string]string{
				"HEARTH_WEBHOOKS_BEFORE_SEND_FAILURE": failure, "HEARTH_WEBHOOKS_BEFORE_SEND_TIMEOUT": "200ms",
			})})
			s.createGroup("group", "team", "ann", "bob")
			ann := s.connect(0, "ann")
			stored := 0
			for name, answer := range badAnswers {
				b.set(false, answer)
				for k := range 3 {
					err := ann.try("send", fields{"group": "team", "body": textBody(say(name, k))}, nil)
					if codeOf(err) != want || (err == nil) != (want == "") {
						t.Errorf("a back end that %s, %s: got %v, want %q", name, failure, err, want)
					}
					if err == nil {
						stored++
					}
				}
			}
			if page := ann.pull("team", fields{"limit": 200}); len(page.Messages) != stored {
				t.Errorf("stored: got %d, want %d", len(page.Messages), stored)
			}
			_, before := b.last()
			b.set(false, nil)
			await(t, patience, "the back end is asked again", func() (bool, any) {
				err := ann.try("send", fields{"group": "team", "body": textBody(say("rude"))}, nil)
				return codeOf(err) == "rejected", err
			})
			if _, n := b.last(); n == before {
				t.Error("it was rejected without being asked about")
			}
		})
	}
}

// A body that is not valid is a failure of the hook, not the sender's.
func TestBeforeSendThatMakesNoMessageOfOneIsAFailure(t *testing.T) {
	t.Parallel()
	b := startBackend(t)
	s := newStack(t, setup{env: b.env(nil)})
	s.createGroup("group", "team", "ann", "bob")
	for range 10 { // they do not end the asking
		s.user(0, "ann").post("/v1/groups/team/messages", fields{"body": textBody(say("puzzling"))}).refused(503, "unavailable", "")
	}
	s.user(0, "ann").post("/v1/groups/team/messages", fields{"body": textBody(say("rude"))}).refused(403, "rejected", "")
	s.user(0, "ann").post("/v1/groups/team/messages", fields{"body": textBody(say("fine"))}).ok(201, nil)
}

// A message that is asked about when the instance leaves is stored all the same.
func TestBeforeSendIsWaitedForAtTheEnd(t *testing.T) {
	t.Parallel()
	b := startBackend(t)
	s := newStack(t, setup{env: b.env(map[string]string{
		"HEARTH_WEBHOOKS_BEFORE_SEND_FAILURE": "open", "HEARTH_WEBHOOKS_BEFORE_SEND_TIMEOUT": "6s", // longer than connections stay
	})})
	s.createGroup("group", "team", "ann", "bob")
	ann := s.connect(0, "ann")
	ann.send("team", say("hello")) // from then on the group needs nothing of MySQL
	if _, err := ann.ask("send", fields{"group": "team", "body": textBody(say("hold"))}); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the back end is asked", func() (bool, any) {
		_, n := b.last()
		return n == 2, n
	})
	s.instances[0].stop()
	if rows := s.rows(); len(rows) != 2 {
		t.Errorf("rows: got %+v, want both messages", rows)
	}
}

package transport

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// page is what replies with messages hold.
type page struct {
	Group        string  `json:"group"`
	Role         *string `json:"role"`
	MaxSeq       int64   `json:"max_seq"`
	MinSeq       int64   `json:"min_seq"`
	ReadSeq      int64   `json:"read_seq"`
	Unread       int64   `json:"unread"`
	PersistedSeq int64   `json:"persisted_seq"`
	Messages     []struct {
		Seq int64 `json:"seq"`
	} `json:"messages"`
	Holes []domain.Hole `json:"holes"`
	More  bool          `json:"more"`
	Error *struct {
		Code domain.Code `json:"code"`
	} `json:"error"`
}

func (p page) seqs() []int64 {
	seqs := make([]int64, 0, len(p.Messages))
	for _, m := range p.Messages {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

// sent is the reply to a send.
type sent struct {
	Group        string `json:"group"`
	Seq          int64  `json:"seq"`
	Duplicate    bool   `json:"duplicate"`
	Durable      bool   `json:"durable"`
	PersistedSeq int64  `json:"persisted_seq"`
}

func sendOf(id int, group, text, more string) string {
	return fmt.Sprintf(`{"id":%d,"op":"send","group":"%s","body":[{"type":"text","text":"%s"}]%s}`, id, group, text, more)
}

func TestWrongInputIsAnsweredAndTheConnectionLives(t *testing.T) {
	t.Parallel()
	const body = `"body":[{"type":"text","text":"a"}]`
	many := `["` + strings.Repeat(`u","`, 50) + `u"]`
	cases := []struct {
		request string
		code    domain.Code
		names   string // what the message starts with
	}{
		{`{"id":1,"op":"dance"}`, domain.CodeBadRequest, "op: "},
		{`{"id":1,"op":" welcome"}`, domain.CodeBadRequest, "op: "},
		{`{"id":1,"op":"Send"}`, domain.CodeBadRequest, "op: "},
		{`{"id":1,"op":"dance","group":"g","kind":"typing"}`, domain.CodeBadRequest, "op: "},

		{`{"id":1,"op":"send",` + body + `}`, domain.CodeBadRequest, "group: is required"},
		{`{"id":1,"op":"send","group":null,` + body + `}`, domain.CodeBadRequest, "group: is required"},
		{`{"id":1,"op":"send","group":"a b",` + body + `}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"send","group":"hot",` + body + `}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"send","group":"dm:b:a",` + body + `}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"send","group":"g"}`, domain.CodeBadRequest, "body: is required"},
		{`{"id":1,"op":"send","group":"g","body":"a"}`, domain.CodeBadRequest, "body: "},
		{`{"id":1,"op":"send","group":"g","body":[{"type":"image"}]}`, domain.CodeBadRequest, "body[0].url: is required"},
		{`{"id":1,"op":"send","group":"g","body":[{"type":"text","text":"` + strings.Repeat("x", 12_001) + `"}]}`, domain.CodeTooLarge, "body[0].text: "},
		{`{"id":1,"op":"send","group":"g","body":[{"type":"custom","data":"` + strings.Repeat("x", 13_000) + `"}]}`, domain.CodeTooLarge, "body: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"client_id":""}`, domain.CodeBadRequest, "client_id: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"client_id":"` + strings.Repeat("c", 65) + `"}`, domain.CodeBadRequest, "client_id: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"ack":""}`, domain.CodeBadRequest, "ack: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"ack":"never"}`, domain.CodeBadRequest, "ack: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"timeout_ms":5}`, domain.CodeBadRequest, "timeout_ms: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"ack":"durable","timeout_ms":0}`, domain.CodeBadRequest, "timeout_ms: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"ack":"durable","timeout_ms":10001}`, domain.CodeBadRequest, "timeout_ms: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"echo":"no"}`, domain.CodeBadRequest, "echo: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"mentions":["a b"]}`, domain.CodeBadRequest, "mentions[0]: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"mentions":["*","bob"]}`, domain.CodeBadRequest, "mentions[0]: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"mentions":` + many + `}`, domain.CodeTooLarge, "mentions: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"reply_to":0}`, domain.CodeBadRequest, "reply_to: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"reply_to":9007199254740992}`, domain.CodeBadRequest, "reply_to: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"priority":""}`, domain.CodeBadRequest, "priority: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"priority":"urgent"}`, domain.CodeBadRequest, "priority: "},
		{`{"id":1,"op":"send","group":"g","to":"bob",` + body + `}`, domain.CodeBadRequest, "to: "},
		{`{"id":1,"op":"send",` + body + `}`, domain.CodeBadRequest, "group: is required, or to"},
		{`{"id":1,"op":"send","to":"ann",` + body + `}`, domain.CodeBadRequest, "to: is yourself"},
		{`{"id":1,"op":"send","to":"system",` + body + `}`, domain.CodeBadRequest, "to: "},
		{`{"id":1,"op":"send","to":"a b",` + body + `}`, domain.CodeBadRequest, "to: "},
		{`{"id":1,"op":"send","to":"",` + body + `}`, domain.CodeBadRequest, "to: "},
		{`{"id":1,"op":"send","group":"g",` + body + `,"from":"bob"}`, domain.CodeBadRequest, "from: unknown field"},
		{`{"id":1,"op":"send","group":"g",` + body + `,"Ack":"durable"}`, domain.CodeBadRequest, "Ack: unknown field"},
		{`{"id":1,"op":"send","group":"other",` + body + `}`, domain.CodeNotMember, ""},
		{`{"id":1,"op":"send","group":"nowhere",` + body + `}`, domain.CodeNotFound, ""},

		{`{"id":1,"op":"subscribe"}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"subscribe","group":""}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"subscribe","group":"g","after_seq":-1}`, domain.CodeBadRequest, "after_seq: "},
		{`{"id":1,"op":"subscribe","group":"g","after_seq":9007199254740992}`, domain.CodeBadRequest, "after_seq: "},
		{`{"id":1,"op":"subscribe","group":"g","after_seq":1.5}`, domain.CodeBadRequest, "after_seq: "},
		{`{"id":1,"op":"subscribe","group":"g","after_seq":0,"limit":0}`, domain.CodeBadRequest, "limit: "},
		{`{"id":1,"op":"subscribe","group":"g","limit":5}`, domain.CodeBadRequest, "limit: "},
		{`{"id":1,"op":"subscribe","group":"g","seq":1}`, domain.CodeBadRequest, "seq: unknown field"},
		{`{"id":1,"op":"subscribe","group":"other"}`, domain.CodeNotMember, ""},
		{`{"id":1,"op":"subscribe","group":"nowhere"}`, domain.CodeNotFound, ""},
		{`{"id":1,"op":"subscribe","group":"over"}`, domain.CodeGone, ""},

		{`{"id":1,"op":"unsubscribe"}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"unsubscribe","group":"a b"}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"unsubscribe","group":"g","after_seq":1}`, domain.CodeBadRequest, "after_seq: unknown field"},

		{`{"id":1,"op":"sync","groups":[]}`, domain.CodeBadRequest, "groups: "},
		{`{"id":1,"op":"sync","groups":{"g":-1}}`, domain.CodeBadRequest, "groups: "},
		{`{"id":1,"op":"sync","groups":{"g":"1"}}`, domain.CodeBadRequest, "groups.g: "},
		{`{"id":1,"op":"sync","groups":` + manyGroups(201) + `}`, domain.CodeTooLarge, "groups: "},
		{`{"id":1,"op":"sync","groups":{"g":1},"limit":0}`, domain.CodeBadRequest, "limit: "},
		{`{"id":1,"op":"sync","groups":{"g":1},"max_bytes":0}`, domain.CodeBadRequest, "max_bytes: "},
		{`{"id":1,"op":"sync","groups":{"g":1},"cursor":"x"}`, domain.CodeBadRequest, "cursor: "},
		{`{"id":1,"op":"sync","cursor":"x"}`, domain.CodeBadRequest, "cursor: "},
		{`{"id":1,"op":"sync","limit":5}`, domain.CodeBadRequest, "limit: "},
		{`{"id":1,"op":"sync","max_bytes":5}`, domain.CodeBadRequest, "limit: "},
		{`{"id":1,"op":"sync","group":"g"}`, domain.CodeBadRequest, "group: unknown field"},

		{`{"id":1,"op":"pull"}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"pull","group":"g","after_seq":1,"before_seq":1}`, domain.CodeBadRequest, "after_seq: "},
		{`{"id":1,"op":"pull","group":"g","after_seq":-1}`, domain.CodeBadRequest, "after_seq: "},
		{`{"id":1,"op":"pull","group":"g","before_seq":9007199254740992}`, domain.CodeBadRequest, "before_seq: "},
		{`{"id":1,"op":"pull","group":"g","before_ms":-1}`, domain.CodeBadRequest, "before_ms: "},
		{`{"id":1,"op":"pull","group":"g","limit":0}`, domain.CodeBadRequest, "limit: "},
		{`{"id":1,"op":"pull","group":"g","limit":"5"}`, domain.CodeBadRequest, "limit: "},
		{`{"id":1,"op":"pull","group":"g","page":1}`, domain.CodeBadRequest, "page: unknown field"},
		{`{"id":1,"op":"pull","group":"other"}`, domain.CodeNotMember, ""},

		{`{"id":1,"op":"read","group":"g"}`, domain.CodeBadRequest, "seq: is required"},
		{`{"id":1,"op":"read","group":"g","seq":0}`, domain.CodeBadRequest, "seq: "},
		{`{"id":1,"op":"read","group":"g","seq":9007199254740992}`, domain.CodeBadRequest, "seq: "},
		{`{"id":1,"op":"read","seq":1}`, domain.CodeBadRequest, "group: "},
		{`{"id":1,"op":"read","group":"g","seq":1,"user":"bob"}`, domain.CodeBadRequest, "user: unknown field"},
		{`{"id":1,"op":"read","group":"other","seq":1}`, domain.CodeNotMember, ""},

		{`{"id":1,"op":"ping","time_ms":1}`, domain.CodeBadRequest, "time_ms: unknown field"},
	}
	inBubble(t, nil, func(t *testing.T, s *piped) {
		s.b.add(domain.Private, "other", "cy")
		s.b.add(domain.Room, "over")
		s.b.change(func(b *backend) { b.groups["over"].Dismissed = true })
		c := s.dial(t, "ann").ready()
		for _, row := range cases {
			o := c.refused(row.request, row.code)
			require.NotNil(t, o.ID, row.request)
			require.Equal(t, int64(1), *o.ID)
			require.True(t, strings.HasPrefix(o.Error.Message, row.names), "%s: %s", row.request, o.Error.Message)
			require.False(t, o.Error.Retryable)
			time.Sleep(time.Second) // within the frame rate
		}
		require.Equal(t, []string{"g"}, s.ch.subscribed(), "what was refused subscribed nothing")
		c.alive()
		require.NotContains(t, s.log.String(), "request failed", "the client's faults are not logged")
	})
}

func manyGroups(n int) string {
	groups := map[string]int{}
	for i := range n {
		groups[fmt.Sprint("g", i)] = 0
	}
	raw, _ := json.Marshal(groups) // strings and ints always marshal
	return string(raw)
}

func TestStoresAwayIsUnavailableAndLogged(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		s.b.fail(errDown)
		for _, request := range []string{
			sendOf(1, "g", "a", ""),
			`{"id":1,"op":"subscribe","group":"g","after_seq":0}`,
			`{"id":1,"op":"sync","groups":{"g":0}}`, `{"id":1,"op":"sync"}`,
			`{"id":1,"op":"pull","group":"g"}`, `{"id":1,"op":"read","group":"g","seq":1}`,
		} {
			o := c.refused(request, domain.CodeUnavailable)
			require.True(t, o.Error.Retryable)
			require.Positive(t, o.Error.RetryAfterMS)
			require.NotContains(t, o.raw, errDown.Error())
		}
		require.Equal(t, 6, strings.Count(s.log.String(), "request failed"))
		s.b.fail(nil)
		c.alive()
	})
}

func TestOpsAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready() // a member of nothing
		s.b.accept("r", 3)
		s.b.skip("r", 2)
		s.b.accept("r", 2)

		var p page
		c.ok(`{"id":1,"op":"pull","group":"r"}`, &p)
		require.Equal(t, []int64{1, 2, 3, 6, 7}, p.seqs())
		require.Equal(t, []domain.Hole{{From: 4, To: 5, Reason: "lost"}}, p.Holes)
		require.False(t, p.More)
		c.ok(`{"id":1,"op":"pull","group":"r","after_seq":2,"limit":2}`, &p)
		require.Equal(t, []int64{3, 6}, p.seqs())
		require.True(t, p.More)
		c.ok(`{"id":1,"op":"pull","group":"r","before_seq":6,"limit":1000}`, &p)
		require.Equal(t, []int64{1, 2, 3}, p.seqs())
		c.ok(`{"id":1,"op":"pull","group":"r","after_seq":99}`, &p)
		require.Empty(t, p.Messages)

		c.ok(`{"id":1,"op":"read","group":"r","seq":2}`, &p)
		require.Equal(t, []int64{2, 3}, []int64{p.ReadSeq, p.Unread})
		c.ok(`{"id":1,"op":"read","group":"r","seq":1}`, &p)
		require.Equal(t, int64(2), p.ReadSeq, "only forward")
		c.ok(`{"id":1,"op":"read","group":"r","seq":1000}`, &p)
		require.Equal(t, []int64{7, 0}, []int64{p.ReadSeq, p.Unread})

		var results struct {
			Results []page `json:"results"`
			Cursor  string `json:"cursor"`
		}
		c.ok(`{"id":1,"op":"sync","groups":{"r":6,"g":0,"nowhere":3}}`, &results)
		require.Len(t, results.Results, 3, "none is left out")
		require.Equal(t, domain.CodeNotMember, results.Results[0].Error.Code)
		require.Equal(t, domain.CodeNotFound, results.Results[1].Error.Code)
		require.Equal(t, []int64{7}, results.Results[2].seqs())
		c.ok(`{"id":1,"op":"sync","groups":{}}`, &results)
		require.Empty(t, results.Results)
		c.ok(`{"id":1,"op":"sync"}`, &results)
		require.Empty(t, results.Results)

		c.ok(`{"id":1,"op":"unsubscribe","group":"r"}`, nil)
		var pong struct {
			TimeMS int64 `json:"time_ms"`
		}
		c.ok(`{"id":0,"op":"ping"}`, &pong)
		require.Equal(t, time.Now().UnixMilli(), pong.TimeMS)
		o := c.ask(`{"op":"ping"}`)
		require.Nil(t, o.ID)
		require.NotNil(t, o.OK)
	})
}

func TestSendsOfOneConnectionAreAcceptedInOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.cfg.FrameRate = 0 }, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		const n = 300
		var want []string
		for i := range n {
			want = append(want, string(textBody(fmt.Sprint("t", i))))
		}
		go func() { // some alone, some several in a frame, some behind other ops
			for i := 0; i < n; {
				var frame []string
				for range 1 + i%7 {
					if i < n {
						frame = append(frame, sendOf(i, "r", fmt.Sprint("t", i), ""))
						i++
					}
				}
				if i%5 == 0 {
					frame = append([]string{`{"id":1000,"op":"pull","group":"r"}`}, frame...)
				}
				c.write(strings.Join(frame, "\n"))
			}
		}()
		for answered := 0; answered < n; {
			o := c.next()
			require.Nil(t, o.Error, o.raw)
			if *o.ID == 1000 {
				continue
			}
			require.Equal(t, *o.ID+1, decode[sent](t, o.OK).Seq, "seq in the order of writing")
			answered++
		}
		require.Equal(t, want, s.b.bodies())
	})
}

func textBody(text string) []byte { return fmt.Appendf(nil, `[{"type":"text","text":"%s"}]`, text) }

func TestSendBehindASlowOpKeepsItsPlace(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "ann").ready()
		goOn := s.b.stall("Recent")
		s.b.accept("g", 1)
		c.write(`{"id":1,"op":"pull","group":"g"}` + "\n" + sendOf(2, "g", "first", ""))
		c.write(sendOf(3, "g", "second", ""))
		synctest.Wait()
		require.Empty(t, s.b.bodies(), "a send waits for the ops before it")
		goOn()
		var ids []int64
		for len(ids) < 3 {
			if o := c.next(); o.ID != nil {
				ids = append(ids, *o.ID)
			}
		}
		require.Equal(t, []int64{1, 2, 3}, ids)
		require.Equal(t, []string{string(textBody("first")), string(textBody("second"))}, s.b.bodies())
	})
}

func TestSendsDoNotWaitForEachOthersAnswers(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		s.b.change(func(b *backend) { b.holding = true })
		for i := range 10 {
			c.write(sendOf(i, "r", "a", ""))
		}
		synctest.Wait()
		require.Len(t, s.b.bodies(), 10)
		require.Empty(t, c.objects)
		c.alive() // nor does anything else wait for them
		s.b.release()
		for i := range 10 {
			require.Equal(t, int64(i), *c.next().ID)
		}
	})
}

func TestRepeatedSendIsADuplicate(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		var first, again sent
		c.ok(sendOf(1, "r", "a", `,"client_id":"c1"`), &first)
		require.False(t, first.Duplicate)
		c.ok(`{"id":2, "op":"send", "group":"r", "client_id":"c1", "body": [ {"type":"text", "text":"a"} ] }`, &again)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Seq, again.Seq)
		c.refused(sendOf(3, "r", "b", `,"client_id":"c1"`), domain.CodeConflict)
		require.InDelta(t, 2, testutil.ToFloat64(s.metrics.sentTotal.WithLabelValues("ok")), 0)
		require.InDelta(t, 1, testutil.ToFloat64(s.metrics.sentTotal.WithLabelValues("conflict")), 0)
	})
}

func TestAcks(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		var got sent

		c.write(sendOf(1, "r", "a", `,"ack":"durable"`))
		synctest.Wait()
		require.Empty(t, c.objects)
		s.Hub().Persisted("r", 1, 1)
		require.NoError(t, json.Unmarshal(c.next().OK, &got))
		require.Equal(t, sent{"r", 1, false, true, 1}, got)

		started := time.Now()
		c.ok(sendOf(2, "r", "b", `,"ack":"durable","timeout_ms":1500`), &got)
		require.False(t, got.Durable)
		require.Equal(t, 1500*time.Millisecond, time.Since(started))

		c.ok(sendOf(3, "r", "c", `,"ack":"both"`), &got)
		require.False(t, got.Durable)
		s.Hub().Persisted("r", 1, 3)
		o := c.next()
		require.Equal(t, `{"event":"durable","group":"r","seq":3}`, o.raw)

		c.ok(sendOf(4, "r", "d", `,"ack":"accepted"`), &got)
		s.Hub().Persisted("r", 1, 4)
		c.alive()
	})
}

func TestEchoFalse(t *testing.T) {
	t.Parallel()
	inBubble(t, nil, func(t *testing.T, s *piped) {
		ann, other, bob := s.dial(t, "ann").ready(), s.dial(t, "ann").ready(), s.dial(t, "bob").ready()
		ann.ok(sendOf(1, "g", "a", `,"echo":false`), nil)
		ann.ok(sendOf(2, "g", "b", `,"echo":true`), nil)
		o := ann.message(2)
		require.Nil(t, o.PrevSeq, "the seq between was acknowledged, it is no hole")
		for _, c := range []*client{other, bob} {
			c.message(1)
			c.message(2)
		}
		ann.ok(sendOf(3, "g", "c", ""), nil)
		for _, c := range []*client{ann, other, bob} {
			c.message(3)
			c.alive()
		}
	})
}

func TestUnknownRoomsAreCreatedWhereThatIsOn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.cfg.AutoCreate = true }, func(t *testing.T, s *piped) {
		c := s.dial(t, "cy").ready()
		var p page
		c.ok(`{"id":1,"op":"subscribe","group":"fresh"}`, &p)
		require.Equal(t, "fresh", p.Group)
		require.Nil(t, p.Role)
		c.refused(`{"id":1,"op":"subscribe","group":"dm:cy:dee"}`, domain.CodeNotFound)
		c.refused(`{"id":1,"op":"subscribe","group":"g"}`, domain.CodeNotMember)
		c.ok(sendOf(2, "fresh", "a", ""), nil)
		c.message(1)
	})
}

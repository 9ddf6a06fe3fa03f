package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/transport/client"
)

// sending is a Send under way.
type sending struct {
	receipt client.Receipt
	err     error
}

func (r *running) send(ctx context.Context, d client.Draft) <-chan sending {
	done := make(chan sending, 1)
	go func() {
		receipt, err := r.Send(ctx, d)
		done <- sending{receipt, err}
	}()
	return done
}

var hello = client.Draft{Group: "tea", Body: client.Text("hello")}

func TestSend(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		d := client.Draft{
			To: "bob", Body: json.RawMessage(`[ {"type":"text","text":"<b> & 1"} ]`), ClientID: "mine", Mentions: []string{"bob"},
			ReplyTo: 3, Ack: "durable", Timeout: 2 * time.Second, Priority: "low",
		}
		sent := r.send(context.Background(), d) // waits for the connection
		ask := f.welcome().expect("send")
		require.Equal(t, fmt.Sprintf(`{"id":%d,"op":"send","to":"bob","body":[{"type":"text","text":"<b> & 1"}],"client_id":"mine",`+
			`"mentions":["bob"],"reply_to":3,"ack":"durable","timeout_ms":2000,"priority":"low"}`, ask.ID), ask.raw)
		ask.ok(`{"group":"dm:ann:bob","seq":7,"time_ms":17,"duplicate":false,"durable":true,"persisted_seq":7,"peer_online":true}`)
		got := receive(t, sent, "a receipt")
		require.NoError(t, got.err)
		online := true
		require.Equal(t, client.Receipt{Group: "dm:ann:bob", Seq: 7, TimeMS: 17, Durable: true, PersistedSeq: 7, PeerOnline: &online}, got.receipt)
	})
}

func TestSendIsRepeatedWithItsClientID(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(f *fake, r request) *link{
		"when the answer is lost with the link": func(f *fake, r request) *link {
			r.link.cut()
			return f.welcome()
		},
		"when no answer comes": func(_ *fake, r request) *link { time.Sleep(21 * time.Second); return r.link },
		"when unavailable":     func(_ *fake, r request) *link { r.fail("unavailable", true, 0); return r.link },
		"when internal":        func(_ *fake, r request) *link { r.fail("internal", true, 0); return r.link },
		"when told when": func(_ *fake, r request) *link {
			r.fail("rate_limited", true, 40*time.Second)
			told := time.Now()
			for range 3 {
				require.NoError(r.link.t, r.link.ws.WriteControl(9, nil, time.Now().Add(time.Second)))
				time.Sleep(12 * time.Second)
			}
			r.link.quiet()
			time.Sleep(4 * time.Second)
			require.Equal(r.link.t, 40*time.Second, time.Since(told))
			return r.link
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				r := f.start(nil)
				sent := r.send(context.Background(), hello)
				first := f.welcome().expect("send")
				require.NotEmpty(t, first.ClientID)
				second := fault(f, first).expect("send")
				require.Equal(t, first.ClientID, second.ClientID)
				require.JSONEq(t, string(first.Body), string(second.Body))
				second.ok(`{"seq":1,"duplicate":true}`)
				got := receive(t, sent, "a receipt")
				require.NoError(t, got.err)
				require.True(t, got.receipt.Duplicate)
				require.EqualValues(t, 1, got.receipt.Seq)
				second.link.quiet()
			})
		})
	}
}

func TestSendReturnsARefusalThatStays(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		sent := r.send(context.Background(), hello)
		f.welcome().expect("send").fail("muted", false, time.Second)
		var refused *client.Error
		require.ErrorAs(t, receive(t, sent, "an answer").err, &refused)
		require.Equal(t, client.Error{Code: "muted", Message: "no", RetryAfter: time.Second}, *refused)
	})
}

func TestSendEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		early := r.send(ctx, hello)
		l := f.accept() // without a welcome
		require.ErrorIs(t, receive(t, early, "the end").err, context.DeadlineExceeded)

		l.write(`{"event":"welcome"}`)
		ctx, cancel = context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		asked := r.send(ctx, hello)
		ask := l.expect("send")
		require.ErrorIs(t, receive(t, asked, "the end").err, context.DeadlineExceeded)
		ask.ok(`{"seq":1}`) // nobody waits for it

		ctx, cancel = context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		refused := r.send(ctx, hello)
		l.expect("send").fail("overloaded", true, time.Hour)
		err := receive(t, refused, "the end").err
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "overloaded")
	})
}

func TestWhatWouldCloseTheConnectionIsNotWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		l := f.welcome()
		for code, body := range map[string]string{
			"too_large":   `["` + strings.Repeat("x", 64<<10) + `"]`,
			"bad_request": "[\"\xff\"]",
			"":            `["` + "\n" + `"]`,
		} {
			_, err := r.Send(context.Background(), client.Draft{Group: "tea", Body: json.RawMessage(body)})
			require.Error(t, err)
			if code != "" {
				require.ErrorContains(t, err, code)
			}
		}
		require.Error(t, r.Do(context.Background(), "read", 5, nil))
		require.Error(t, r.Do(context.Background(), "read", func() {}, nil))
		l.quiet()
	})
}

func TestSendsGoSideBySide(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		const sends = 500
		r := f.start(nil)
		l := f.welcome()
		var all sync.WaitGroup
		for range sends {
			all.Go(func() {
				receipt, err := r.Send(context.Background(), hello)
				require.NoError(t, err)
				require.Positive(t, receipt.Seq)
			})
		}
		synctest.Wait()
		require.Greater(t, len(l.requests), 1, "they do not wait for each other")
		seen := map[string]bool{}
		var asks []request
		for range sends {
			ask := l.expect("send")
			require.False(t, seen[ask.ClientID], "client_id %s repeats", ask.ClientID)
			seen[ask.ClientID] = true
			asks = append(asks, ask)
		}
		for n := range asks { // in another order
			asks[len(asks)-1-n].ok(fmt.Sprintf(`{"seq":%d}`, n+1))
		}
		all.Wait()
		for len(l.frames) > 0 {
			require.LessOrEqual(t, <-l.frames, 100)
		}
	})
}

func TestLargeRequestsShareNoFrameBeyondItsSize(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		large := client.Draft{Group: "tea", Body: client.Text(strings.Repeat("x", 30_000))}
		var answers []<-chan sending
		for range 100 { // more than may go at once: the rest shares frames
			answers = append(answers, r.send(context.Background(), large))
		}
		synctest.Wait()
		l := f.accept()
		l.ws.SetReadLimit(64 << 10)
		l.write(`{"event":"welcome"}`)
		for range answers {
			l.expect("send").ok(`{"seq":1}`)
		}
		for _, a := range answers {
			require.NoError(t, receive(t, a, "a receipt").err)
		}
	})
}

func TestOps(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	three := int64(3)
	for name, c := range map[string]struct {
		call func(c *client.Client) (any, error)
		asks string
		ok   string
		want any
	}{
		"pull": {
			func(c *client.Client) (any, error) {
				return c.Pull(ctx, client.PullQuery{Group: "tea", AfterSeq: &three, Limit: 10})
			},
			`"op":"pull","group":"tea","after_seq":3,"limit":10`,
			`{"group":"tea","max_seq":5,"min_seq":1,"messages":[{"group":"tea","seq":4,"recalled_ms":9}],"holes":[{"from":5,"to":5,"reason":"lost"}],"more":false}`,
			client.Page{
				Group: "tea", MaxSeq: 5, MinSeq: 1,
				Messages: []client.Message{{Group: "tea", Seq: 4, RecalledMS: 9}}, Holes: []client.Hole{{From: 5, To: 5, Reason: "lost"}},
			},
		},
		"read": {
			func(c *client.Client) (any, error) { return c.Read(ctx, "tea", 5) },
			`"op":"read","group":"tea","seq":5`, `{"group":"tea","read_seq":5,"unread":1}`,
			client.ReadMark{Group: "tea", ReadSeq: 5, Unread: 1},
		},
		"sync": {
			func(c *client.Client) (any, error) {
				return c.Sync(ctx, client.SyncQuery{Groups: map[string]int64{"tea": 3}, MaxBytes: 1000})
			},
			`"op":"sync","groups":{"tea":3},"max_bytes":1000`,
			`{"results":[{"group":"tea","max_seq":5,"more":true},{"group":"x","error":{"code":"gone","message":"no","retryable":false}}]}`,
			client.SyncPage{Results: []client.SyncResult{
				{Page: client.Page{Group: "tea", MaxSeq: 5, More: true}},
				{Page: client.Page{Group: "x"}, Error: &client.Error{Code: "gone", Message: "no"}},
			}},
		},
		"presence": {
			func(c *client.Client) (any, error) { return c.Presence(ctx, "bob") },
			`"op":"presence","users":["bob"]`, `{"users":{"bob":{"online":true,"devices":["ios"]}}}`,
			map[string]client.Presence{"bob": {Online: true, Devices: []string{"ios"}}},
		},
		"signal": {
			func(c *client.Client) (any, error) {
				return nil, c.Signal(ctx, client.Signal{Group: "tea", Kind: "typing", Data: json.RawMessage(`{"a":1}`)})
			},
			`"op":"signal","group":"tea","kind":"typing","data":{"a":1}`, `{}`, nil,
		},
		"any other": {
			func(c *client.Client) (any, error) { return nil, c.Do(ctx, "recall", struct{}{}, nil) },
			`"op":"recall"`, `{}`, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) {
				r := f.start(nil)
				l := f.welcome()
				var got any
				var err error
				done := make(chan bool, 1)
				go func() { got, err = c.call(r.Client); done <- true }()
				ask := receive(t, l.requests, "a request")
				require.Equal(t, fmt.Sprintf(`{"id":%d,%s}`, ask.ID, c.asks), ask.raw)
				ask.ok(c.ok)
				receive(t, done, "the answer")
				require.NoError(t, err)
				require.Equal(t, c.want, got)
			})
		})
	}
}

func TestALostAnswerIsSaid(t *testing.T) {
	inBubble(t, func(t *testing.T, f *fake) {
		r := f.start(nil)
		l := f.welcome()
		lost := make(chan error, 1)
		go func() { lost <- r.Signal(context.Background(), client.Signal{Group: "tea", Kind: "typing"}) }()
		l.expect("signal")
		l.cut()
		var refused *client.Error
		require.ErrorAs(t, receive(t, lost, "an answer"), &refused)
		require.Equal(t, "unavailable", refused.Code)
		require.True(t, refused.Retryable)
		f.welcome().quiet()
	})
}

func TestMessageText(t *testing.T) {
	t.Parallel()
	m := client.Message{Body: json.RawMessage(`[{"type":"text","text":"a"},{"type":"image","url":"x","text":"no"},{"type":"text","text":"b"}]`)}
	require.Equal(t, "a\nb", m.Text())
	require.Empty(t, (&client.Message{}).Text())
}

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

var hi = []byte(`[{"type":"text","text":"hi"}]`)

// receiver answers in place of the network.
type receiver func(r *http.Request) (status int, answer string)

func (f receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	status, answer := f(r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), Header: http.Header{}, Request: r}, nil
}

// hangs until the asker has had enough.
func hangs(r *http.Request) (int, string) {
	<-r.Context().Done()
	return 0, ""
}

func says(status int, answer string) receiver {
	return func(*http.Request) (int, string) { return status, answer }
}

// checkBody takes an array with something in it.
func checkBody(body []byte) ([]byte, error) {
	var elements []any
	if err := json.Unmarshal(body, &elements); err != nil || len(elements) == 0 {
		return nil, domain.BadField("body", "must have elements")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

func newGate(t *testing.T, r receiver, change func(cfg *GateConfig)) *Gate {
	t.Helper()
	c, err := New(Config{URL: "http://receiver.test", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
	require.NoError(t, err)
	c.http.Transport = r
	cfg := GateConfig{
		Client: c, Timeout: 500 * time.Millisecond, Concurrency: 256, CheckBody: checkBody,
		TypeOf: func(context.Context, string) domain.GroupType { return "" },
		NowMS:  func() int64 { return 1 }, Log: zerolog.Nop(), Register: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg)
	}
	return NewGate(cfg)
}

func open(cfg *GateConfig) { cfg.FailOpen = true }

func (g *Gate) judge(from string) domain.Verdict {
	return g.Judge(context.Background(), &domain.Draft{Group: "g", From: from, Body: hi})
}

// counted is how often a result was.
func (g *Gate) counted(t *testing.T, result string) int {
	t.Helper()
	return int(testutil.ToFloat64(g.results.WithLabelValues(result)))
}

func TestGateTellsTheMessageAsItWouldBeSent(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]domain.Draft{
		`{"group":"tea","from":"ann","body":[1]}`:                                   {Group: "tea", From: "ann"},
		`{"group":"dm:ann:bob","type":"direct","to":"ann","from":"bob","body":[1]}`: {Group: "dm:ann:bob", From: "bob", Open: true},
		`{"group":"tea","from":"system","operator":"k","body":[1]}`:                 {Group: "tea", From: "system", Operator: "k"},
		`{"group":"tea","from":"ann","client_id":"c","mentions":["bob","eve"],"reply_to":3,"body":[1]}`: {
			Group: "tea", From: "ann", ClientID: "c", Mentions: []string{"bob", "eve"}, ReplyTo: 3, Conn: "x", Mute: "x",
		},
	} {
		var got struct {
			Type string
			Data json.RawMessage
		}
		g := newGate(t, func(r *http.Request) (int, string) {
			assertNoError(t, json.NewDecoder(r.Body).Decode(&got))
			return 200, `{"allow":true}`
		}, nil)
		d.Body = []byte(`[1]`)
		require.Equal(t, domain.Verdict{}, g.Judge(t.Context(), &d))
		require.Equal(t, BeforeSend, got.Type)
		require.JSONEq(t, want, string(got.Data))
	}
}

func TestGateRemembersTheTypesOfGroups(t *testing.T) {
	t.Parallel()
	var told []string
	asked := 0
	var kind domain.GroupType
	g := newGate(t, func(r *http.Request) (int, string) {
		var got struct{ Data struct{ Type string } }
		assertNoError(t, json.NewDecoder(r.Body).Decode(&got))
		told = append(told, got.Data.Type)
		return 200, `{"allow":true}`
	}, func(cfg *GateConfig) {
		cfg.TypeOf = func(_ context.Context, group string) domain.GroupType {
			require.Equal(t, "g", group)
			asked++
			return kind
		}
	})
	g.judge("ann") // nobody knows it yet
	kind = domain.Room
	g.judge("ann")
	kind = domain.Private
	g.judge("ann")
	g.Judge(t.Context(), &domain.Draft{Group: "dm:ann:bob", From: "ann", Body: hi})
	require.Equal(t, []string{"", "room", "room", "direct"}, told)
	require.Equal(t, 2, asked)

	for i := range maxTypes {
		g.types[fmt.Sprint("other", i)] = domain.Room
	}
	delete(g.types, "g")
	g.judge("ann")
	require.Len(t, g.types, 1, "the memory is bounded")
}

func TestTypeThatDoesNotComeLeavesTimeToAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, says(200, `{"allow":false}`), func(cfg *GateConfig) {
			cfg.TypeOf = func(ctx context.Context, _ string) domain.GroupType {
				<-ctx.Done()
				return ""
			}
		})
		for range 2 * breakAfter {
			require.Equal(t, domain.CodeRejected, g.judge("ann").Refused.Code)
		}
	})
}

func assertNoError(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

func TestGoodAnswers(t *testing.T) {
	t.Parallel()
	reject := func(message string) domain.Verdict {
		return domain.Verdict{Refused: &domain.Error{Code: domain.CodeRejected, Message: message}}
	}
	const rejects = "the before_send hook rejects this message"
	for answer, want := range map[string]domain.Verdict{
		`{"allow":true}`: {},
		`{"allow":true,"reason":"x","score":0.2,"a":{}}`:  {},
		`{"allow":true,"body":null,"reason":null}`:        {},
		` {"allow":true,"body":[ {"type" : "other"} ] } `: {Body: []byte(`[{"type":"other"}]`)},
		`{"allow":true,"body": ` + string(hi) + ` }`:      {},
		`{"allow":false}`:                                             reject(rejects),
		`{"allow":false,"reason":""}`:                                 reject(rejects),
		`{"allow":false,"reason":" no\n\u0000 swearing "}`:            reject(rejects + ": no   swearing"),
		`{"allow":false,"reason":{"code":7},"body":"none"}`:           reject(rejects),
		`{"allow":false,"reason":"` + strings.Repeat("é", 200) + `"}`: reject(rejects + ": " + strings.Repeat("é", 128)),
		`{"allow":false,"reason":"` + strings.Repeat("你", 200) + `"}`: reject(rejects + ": " + strings.Repeat("你", 85)),
	} {
		require.Equal(t, want, newGate(t, says(200, answer), nil).judge("ann"), answer)
	}
}

func TestBadAnswersAreFailuresAndDoNotBreakTheCircuit(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		``, `null`, `[]`, `true`, `{}`, `{"allow":null}`, `{"allow":"yes"}`, `{"allow":1}`, `{"Allow":true}`, `{"allow":true`,
		`{"allow":true} x`, `{"allow":true,"allow":true}`, `{"allow":true,"body":[]}`, `{"allow":true,"body":"text"}`,
		"{\"allow\":true,\"reason\":\"\xff\"}", strings.Repeat(" ", maxAnswer) + `{"allow":true}`,
	} {
		g := newGate(t, says(200, answer), open)
		for range 2 * breakAfter {
			require.Equal(t, domain.Verdict{}, g.judge("ann"), answer)
		}
		require.Equal(t, 2*breakAfter, g.counted(t, "failed"), answer)
		closed := newGate(t, says(200, answer), nil).judge("ann")
		require.NotNil(t, closed.Refused, answer)
		require.Equal(t, domain.CodeUnavailable, closed.Refused.Code)
		require.NoError(t, closed.Refused.Err)
	}
}

func TestWordsOfTheReceiverAreNotLogged(t *testing.T) {
	t.Parallel()
	for _, r := range []receiver{
		says(200, `{"allow":"a secret"}`), says(200, `{"allow":true,"body":["a secret"`), says(200, `{"allow":true,"body":"a secret"}`),
		says(500, "a secret"), says(302, "a secret"),
	} {
		var log bytes.Buffer
		g := newGate(t, r, func(cfg *GateConfig) { cfg.Log = zerolog.New(&log) })
		for range breakAfter {
			g.judge("ann")
		}
		require.Contains(t, log.String(), "before_send")
		require.NotContains(t, log.String(), "secret")
	}
}

// A receiver that hangs costs five messages half a second each, and then one now and then.
func TestReceiverThatFailsIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		var well atomic.Bool
		var log bytes.Buffer
		g := newGate(t, func(r *http.Request) (int, string) {
			asked.Add(1)
			if well.Load() {
				return 200, `{"allow":false}`
			}
			return hangs(r)
		}, func(cfg *GateConfig) { cfg.FailOpen, cfg.Log = true, zerolog.New(&log) })
		took := func() time.Duration {
			started := time.Now()
			require.Equal(t, domain.Verdict{}, g.judge("ann"))
			return time.Since(started)
		}
		for range breakAfter {
			require.Equal(t, 500*time.Millisecond, took())
		}
		for _, pause := range []time.Duration{1, 2, 4, 8, 10, 10} {
			pause *= time.Second
			for range 20 {
				require.Zero(t, took(), "nobody waits during a pause")
			}
			time.Sleep(pause - time.Millisecond)
			require.Zero(t, took(), "the pause is %s", pause)
			time.Sleep(time.Millisecond)
			require.Equal(t, 500*time.Millisecond, took(), "one tries behind %s", pause)
		}
		require.EqualValues(t, breakAfter+6, asked.Load())

		well.Store(true)
		time.Sleep(maxPause)
		for range 3 {
			require.NotNil(t, g.judge("ann").Refused, "it is asked again")
		}
		well.Store(false)
		for range breakAfter {
			require.Equal(t, 500*time.Millisecond, took())
		}
		time.Sleep(firstPause)
		require.Equal(t, 500*time.Millisecond, took(), "the pause is short again")
		require.Equal(t, 9, strings.Count(log.String(), "not asked for a while"), log.String())
		require.Equal(t, 1, strings.Count(log.String(), "answers again"))
	})
}

func TestOneAsksBehindAPauseWhileTheOthersPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		g := newGate(t, func(r *http.Request) (int, string) {
			asked.Add(1)
			return hangs(r)
		}, nil)
		var all sync.WaitGroup
		for range 20 { // asked before the pause begins: they do not make it longer
			all.Go(func() { g.judge("ann") })
		}
		all.Wait()
		require.EqualValues(t, 20, asked.Load())
		time.Sleep(firstPause)
		for range 20 {
			all.Go(func() { require.Equal(t, domain.CodeUnavailable, g.judge("ann").Refused.Code) })
		}
		all.Wait()
		require.EqualValues(t, 21, asked.Load())
		require.Equal(t, 19, g.counted(t, "paused"))
	})
}

func TestFailuresThatAreNotInARowDoNotMatter(t *testing.T) {
	t.Parallel()
	var n int
	g := newGate(t, func(*http.Request) (int, string) {
		if n++; n%breakAfter == 0 {
			return 200, `{"allow":true}`
		}
		return 500, ""
	}, open)
	for range 10 * breakAfter {
		g.judge("ann")
	}
	require.Equal(t, 10*breakAfter, n)
	require.Equal(t, 8*breakAfter, g.counted(t, "failed"))
}

func TestQuestionsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		change := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			now += by
			most = max(most, now)
		}
		g := newGate(t, func(r *http.Request) (int, string) {
			change(+1)
			defer change(-1)
			select {
			case <-r.Context().Done():
			case <-time.After(200 * time.Millisecond):
			}
			return 200, `{"allow":true}`
		}, func(cfg *GateConfig) { cfg.Concurrency = 3 })
		started := time.Now()
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() { g.judge(fmt.Sprint("u", i)) })
		}
		all.Wait()
		require.Equal(t, 3, most)
		require.Equal(t, 500*time.Millisecond, time.Since(started), "nobody waits longer than the timeout, for his turn or for the answer")
		require.Equal(t, 6, g.counted(t, "allowed"), "two rounds fit in")
		require.Equal(t, 6, g.counted(t, "failed"))
	})
}

// Waiting for a turn says nothing about the receiver, but for whoever tries whether it is back.
func TestTurnsThatDoNotComeDoNotBreakTheCircuit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, says(200, `{"allow":true}`), func(cfg *GateConfig) { cfg.Concurrency = 1 })
		g.slots <- struct{}{}
		for range 2 * breakAfter {
			g.judge("ann")
		}
		<-g.slots
		require.Equal(t, domain.Verdict{}, g.judge("ann"))
		require.Equal(t, 1, g.counted(t, "allowed"))

		g.breaker.failures = breakAfter
		g.slots <- struct{}{}
		g.judge("ann") // tries, and gets no turn
		<-g.slots
		require.NotNil(t, g.judge("ann").Refused)
		time.Sleep(firstPause)
		require.Equal(t, domain.Verdict{}, g.judge("ann"))
	})
}

func TestOneUserTakesAPartOfTheQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, func(*http.Request) (int, string) {
			time.Sleep(100 * time.Millisecond)
			return 200, `{"allow":true}`
		}, open)
		var limited atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if v := g.judge("ann"); v.Refused != nil {
					require.Equal(t, domain.CodeRateLimited, v.Refused.Code)
					require.Positive(t, v.Refused.RetryAfter)
					limited.Add(1)
				}
			})
			all.Go(func() {
				require.Equal(t, domain.Verdict{}, g.Judge(context.Background(), &domain.Draft{Group: "g", From: "ann", Operator: "k", Body: hi}))
			})
		}
		synctest.Wait()
		require.EqualValues(t, 100-maxOfUser, limited.Load())
		require.Equal(t, domain.Verdict{}, g.judge("bob"))
		all.Wait()
		require.Equal(t, domain.Verdict{}, g.judge("ann"))
		require.Empty(t, g.asking)
	})
}

func FuzzVerdict(f *testing.F) {
	for _, answer := range []string{
		`{"allow":true}`, `{"allow":false,"reason":"no"}`, `{"allow":true,"body":[{"type":"text","text":"x"}]}`, `{"allow":true,"body":null}`,
		`{"allow":1}`, `{}`, `[]`, "{\"allow\":true,\"reason\":\"\xff\"}", `{"allow":false,"reason":"\ud800"}`,
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		v, err := ParseVerdict(answer, hi, checkBody)
		if err != nil {
			require.Equal(t, domain.Verdict{}, v)
			var e *domain.Error
			if !errors.As(err, &e) {
				require.Contains(t, []string{"allow is missing in the answer", `the answer is not of the form {"allow":bool,"reason":"…","body":[…]}`}, err.Error())
			}
			return
		}
		var a struct{ Allow *bool }
		require.NoError(t, json.Unmarshal(answer, &a))
		require.NotNil(t, a.Allow)
		require.Equal(t, *a.Allow, v.Refused == nil)
		if v.Refused != nil {
			require.True(t, utf8.ValidString(v.Refused.Message))
			require.LessOrEqual(t, len(v.Refused.Message), maxReason+64)
			require.Nil(t, v.Body)
		}
		if v.Body != nil {
			compact, err := checkBody(v.Body)
			require.NoError(t, err)
			require.Equal(t, string(compact), string(v.Body))
			require.NotEqual(t, string(hi), string(v.Body))
		}
	})
}

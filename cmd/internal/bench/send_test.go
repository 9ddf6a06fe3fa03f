package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/cmd/internal/bench"
	"hearth/domain/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Main{M: m}) }

// small is a run of 400 messages without warm-up, over in a moment.
func small(f *fake) bench.SendConfig {
	return bench.SendConfig{
		Base:        f.base(),
		Connections: 4, Groups: 2, InFlight: 2, Messages: 400, Warmup: -1,
	}
}

func TestSendCountsWhatTheServerDid(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fake{
		"usual":                           {},
		"JSON with white space":           {spaced: true},
		"client has to subscribe":         {unsubscribed: true},
		"holes announced with prev_seq":   {number: func(_ string, before uint64) uint64 { return before + 1 + before%3 }},
		"group that begins at a high seq": {number: func(_ string, before uint64) uint64 { return max(before, 1_000_000) + 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := small(startFake(t, f))
			cfg.PIDs = map[string]int{"server": os.Getpid()}
			var out bytes.Buffer

			r, err := bench.Send(t.Context(), cfg, &out)

			require.NoError(t, err)
			require.EqualValues(t, 400, r.Messages)
			require.EqualValues(t, 400, r.AckedTotal)
			require.LessOrEqual(t, r.Deliveries, int64(800), "two members a group")
			require.Positive(t, r.AckedPerSecond)
			require.Positive(t, r.Latency.P50)
			require.GreaterOrEqual(t, r.Latency.Max, r.Latency.P99)
			require.Contains(t, r.CPU.Processes, "server")
			require.Zero(t, r.Violations, r.Samples)
			require.Contains(t, out.String(), "400 messages")
		})
	}
}

func TestSendRunsForItsDurationAfterTheWarmup(t *testing.T) {
	t.Parallel()
	cfg := small(startFake(t, &fake{}))
	cfg.Messages, cfg.Warmup, cfg.Duration, cfg.JSON = 0, 20*time.Millisecond, 50*time.Millisecond, true
	var out bytes.Buffer

	r, err := bench.Send(t.Context(), cfg, &out)

	require.NoError(t, err)
	require.Positive(t, r.Messages)
	require.Greater(t, r.AckedTotal, r.Messages, "the warm-up is not measured")
	require.GreaterOrEqual(t, r.Seconds, 0.05)
	var read bench.SendReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &read))
	require.Equal(t, *r, read)
}

func TestBatchPutsSendsIntoOneFrame(t *testing.T) {
	t.Parallel()
	f := startFake(t, &fake{})
	cfg := small(f)
	cfg.Connections, cfg.Groups, cfg.InFlight, cfg.Batch, cfg.Messages = 1, 1, 50, 20, 50

	_, err := bench.Send(t.Context(), cfg, nil)

	require.NoError(t, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, 3, f.frames, "frames of 20, 20 and 10 messages")
}

func TestConnectionsAreSpreadOverTheURLs(t *testing.T) {
	t.Parallel()
	f := startFake(t, &fake{})
	other := httptest.NewServer(f.server.Config.Handler)
	t.Cleanup(other.Close)
	cfg := small(f)
	cfg.URLs = append(cfg.URLs, other.URL+"/")

	_, err := bench.Send(t.Context(), cfg, nil)

	require.NoError(t, err)
}

func TestGroupOfMoreMembersThanOneCallTakes(t *testing.T) {
	t.Parallel()
	f := startFake(t, &fake{})
	cfg := small(f)
	cfg.Connections, cfg.Groups, cfg.InFlight, cfg.Messages = 510, 1, 1, 20

	r, err := bench.Send(t.Context(), cfg, nil)

	require.NoError(t, err)
	require.EqualValues(t, 20, r.AckedTotal)
}

func TestBrokenPromiseIsWrong(t *testing.T) {
	t.Parallel()
	at := func(s sent) bool { return s.Seq == 20 }
	stayed := map[string]bool{}
	for name, c := range map[string]struct {
		fake *fake
		want string
	}{
		"push repeated": {
			&fake{push: func(s sent, _ int, usual string) string {
				if at(s) {
					return usual + "\n" + usual
				}
				return usual
			}}, "repeated or out of order",
		},
		"push left out": {
			&fake{push: func(s sent, _ int, usual string) string {
				if at(s) {
					return ""
				}
				return usual
			}}, "a gap",
		},
		"first push left out for one": {
			&fake{push: func(s sent, to int, usual string) string {
				if s.Seq == 1 && to == 1 {
					return ""
				}
				return usual
			}}, "first push is seq 2",
		},
		"last push left out for one": {
			&fake{push: func(s sent, to int, usual string) string {
				if s.Seq >= 190 && to == 1 {
					return ""
				}
				return usual
			}}, "last push is seq 189",
		},
		"seq skipped without a word": {
			&fake{push: func(_ sent, _ int, usual string) string {
				head, tail, jumps := strings.Cut(usual, `,"prev_seq":20`)
				if jumps {
					return head + tail
				}
				return usual
			}, number: func(_ string, before uint64) uint64 {
				if before == 20 {
					return 22
				}
				return before + 1
			}}, "a gap",
		},
		"prev_seq that hides a message": {
			&fake{push: func(s sent, _ int, usual string) string {
				switch s.Seq {
				case 20:
					return ""
				case 21:
					return strings.Replace(usual, `"message"`, `"message","prev_seq":19`, 1)
				}
				return usual
			}}, "lies in a hole",
		},
		"prev_seq that was never pushed": {
			&fake{push: func(s sent, _ int, usual string) string {
				if at(s) {
					return strings.Replace(usual, `"message"`, `"message","prev_seq":18`, 1)
				}
				return usual
			}}, "says prev_seq 18 after seq 19",
		},
		"one seq for two messages": {
			&fake{number: func(group string, before uint64) uint64 {
				if before == 20 && !stayed[group] {
					stayed[group] = true
					return 20
				}
				return before + 1
			}}, "seq 20 given to two messages",
		},
		"ack with the seq of another message": {
			&fake{reply: func(s sent, usual string) string {
				if at(s) {
					return strings.Replace(usual, `"seq":20`, `"seq":19`, 1)
				}
				return usual
			}}, "ack and push of one message differ",
		},
		"answered twice": {
			&fake{reply: func(s sent, usual string) string {
				if at(s) {
					return usual + "\n" + usual
				}
				return usual
			}}, "none in flight",
		},
		"push of another group": {
			&fake{push: func(s sent, _ int, usual string) string {
				if at(s) {
					return usual + "\n" + strings.Replace(usual, s.Group, "another", 1)
				}
				return usual
			}}, "a push of another group",
		},
		"not JSON": {
			&fake{push: func(sent, int, string) string { return "hello" }}, "the server wrote",
		},
		"reply that is neither ok nor error": {
			&fake{reply: func(sent, string) string { return `{"id":1000000000}` }}, "the server wrote",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := small(startFake(t, c.fake))
			cfg.Settle = time.Second

			r, err := bench.Send(t.Context(), cfg, nil)

			requireKind(t, err, bench.Wrong, 5)
			said := err.Error()
			if r != nil {
				said += strings.Join(r.Samples, "\n")
			}
			require.Contains(t, said, c.want)
		})
	}
}

func TestWrongComesWithTheReport(t *testing.T) {
	t.Parallel()
	cfg := small(startFake(t, &fake{push: func(_ sent, _ int, usual string) string { return usual + "\n" + usual }}))
	var out bytes.Buffer

	r, err := bench.Send(t.Context(), cfg, &out)

	requireKind(t, err, bench.Wrong, 5)
	require.Len(t, r.Samples, 10)
	require.Greater(t, r.Violations, int64(10))
	require.Contains(t, out.String(), r.Samples[0])
}

func TestServerThatIsNotThereOrGoesAwayIsDown(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, c := range map[string]struct {
		fake *fake
		edit func(*bench.SendConfig)
		want string
	}{
		"nobody listens":       {edit: func(c *bench.SendConfig) { c.URLs = []string{closed.URL} }, want: "refused"},
		"broken":               {fake: &fake{refuse: 502}, want: "HTTP 502"},
		"never welcomes":       {fake: &fake{welcome: `{"event":"other"}`}, want: "waiting for welcome"},
		"never answers":        {fake: &fake{silent: true}, want: "no answer"},
		"leaves one out":       {fake: &fake{reply: leaveOut(20)}, want: "no answer"},
		"no answer at the end": {fake: &fake{silent: true}, want: "unanswered", edit: func(c *bench.SendConfig) { c.Duration, c.Timeout = 20*time.Millisecond, time.Minute }},
		"unavailable":          {fake: &fake{reply: always(`{"id":1,"error":{"code":"unavailable","message":"later"}}`)}, want: "unavailable: later"},
		"resync":               {fake: &fake{reply: always(`{"event":"resync","groups":[]}`)}, want: "unsubscribed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := small(startFake(t, c.fake))
			cfg.Timeout, cfg.Settle, cfg.InFlight = time.Second, 50*time.Millisecond, 1
			if c.edit != nil {
				c.edit(&cfg)
			}

			_, err := bench.Send(t.Context(), cfg, nil)

			requireKind(t, err, bench.Down, 4)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestConnectionCutDuringTheLoadIsDown(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.onSend = func(s sent) {
		if s.Seq == 20 {
			_ = f.groups[s.Group].conns[0].Close()
		}
	}

	_, err := bench.Send(t.Context(), small(startFake(t, f)), nil)

	requireKind(t, err, bench.Down, 4)
	require.ErrorContains(t, err, "connection lost")
}

func TestRunThatCannotBeSetUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fake *fake
		edit func(*bench.SendConfig)
		want string
	}{
		"no URL":               {edit: func(c *bench.SendConfig) { c.URLs = nil }, want: "no URL"},
		"websocket URL":        {edit: func(c *bench.SendConfig) { c.URLs = []string{"ws://x"} }, want: "want http://"},
		"more groups":          {edit: func(c *bench.SendConfig) { c.Groups = 5 }, want: "groups: 5"},
		"frame too large":      {edit: func(c *bench.SendConfig) { c.Bytes, c.Batch = 12000, 6 }, want: "do not fit"},
		"no such process":      {edit: func(c *bench.SendConfig) { c.PIDs = map[string]int{"redis": 1 << 30} }, want: "redis"},
		"wrong key":            {edit: func(c *bench.SendConfig) { c.APIKey = "?" }, want: "unauthorized"},
		"wrong secret":         {edit: func(c *bench.SendConfig) { c.Secret = []byte("?") }, want: "unauthorized"},
		"rate limits in force": {fake: &fake{reply: always(`{"id":1,"error":{"code":"rate_limited","message":"slow"}}`)}, want: "HEARTH_LIMITS_USER_RATE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := small(startFake(t, c.fake))
			if c.edit != nil {
				c.edit(&cfg)
			}

			_, err := bench.Send(t.Context(), cfg, nil)

			requireKind(t, err, bench.Setup, 2)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestPrefixInUseIsRefused(t *testing.T) {
	t.Parallel()
	cfg := small(startFake(t, &fake{}))
	cfg.Prefix = "mine-"
	_, err := bench.Send(t.Context(), cfg, nil)
	require.NoError(t, err)

	_, err = bench.Send(t.Context(), cfg, nil)

	requireKind(t, err, bench.Setup, 2)
	require.ErrorContains(t, err, "conflict")
}

func TestMissedTargets(t *testing.T) {
	t.Parallel()
	cfg := small(startFake(t, &fake{}))
	cfg.MinRate = 1e12

	r, err := bench.Send(t.Context(), cfg, nil)

	requireKind(t, err, bench.Missed, 3)
	require.EqualValues(t, 400, r.Messages)
}

func TestCancelEndsTheRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := small(startFake(t, &fake{onSend: func(s sent) {
		if s.Seq == 20 {
			cancel()
		}
	}}))
	cfg.Messages, cfg.Duration = 0, time.Hour

	_, err := bench.Send(ctx, cfg, nil)

	require.ErrorIs(t, err, context.Canceled)
}

func leaveOut(seq uint64) func(sent, string) string {
	return func(s sent, usual string) string {
		if s.Seq == seq {
			return ""
		}
		return usual
	}
}

func always(line string) func(sent, string) string {
	return func(sent, string) string { return line }
}

func requireKind(t testing.TB, err error, want bench.Kind, exitCode int) {
	t.Helper()
	require.Equal(t, want, bench.KindOf(err), "kind of %v", err)
	var coded interface{ ExitCode() int }
	require.True(t, errors.As(err, &coded))
	require.Equal(t, exitCode, coded.ExitCode())
}

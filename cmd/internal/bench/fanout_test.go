package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/cmd/internal/bench"
)

// oneGroup is a run of 200 messages without warm-up, over in a moment.
func oneGroup(f *fake) bench.FanoutConfig {
	return bench.FanoutConfig{Base: f.base(), Subscribers: 10, InFlight: 4, Messages: 200, Warmup: -1, Settle: time.Second}
}

func TestFanoutCountsEveryDelivery(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fake{
		"usual":                         {},
		"JSON with white space":         {spaced: true},
		"client has to subscribe":       {unsubscribed: true},
		"holes announced with prev_seq": {number: func(_ string, before uint64) uint64 { return before + 1 + before%3 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := oneGroup(startFake(t, f))
			cfg.PIDs = map[string]int{"server": os.Getpid()}
			var out bytes.Buffer

			r, err := bench.Fanout(t.Context(), cfg, &out)

			require.NoError(t, err)
			require.EqualValues(t, 200, r.Messages)
			require.EqualValues(t, 200, r.AckedTotal)
			require.EqualValues(t, 2000, r.Deliveries)
			require.Positive(t, r.DeliveriesPerSecond)
			require.Positive(t, r.Latency.P50)
			require.GreaterOrEqual(t, r.Latency.Max, r.Latency.P99)
			require.Contains(t, r.CPU.Processes, "server")
			require.Contains(t, out.String(), "200 messages")
		})
	}
}

func TestFanoutKeepsSoManyInFlight(t *testing.T) {
	t.Parallel()
	var sends atomic.Int32
	cfg := oneGroup(startFake(t, &fake{
		onSend: func(sent) { sends.Add(1) },
		push: func(_ sent, to int, usual string) string {
			if to == 9 {
				return "" // nothing ever lands
			}
			return usual
		},
	}))
	cfg.InFlight, cfg.Timeout = 3, 200*time.Millisecond

	_, err := bench.Fanout(t.Context(), cfg, nil)

	requireKind(t, err, bench.Wrong, 5)
	require.ErrorContains(t, err, "3 messages sent and acked, pushed only up to the 0th")
	require.EqualValues(t, 3, sends.Load(), "the loop is closed")
}

func TestFanoutOnASchedule(t *testing.T) {
	t.Parallel()
	cfg := oneGroup(startFake(t, &fake{}))
	cfg.Messages, cfg.Rate, cfg.Warmup, cfg.Duration, cfg.JSON = 0, 200, 50*time.Millisecond, 500*time.Millisecond, true
	var out bytes.Buffer

	r, err := bench.Fanout(t.Context(), cfg, &out)

	require.NoError(t, err)
	require.Less(t, r.MessagesPerSecond, 240.0, "no faster than the schedule, however busy the machine")
	require.Greater(t, r.AckedTotal, r.Messages, "the warm-up is not measured")
	require.Zero(t, r.InFlight)
	var read bench.FanoutReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &read))
	require.Equal(t, *r, read)
}

func TestLateMessageCountsFromItsTimeOnTheSchedule(t *testing.T) {
	t.Parallel()
	f := startFake(t, &fake{onSend: func(s sent) {
		if s.Seq == 1 {
			time.Sleep(300 * time.Millisecond) // the server hangs, and 30 more become due
		}
	}})
	cfg := oneGroup(f)
	cfg.Rate, cfg.Messages = 100, 40

	r, err := bench.Fanout(t.Context(), cfg, nil)

	require.NoError(t, err)
	require.Greater(t, r.Latency.P50, 50.0)
}

func TestSubscribersAreSpreadOverTheURLs(t *testing.T) {
	t.Parallel()
	f := startFake(t, &fake{})
	other := httptest.NewServer(f.server.Config.Handler)
	t.Cleanup(other.Close)
	cfg := oneGroup(f)
	cfg.URLs = append(cfg.URLs, other.URL+"/")

	r, err := bench.Fanout(t.Context(), cfg, nil)

	require.NoError(t, err)
	require.EqualValues(t, 2000, r.Deliveries)
}

// only changes what one subscriber is pushed at one seq.
func only(seq uint64, change func(usual string) string) func(sent, int, string) string {
	return func(s sent, to int, usual string) string {
		if s.Seq == seq && to == 7 {
			return change(usual)
		}
		return usual
	}
}

func TestBrokenFanoutIsWrong(t *testing.T) {
	t.Parallel()
	nothing := func(string) string { return "" }
	late := ""
	for name, c := range map[string]struct {
		fake *fake
		want string
	}{
		"push repeated": {&fake{push: only(20, func(usual string) string { return usual + "\n" + usual })}, "repeated or out of order"},
		"push dropped":  {&fake{push: only(20, nothing)}, "push of seq 21 after seq 19: a gap"},
		"two pushes swapped": {&fake{push: func(s sent, to int, usual string) string {
			switch {
			case s.Seq == 20 && to == 7:
				late = usual
				return ""
			case s.Seq == 21 && to == 7:
				return usual + "\n" + late
			}
			return usual
		}}, "push of seq 20 after seq 21: repeated or out of order"},
		"first push dropped": {&fake{push: only(1, nothing)}, "message 0 not pushed"},
		"last push dropped":  {&fake{push: only(200, nothing)}, "200 messages sent and acked, pushed only up to the 199th"},
		"dropped, and prev_seq hides it": {&fake{push: func(s sent, to int, usual string) string {
			if to == 7 && s.Seq == 20 {
				return ""
			}
			if to == 7 && s.Seq == 21 {
				return strings.Replace(usual, `"message"`, `"message","prev_seq":19`, 1)
			}
			return usual
		}}, "message 19 not pushed"},
		"another seq for one subscriber": {&fake{push: func(s sent, to int, usual string) string {
			if to != 7 {
				return usual
			}
			return strings.Replace(usual, fmt.Sprintf(`"seq":%d,`, s.Seq), fmt.Sprintf(`"seq":%d,`, s.Seq+100), 1)
		}}, "elsewhere"},
		"message of somebody else": {&fake{push: only(20, func(usual string) string {
			return strings.Replace(usual, `"client_id":"c0-`, `"client_id":"c1-`, 1)
		})}, "never sent"},
		"push of another group": {&fake{push: only(20, func(usual string) string {
			return strings.Replace(usual, `"group":"`, `"group":"x`, 1)
		})}, "never sent"},
		"ack with another seq": {&fake{reply: func(s sent, usual string) string {
			return strings.Replace(usual, `"seq":20,`, `"seq":19,`, 1)
		}}, "message differ"},
		"answered twice": {&fake{reply: func(s sent, usual string) string {
			if s.Seq == 20 {
				return usual + "\n" + usual
			}
			return usual
		}}, "none in flight"},
		"not JSON": {&fake{push: only(20, func(string) string { return "hello" })}, "the server wrote"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := oneGroup(startFake(t, c.fake))
			cfg.Timeout = 500 * time.Millisecond

			r, err := bench.Fanout(t.Context(), cfg, nil)

			requireKind(t, err, bench.Wrong, 5)
			said := err.Error()
			if r != nil {
				said += strings.Join(r.Samples, "\n")
			}
			require.Contains(t, said, c.want)
		})
	}
}

func TestFanoutGoesOnAfterADroppedPush(t *testing.T) {
	t.Parallel()
	cfg := oneGroup(startFake(t, &fake{push: only(20, func(string) string { return "" })}))
	cfg.InFlight = 4

	r, err := bench.Fanout(t.Context(), cfg, nil)

	requireKind(t, err, bench.Wrong, 5)
	require.EqualValues(t, 1999, r.Deliveries)
}

func TestFanoutServerThatGoesAwayIsDown(t *testing.T) {
	t.Parallel()
	cut := &fake{}
	cut.onSend = func(s sent) {
		if s.Seq == 20 {
			_ = cut.groups[s.Group].conns[7].Close()
		}
	}
	for name, c := range map[string]struct {
		fake *fake
		want string
	}{
		"broken":         {&fake{refuse: 502}, "HTTP 502"},
		"never answers":  {&fake{silent: true}, "no answer"},
		"leaves one out": {&fake{reply: leaveOut(20)}, "no answer"},
		"cut off":        {cut, "connection lost"},
		"resync":         {&fake{push: only(20, func(string) string { return `{"event":"resync","groups":[]}` })}, "unsubscribed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := oneGroup(startFake(t, c.fake))
			cfg.Timeout = 300 * time.Millisecond

			_, err := bench.Fanout(t.Context(), cfg, nil)

			requireKind(t, err, bench.Down, 4)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestFanoutTargets(t *testing.T) {
	t.Parallel()
	cfg := oneGroup(startFake(t, &fake{}))
	cfg.MaxP99 = time.Microsecond

	r, err := bench.Fanout(t.Context(), cfg, nil)

	requireKind(t, err, bench.Missed, 3)
	require.ErrorContains(t, err, "p99")
	require.EqualValues(t, 200, r.Messages)

	cfg.MaxCPU = 1
	_, err = bench.Fanout(t.Context(), cfg, nil)
	requireKind(t, err, bench.Setup, 2)
	require.ErrorContains(t, err, "no process")
}

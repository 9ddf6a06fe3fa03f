package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/cmd/internal/bench"
)

// missed is a run over 95 messages in pages of 20, without warm-up, over in a moment.
func missed(f *fake) bench.CatchupConfig {
	return bench.CatchupConfig{Base: f.base(), Clients: 3, Missed: 95, Page: 20, Catchups: 30, Warmup: -1}
}

func TestCatchupReadsEverything(t *testing.T) {
	t.Parallel()
	jumps := func(_ string, before uint64) uint64 { return before + 1 + before%3 }
	for name, c := range map[string]struct {
		fake *fake
		op   string
	}{
		"pull":                  {&fake{}, "pull"},
		"sync":                  {&fake{}, "sync"},
		"subscribe":             {&fake{}, "subscribe"},
		"group with holes":      {&fake{number: jumps}, ""},
		"JSON with white space": {&fake{spaced: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := missed(startFake(t, c.fake))
			cfg.Op, cfg.PIDs, cfg.JSON = c.op, map[string]int{"server": os.Getpid()}, true
			var out bytes.Buffer

			r, err := bench.Catchup(t.Context(), cfg, &out)

			require.NoError(t, err)
			require.GreaterOrEqual(t, r.Catchups, int64(30))
			require.GreaterOrEqual(t, r.Messages, 95*r.Catchups)
			require.Less(t, r.Messages, 95*(r.Catchups+3), "one under way a client")
			require.Positive(t, r.MessagesPerSecond)
			require.Positive(t, r.Latency.P50)
			require.Contains(t, r.CPU.Processes, "server")
			var read bench.CatchupReport
			require.NoError(t, json.Unmarshal(out.Bytes(), &read))
			require.Equal(t, *r, read)
		})
	}
}

func TestCatchupRunsForItsDurationAfterTheWarmup(t *testing.T) {
	t.Parallel()
	cfg := missed(startFake(t, &fake{}))
	cfg.Catchups, cfg.Warmup, cfg.Duration = 0, 20*time.Millisecond, 50*time.Millisecond

	r, err := bench.Catchup(t.Context(), cfg, nil)

	require.NoError(t, err)
	require.GreaterOrEqual(t, r.Seconds, 0.05)
	require.Less(t, r.Seconds, 5.0)
}

func TestPageThatDoesNotTellEverythingIsWrong(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) func(string, uint64, string) string {
		return func(_ string, after uint64, usual string) string { return strings.Replace(usual, old, with, 1) }
	}
	dropFirst := func(_ string, after uint64, usual string) string {
		head, tail, _ := strings.Cut(usual, `"messages":[`)
		_, rest, _ := strings.Cut(tail, `}]},`)
		if after == 20 {
			return head + `"messages":[` + rest
		}
		return usual
	}
	later := 0 // answers
	for name, c := range map[string]struct {
		fake *fake
		want string
	}{
		"one left out": {&fake{page: dropFirst}, "message 0 has seq 22, not 21"},
		"left out later": {&fake{page: func(op string, after uint64, usual string) string {
			later++
			return later50(later, dropFirst, op, after, usual)
		}}, "not 21"},
		"no more too early":  {&fake{page: replace(`"more":true`, `"more":false`)}, "20 messages and no more, there are 95"},
		"more without end":   {&fake{page: replace(`"more":false`, `"more":true`)}, "promises more"},
		"one twice":          {&fake{page: replace(`"seq":21,`, `"seq":20,`)}, "message 0 has seq 20, not 21"},
		"another body":       {&fake{page: replace(`xxx"`, `xxy"`)}, "another body"},
		"another sender":     {&fake{page: replace(`"from":"bench`, `"from":"mench`)}, "not what was sent"},
		"another group":      {&fake{page: replace(`{"group":"bench`, `{"group":"mench`)}, "it is of group"},
		"hole over messages": {&fake{page: replace(`"holes":[]`, `"holes":[{"from":5,"to":7}]`)}, "a hole from 5 to 7"},
		"hole not told": {&fake{
			number: func(_ string, before uint64) uint64 { return before + 1 + before%3 },
			page: func(_ string, after uint64, usual string) string {
				head, _, _ := strings.Cut(usual, `"holes":[`)
				return head + `"holes":[],"more":` + usual[strings.LastIndex(usual, `:`)+1:]
			},
		}, "no hole that says why"},
		"no page":           {&fake{page: replace(`"messages"`, `"message"`)}, "without messages"},
		"not JSON":          {&fake{page: func(string, uint64, string) string { return "hello" }}, "the server wrote"},
		"answer to nothing": {&fake{page: replace(`{"id":1`, `{"id":7771`)}, "an answer to id 777"},
		"push of nothing":   {&fake{page: func(_ string, _ uint64, usual string) string { return `{"event":"message","seq":1}` + "\n" + usual }}, "nobody sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r, err := bench.Catchup(t.Context(), missed(startFake(t, c.fake)), nil)

			requireKind(t, err, bench.Wrong, 5)
			said := err.Error()
			if r != nil {
				said += strings.Join(r.Samples, "\n")
			}
			require.Contains(t, said, c.want)
		})
	}
}

// later50 breaks what comes behind the first fifty answers: pages are compared every time, not only at first.
func later50(n int, broken func(string, uint64, string) string, op string, after uint64, usual string) string {
	if n > 50 {
		return broken(op, after, usual)
	}
	return usual
}

func TestCatchupFromAServerThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fake *fake
		kind bench.Kind
		code int
		want string
	}{
		"accepts nothing":      {&fake{silent: true}, bench.Down, 4, "filling the group"},
		"refuses the messages": {&fake{reply: func(s sent, _ string) string { return refusedSend(s, "muted") }}, bench.Setup, 2, "muted"},
		"limits the rate":      {&fake{reply: func(s sent, _ string) string { return refusedSend(s, "rate_limited") }}, bench.Setup, 2, "HEARTH_LIMITS_USER_RATE"},
		"answers no page":      {&fake{page: func(string, uint64, string) string { return "" }}, bench.Down, 4, "timeout"},
		"refuses the page": {&fake{page: func(string, uint64, string) string {
			return `{"id":1,"error":{"code":"unavailable","message":"later"}}`
		}}, bench.Down, 4, "pull: unavailable: later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := missed(startFake(t, c.fake))
			cfg.Timeout = 300 * time.Millisecond

			_, err := bench.Catchup(t.Context(), cfg, nil)

			requireKind(t, err, c.kind, c.code)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestCatchupTargets(t *testing.T) {
	t.Parallel()
	cfg := missed(startFake(t, &fake{}))
	cfg.MinRate = 1e12

	r, err := bench.Catchup(t.Context(), cfg, nil)

	requireKind(t, err, bench.Missed, 3)
	require.Positive(t, r.Messages)

	cfg.Op = "read"
	_, err = bench.Catchup(t.Context(), cfg, nil)
	requireKind(t, err, bench.Setup, 2)
	require.ErrorContains(t, err, "want one of pull, sync, subscribe")
}

func refusedSend(s sent, code string) string {
	return fmt.Sprintf(`{"id":%d,"error":{"code":%q,"message":"no","retryable":%v}}`, s.ID, code, code != "muted")
}

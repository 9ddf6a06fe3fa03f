package bench_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/cmd/internal/bench"
)

// asleep is a run that is over in a moment.
func asleep(f *fake) bench.IdleConfig {
	return bench.IdleConfig{
		Base: f.base(), Connections: 30, GroupSize: 7, Hold: 20 * time.Millisecond, Settle: 300 * time.Millisecond,
	}
}

func TestIdleTellsMemoryAndWakesEverybody(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fake{
		"usual":                   {},
		"JSON with white space":   {spaced: true},
		"client has to subscribe": {unsubscribed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := asleep(startFake(t, f))
			cfg.PIDs, cfg.JSON = map[string]int{"server": os.Getpid()}, true
			var out bytes.Buffer

			r, err := bench.Idle(t.Context(), cfg, &out)

			require.NoError(t, err)
			require.Equal(t, 5, r.Groups)
			require.Positive(t, r.Memory.BeforeKiB["server"])
			require.Contains(t, r.Memory.Each, "server")
			require.Positive(t, r.ConnectSeconds)
			var read bench.IdleReport
			require.NoError(t, json.Unmarshal(out.Bytes(), &read))
			require.Equal(t, *r, read)
		})
	}
}

func TestIdleConnectionsAnswerPings(t *testing.T) {
	t.Parallel()
	cfg := asleep(startFake(t, &fake{pingEvery: 10 * time.Millisecond}))
	cfg.Hold = 200 * time.Millisecond

	r, err := bench.Idle(t.Context(), cfg, nil)

	require.NoError(t, err)
	require.Greater(t, r.Pings, int64(30))
}

func TestBrokenIdleIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		push func(s sent, to int, usual string) string
		want string
	}{
		"not subscribed": {func(_ sent, to int, usual string) string {
			if to == 3 {
				return ""
			}
			return usual
		}, "0 messages pushed when one thing was said"},
		"pushed twice": {func(_ sent, _ int, usual string) string { return usual + "\n" + usual }, "2 messages pushed"},
		"not JSON":     {func(sent, int, string) string { return "hello" }, "the server wrote"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := bench.Idle(t.Context(), asleep(startFake(t, &fake{push: c.push})), nil)

			requireKind(t, err, bench.Wrong, 5)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestIdleConnectionThatIsCutIsDown(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.onSend = func(s sent) { _ = f.groups[s.Group].conns[0].Close() }

	_, err := bench.Idle(t.Context(), asleep(startFake(t, f)), nil)

	requireKind(t, err, bench.Down, 4)
	require.ErrorContains(t, err, "connection lost")
}

func TestIdleThatCannotBeSetUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*bench.IdleConfig)
		want string
	}{
		"no such process":            {func(c *bench.IdleConfig) { c.PIDs = map[string]int{"server": 1 << 30} }, "memory of server"},
		"target without a process":   {func(c *bench.IdleConfig) { c.MaxKiB = 10 }, "no process"},
		"wrong secret":               {func(c *bench.IdleConfig) { c.Secret = []byte("?") }, "unauthorized"},
		"more than the machine does": {func(c *bench.IdleConfig) { c.Connections = 1 << 40 }, "ulimit -Hn"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := asleep(startFake(t, &fake{}))
			c.edit(&cfg)

			_, err := bench.Idle(t.Context(), cfg, nil)

			requireKind(t, err, bench.Setup, 2)
			require.ErrorContains(t, err, c.want)
		})
	}
}

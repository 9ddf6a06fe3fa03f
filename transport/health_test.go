package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var redisDown, sqlDown atomic.Bool
		fails := func(down *atomic.Bool) func(context.Context) error {
			return func(context.Context) error {
				if down.Load() {
					return errDown
				}
				return nil
			}
		}
		h := NewHealth(prometheus.NewRegistry(),
			Check{Name: "redis", Test: fails(&redisDown)},
			Check{Name: "mysql", Test: fails(&sqlDown), Degrades: true},
		)
		// look tells what /readyz says.
		look := func() (status int, view healthView) {
			w := httptest.NewRecorder()
			h.Ready(w, nil)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			require.NotContains(t, w.Body.String(), errDown.Error())
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &view))
			return w.Code, view
		}
		status, view := look()
		require.Equal(t, 503, status, "nothing is tested yet")
		require.Equal(t, int64(-1), view.Checks["redis"].AgeMS)

		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- h.Run(ctx) }()
		synctest.Wait()
		status, view = look()
		require.Equal(t, 200, status)
		require.True(t, view.Ready && !view.Degraded && view.Checks["redis"].OK && view.Checks["mysql"].OK)

		require.True(t, h.IsReady() && !h.IsLeaving())
		ok, met, _ := h.CheckNow("mysql")
		require.True(t, ok && time.Since(met) < checkInterval)

		sqlDown.Store(true)
		time.Sleep(10 * time.Second)
		ok, met, detail := h.CheckNow("mysql")
		require.False(t, ok)
		require.InDelta(t, 10, time.Since(met).Seconds(), 1, "since when it is so")
		require.Equal(t, "does not answer", detail)
		ok, met, _ = h.CheckNow("no such check")
		require.True(t, !ok && met.IsZero())
		status, view = look()
		require.Equal(t, 200, status, "worse, but it goes on")
		require.True(t, view.Degraded)
		require.False(t, view.Checks["mysql"].OK)

		sqlDown.Store(false)
		redisDown.Store(true)
		time.Sleep(2 * time.Second)
		status, view = look()
		require.Equal(t, 200, status, "for a moment")
		require.False(t, view.Checks["redis"].OK)
		time.Sleep(checkGrace)
		status, _ = look()
		require.Equal(t, 503, status)
		redisDown.Store(false)
		time.Sleep(2 * checkInterval)
		status, _ = look()
		require.Equal(t, 200, status)

		h.Leave()
		status, view = look()
		require.Equal(t, 503, status)
		require.Contains(t, view.Checks, "draining")
		require.True(t, h.IsLeaving() && !h.IsReady())
		w := httptest.NewRecorder()
		h.Alive(w, nil)
		require.Equal(t, 200, w.Code)
		cancel()
		require.NoError(t, <-over)
	})
}

func TestHealthTellsWhyOnlyWhereThatIsMeantToBeShown(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err    error
		detail string
	}{
		"a domain error":          {domain.Errorf(domain.CodeUnavailable, "the canary is 7 s old"), "the canary is 7 s old"},
		"one within another":      {fmt.Errorf("check: %w", domain.Errorf(domain.CodeUnavailable, "the canary is 7 s old")), "the canary is 7 s old"},
		"with a cause":            {domain.Unavailable(errDown, "Redis"), domain.Unavailable(errDown, "Redis").Message},
		"any other":               {errDown, "does not answer"},
		"one that took too long":  {context.DeadlineExceeded, "does not answer"},
		"one of a name and a key": {errors.New("dial tcp 10.0.0.7:6379: password=x"), "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHealth(prometheus.NewRegistry(), Check{Name: "redis", Test: func(context.Context) error { return row.err }})
			h.testAll(t.Context())
			w := httptest.NewRecorder()
			h.Ready(w, nil)
			require.Equal(t, 503, w.Code)
			var view healthView
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &view))
			require.Equal(t, row.detail, view.Checks["redis"].Detail)
			require.NotContains(t, w.Body.String(), errDown.Error())
		})
	}
}

func TestACheckThatCountsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		h := NewHealth(prometheus.NewRegistry(), Check{Name: "started", AtOnce: true, Test: func(context.Context) error {
			if down.Load() {
				return errDown
			}
			return nil
		}})
		ready := func() bool {
			h.testAll(t.Context())
			return h.view(time.Now()).Ready
		}
		require.True(t, ready())
		down.Store(true)
		require.False(t, ready(), "without the grace of the others")
		down.Store(false)
		require.True(t, ready())
	})
}

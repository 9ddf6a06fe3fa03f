package transport

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
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

		sqlDown.Store(true)
		time.Sleep(10 * time.Second)
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
		w := httptest.NewRecorder()
		h.Alive(w, nil)
		require.Equal(t, 200, w.Code)
		cancel()
		require.NoError(t, <-over)
	})
}

package transport

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// requireOverloaded wants a refusal before the upgrade that says when to come back.
func requireOverloaded(t *testing.T, response *http.Response) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
	var problem struct {
		Code         domain.Code
		Retryable    bool
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
	require.NoError(t, json.Unmarshal([]byte(readAll(t, response.Body)), &problem))
	require.Equal(t, domain.CodeOverloaded, problem.Code)
	require.True(t, problem.Retryable)
	require.Positive(t, problem.RetryAfterMS)
}

func TestConnectionsAboveTheLimitAreRefusedBeforeTheUpgrade(t *testing.T) {
	t.Parallel()
	f, url := listen(t, func(o *options) { o.cfg.Connections = 3 })
	ann := http.Header{"Authorization": {"Bearer " + tokenOf(t, "ann", time.Hour)}}
	var open []*websocket.Conn
	for range 3 {
		ws, response := upgrade(t, url, ann)
		require.NotNil(t, ws, response.Status)
		open = append(open, ws)
	}
	_, response := rawUpgrade(t, url, ann)
	requireOverloaded(t, response)
	_, response = rawUpgrade(t, url, http.Header{})
	require.Equal(t, http.StatusUnauthorized, response.StatusCode, "who may not come in does not learn of it")
	require.InDelta(t, 1, testutil.ToFloat64(f.metrics.refused.WithLabelValues("admission")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(f.metrics.notAdmitted), 0)
	require.Len(t, f.b.entered(), 3, "who is refused has no session")

	require.NoError(t, open[1].Close())
	require.Eventually(t, func() bool {
		_, response := rawUpgrade(t, url, ann)
		return response.StatusCode == http.StatusSwitchingProtocols
	}, patience, 5*time.Millisecond, "the place of one who left is free")
}

// However many come at once, and whatever becomes of them, none is counted for good.
func TestPlacesAreGivenBack(t *testing.T) {
	t.Parallel()
	f, url := listen(t, func(o *options) { o.cfg.Connections = 5 })
	ann := http.Header{"Authorization": {"Bearer " + tokenOf(t, "ann", time.Hour)}}
	old := http.Header{"Authorization": ann["Authorization"], "Sec-Websocket-Version": {"8"}}
	for range 10 {
		_, response := rawUpgrade(t, url, old)
		require.Equal(t, http.StatusBadRequest, response.StatusCode)
	}
	f.b.change(func(b *backend) { b.before = failing("Enter") })
	for range 10 {
		_, response := rawUpgrade(t, url, ann)
		require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	}
	f.b.change(func(b *backend) { b.before = nil })
	var most sync.WaitGroup
	for range 40 {
		most.Go(func() {
			if ws, _ := upgrade(t, url, ann); ws != nil {
				_ = ws.Close()
			}
		})
	}
	most.Wait()
	require.LessOrEqual(t, f.admitted.open.Load(), int64(5))
	require.Eventually(t, func() bool { return f.admitted.open.Load() == 0 }, patience, 5*time.Millisecond)
}

func TestHandshakesAboveTheRateAreRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, func(o *options) { o.cfg.Handshakes = 4 }, func(t *testing.T, s *piped) {
		for range 4 {
			s.dial(t, "ann")
		}
		for range 3 {
			_, response, err := s.try(tokenOf(t, "ann", time.Hour))
			require.ErrorIs(t, err, websocket.ErrBadHandshake)
			requireOverloaded(t, response)
		}
		time.Sleep(251 * time.Millisecond)
		s.dial(t, "bob")
		s.turnedAway(t, "bob", http.StatusServiceUnavailable)
		time.Sleep(time.Minute)
		for range 4 {
			s.dial(t, "cleo")
		}
		s.turnedAway(t, "cleo", http.StatusServiceUnavailable)
		synctest.Wait()
		require.InDelta(t, 5, testutil.ToFloat64(s.metrics.refused.WithLabelValues("admission")), 0)
	})
}

func TestWithoutLimitsEverybodyIsAdmitted(t *testing.T) {
	t.Parallel()
	a := newAdmission(0, 0)
	for range 100_000 {
		require.NoError(t, a.enter())
	}
}

package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"hearth/configs"
)

// TestDemoTokensHaveALimit: an address that asks for one token after the other is refused, also where requests have no limit.
func TestDemoTokensHaveALimit(t *testing.T) {
	t.Parallel()
	cfg := configs.Default()
	require.Zero(t, cfg.Limits.AddressRate)
	i := &Instance{cfg: cfg, registry: prometheus.NewRegistry(), limit: func(h http.Handler) http.Handler { return h }}
	router := chi.NewRouter()
	i.mountDemo(router)
	ask := func(address string) int {
		r := httptest.NewRequest(http.MethodPost, "http://chat.example/demo/token", strings.NewReader(`{"user":"demo-ann"}`))
		r.RemoteAddr = address + ":1"
		r.Header.Set("Origin", "http://chat.example")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusOK, ask("192.0.2.1"))
	require.Eventually(t, func() bool {
		for range 2 * demoAddressRate {
			if ask("192.0.2.1") == http.StatusTooManyRequests {
				return true
			}
		}
		return false
	}, time.Minute, time.Millisecond)
	require.Equal(t, http.StatusOK, ask("192.0.2.2"), "another address")
}

package transport

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/httprate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// addressed is a handler behind a limit, and the registry it counts in.
type addressed struct {
	http.Handler
	reg *prometheus.Registry
}

func behindLimit(perSecond int, proxies ...string) addressed {
	reg := prometheus.NewRegistry()
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return addressed{AddressLimit(perSecond, proxies, reg)(done), reg}
}

// from is a request's answer; forwarded is X-Forwarded-For, "" for none.
func (a addressed) from(peer, forwarded string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/v1/ws", nil)
	r.RemoteAddr = peer
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", forwarded)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// passed counts those of n requests that get through.
func (a addressed) passed(n int, peer, forwarded string) (passed int) {
	for range n {
		if a.from(peer, forwarded).Code == http.StatusNoContent {
			passed++
		}
	}
	return passed
}

func TestAPortBehindAForwardedAddressIsNoWayAroundTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := behindLimit(10, "127.0.0.0/8")
		require.Equal(t, 10, a.passed(15, "127.0.0.1:1", "192.0.2.1:4711"))
		require.Equal(t, 0, a.passed(5, "127.0.0.1:1", "192.0.2.7, 192.0.2.1:4712, 127.0.0.2"), "the same address")
		require.Equal(t, 10, a.passed(15, "127.0.0.1:1", "[2001:db8::1]:4711"))
	})
}

func TestAnAddressIsHeldToItsRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := behindLimit(10)
		require.Equal(t, 10, a.passed(30, "192.0.2.1:1000", ""))
		require.Equal(t, 0, a.passed(1, "192.0.2.1:2000", ""), "whatever the port")
		require.Equal(t, 10, a.passed(30, "192.0.2.2:1000", ""), "another address")
		require.Equal(t, 1, testutil.CollectAndCount(a.reg, "hearth_rate_limited_total"))

		w := a.from("192.0.2.1:1000", "")
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Len(t, w.Header(), 2, "no numbers of the limiter's: %v", w.Header())
		var problem struct {
			Code         domain.Code
			Retryable    bool
			RetryAfterMS int64 `json:"retry_after_ms"`
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &problem))
		require.Equal(t, domain.CodeRateLimited, problem.Code)
		require.True(t, problem.Retryable)
		require.Equal(t, int64(1000), problem.RetryAfterMS)

		time.Sleep(2 * time.Second)
		require.Equal(t, 10, a.passed(30, "192.0.2.1:1000", ""), "two seconds later")
	})
}

func TestAnIPv6AddressCountsByItsNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := behindLimit(10)
		passed := 0
		for i := range 30 {
			passed += a.passed(1, fmt.Sprintf("[2001:db8:1:2:%x::1]:1000", i), "")
		}
		require.Equal(t, 10, passed)
		require.Equal(t, 1, a.passed(1, "[2001:db8:1:3::1]:1000", ""))
		require.Equal(t, 10, a.passed(10, "192.0.2.1:1", ""))
		require.Equal(t, 0, a.passed(1, "[::ffff:192.0.2.1]:1", ""), "IPv4 in other clothes")
	})
}

func TestAddressesBehindProxies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := behindLimit(10, "127.0.0.0/8", "::1/128", "10.0.0.0/8")
		require.Equal(t, 10, a.passed(30, "127.0.0.1:1", "192.0.2.1"))
		require.Equal(t, 10, a.passed(30, "[::1]:1", "192.0.2.2"), "each client of a proxy by himself")
		require.Equal(t, 0, a.passed(1, "10.1.2.3:1", "198.51.100.9, 192.0.2.1, 10.9.9.9"), "through two of them")
		require.Equal(t, 0, a.passed(1, "127.0.0.1:1", "203.0.113.5, 192.0.2.1"), "what the client wrote himself is not believed")
		require.Equal(t, 10, a.passed(30, "192.0.2.3:1", "203.0.113.6"), "nor by who is no proxy")
		require.Equal(t, 0, a.passed(1, "192.0.2.3:1", "203.0.113.7"))
		require.Equal(t, 100, a.passed(100, "127.0.0.1:1", ""), "a proxy's own requests")
	})
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 10, behindLimit(10).passed(30, "127.0.0.1:1", "192.0.2.1"), "no proxies: a client as any")
	})
}

func TestNoAddressLimit(t *testing.T) {
	t.Parallel()
	a := behindLimit(0, "127.0.0.0/8")
	require.Equal(t, 2000, a.passed(2000, "192.0.2.1:1", ""))
	require.Zero(t, testutil.CollectAndCount(a.reg))
}

// An attack from very many addresses takes no more memory than one from maxAddresses.
func TestAddressesCountedAreBounded(t *testing.T) {
	t.Parallel()
	c := &addressCounter{LimitCounter: httprate.NewLocalLimitCounter(time.Second), max: 3}
	first := time.Unix(1, 0).UTC()
	count := func(address string, second time.Time) int {
		t.Helper()
		require.NoError(t, c.IncrementBy(address, second, 1))
		here, _, err := c.Get(address, second, second.Add(-time.Second))
		require.NoError(t, err)
		return here
	}
	for i := range 3 {
		require.Equal(t, 1, count(fmt.Sprint(i), first))
	}
	for i := 3; i < 10; i++ {
		require.Zero(t, count(fmt.Sprint(i), first), "one too many passes")
	}
	require.Equal(t, 2, count("0", first), "who is counted goes on to be")
	require.Equal(t, 1, count("9", first.Add(time.Second)), "another second")
}

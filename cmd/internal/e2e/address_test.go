package e2e

import (
	"net/http"
	"testing"
	"time"
)

// TestAddressRate: requests and handshakes of one address are refused above its rate, before their token is looked at;
// others go on, and the probes do always.
func TestAddressRate(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{env: map[string]string{"HEARTH_LIMITS_ADDRESS_RATE": "1"}})
	i := s.instances[0]
	ask := func(path, from string) *answer {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, "http://"+i.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if from != "" {
			request.Header.Set("X-Forwarded-For", from)
		}
		a, err := (&caller{t: t, http: s.http}).send(request)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, path := range []string{"/v1/groups", "/v1/ws", "/nowhere"} {
		var a *answer
		await(t, patience, path+" is refused for its address", func() (bool, any) {
			a = ask(path, "192.0.2.1, 198.51.100.7")
			return a.Status == http.StatusTooManyRequests, a.Status
		})
		a.saysWhen("rate_limited", time.Second)
	}
	ask("/v1/groups", "198.51.100.8").refused(401, "unauthorized", "")
	for range 20 { // this machine's own requests, and probes from wherever
		ask("/v1/groups", "").refused(401, "unauthorized", "")
		ask("/healthz", "198.51.100.7").ok(200, nil)
		ask("/readyz", "198.51.100.7").ok(200, nil)
	}
	s.counted(t, 0, `hearth_rate_limited_total{scope="address"}`)
}

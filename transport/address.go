package transport

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
	"github.com/prometheus/client_golang/prometheus"

	"hearth/domain"
	"hearth/transport/httpapi"
)

// maxAddresses is how many addresses are counted in a second. Against more of them at once no limit an address helps, and
// counting must not take the memory that they are after.
const maxAddresses = 100_000

// AddressLimit refuses requests, handshakes too, of addresses that send more than perSecond of them, before anything
// else is done; 0: no limit. IPv6 addresses count by their /64, which one customer has. Behind proxies, networks in the
// form of 10.0.0.0/8, the address is the last of X-Forwarded-For that is none of theirs; their own requests, such as
// health checks, are not limited.
func AddressLimit(perSecond int, proxies []string, reg prometheus.Registerer) func(http.Handler) http.Handler {
	if perSecond == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	refused := newLimited("address")
	reg.MustRegister(refused)
	counter := &addressCounter{LimitCounter: httprate.NewLocalLimitCounter(time.Second), max: maxAddresses}
	limiter := httprate.NewRateLimiter(perSecond, time.Second,
		httprate.WithLimitCounter(counter), httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
	address := middleware.ClientIPFromRemoteAddr
	if len(proxies) > 0 {
		fromXFF := middleware.ClientIPFromXFF(proxies...)
		address = func(next http.Handler) http.Handler { return withoutPorts(fromXFF(next)) }
	}
	return func(next http.Handler) http.Handler {
		return address(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ip := middleware.GetClientIP(r.Context())
			if ip != "" && limiter.OnLimit(w, r, httprate.CanonicalizeIP(ip)) {
				refused.Inc()
				httpapi.WriteError(w, &domain.Error{
					Code: domain.CodeRateLimited, Message: "too many requests from this address", RetryAfter: time.Second,
				})
				return
			}
			next.ServeHTTP(w, r)
		}))
	}
}

// withoutPorts takes the ports out of X-Forwarded-For, which some gateways write there: an address that is not understood
// would not be limited at all.
func withoutPorts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, line := range r.Header["X-Forwarded-For"] {
			hops := strings.Split(line, ",")
			for j, hop := range hops {
				if addr, err := netip.ParseAddrPort(strings.TrimSpace(hop)); err == nil {
					hops[j] = addr.Addr().String()
				}
			}
			r.Header["X-Forwarded-For"][i] = strings.Join(hops, ",")
		}
		next.ServeHTTP(w, r)
	})
}

// addressCounter forgets addresses after two seconds, as what it is made of, and takes no more than max in one. The
// limiter calls one method at a time.
type addressCounter struct {
	httprate.LimitCounter
	max     int
	second  time.Time
	counted int // addresses in it
}

// IncrementBy counts, but new addresses in a second that has enough of them: these pass.
func (c *addressCounter) IncrementBy(address string, second time.Time, n int) error {
	if !second.Equal(c.second) {
		c.second, c.counted = second, 0
	}
	here, _, err := c.Get(address, second, second.Add(-time.Second))
	if err != nil {
		return err
	}
	if here == 0 {
		if c.counted == c.max {
			return nil
		}
		c.counted++
	}
	return c.LimitCounter.IncrementBy(address, second, n)
}

package transport

import (
	"sync/atomic"

	"golang.org/x/time/rate"

	"hearth/domain"
)

// admission bounds how many connections an instance has, and how many it lets in a second. Those above would cost the
// ones there are, and have other instances to go to.
type admission struct {
	max        int64 // 0: no limit
	open       atomic.Int64
	handshakes *rate.Limiter // nil: no limit
}

func newAdmission(connections int, handshakes float64) *admission {
	a := &admission{max: int64(connections)}
	if handshakes > 0 {
		a.handshakes = rate.NewLimiter(rate.Limit(handshakes), int(max(1, handshakes)))
	}
	return a
}

// enter takes a place, which has to be given back with leave unless it fails with overloaded. Who is refused is told a
// time of his own to come back.
func (a *admission) enter() error {
	if n := a.open.Add(1); a.max > 0 && n > a.max {
		a.leave()
		return &domain.Error{Code: domain.CodeOverloaded, Message: "this instance has as many connections as it takes", RetryAfter: reconnectAfter()}
	}
	if a.handshakes != nil && !a.handshakes.Allow() {
		a.leave()
		return &domain.Error{Code: domain.CodeOverloaded, Message: "too many connect at once", RetryAfter: reconnectAfter()}
	}
	return nil
}

func (a *admission) leave() { a.open.Add(-1) }

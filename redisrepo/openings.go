package redisrepo

import (
	"time"

	"golang.org/x/time/rate"
)

// openings bounds the direct conversations that a user opens by way of this instance. The script's own limit is asked in
// each partition by itself, and strangers lie in all of them. A send counts when its conversation is not cached: whether
// MySQL has it is not yet known then. Whoever keeps to his rate does not notice.
type openings struct {
	rate  rate.Limit // 0: no limit
	burst int
	users map[string]*rate.Limiter
	sweep int // number of users at which those are looked for who have all their tokens
}

const minSweep = 1024

func newOpenings(perSecond float64, burst int) openings {
	return openings{rate: rate.Limit(perSecond), burst: max(1, burst), users: make(map[string]*rate.Limiter), sweep: minSweep}
}

// wait takes one and returns 0, or tells how long it is until there is one.
func (o *openings) wait(user string, now time.Time) time.Duration {
	if o.rate == 0 {
		return 0
	}
	limiter := o.users[user]
	if limiter == nil {
		o.forget(now)
		limiter = rate.NewLimiter(o.rate, o.burst)
		o.users[user] = limiter
	}
	taken := limiter.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait > 0 {
		taken.CancelAt(now)
	}
	return (wait + time.Millisecond - 1).Truncate(time.Millisecond) // as it is told
}

// forget leaves out the users who are as if they had never come, now and then.
func (o *openings) forget(now time.Time) {
	if len(o.users) < o.sweep {
		return
	}
	for user, limiter := range o.users {
		if limiter.TokensAt(now) >= float64(o.burst) {
			delete(o.users, user)
		}
	}
	o.sweep = max(minSweep, 2*len(o.users))
}

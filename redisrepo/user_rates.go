package redisrepo

import (
	"sync"
	"time"
)

// userRates holds users to their rate over all groups, as far as they send by way of this instance: the script can ask
// in one partition only. It is the script's own algorithm, GCRA: a time a user, at which he would have used up what he has
// sent.
type userRates struct {
	interval time.Duration // between messages; 0: no limit
	burst    time.Duration // of messages at once, as the time they use up

	mu      sync.Mutex // guards what follows
	arrival map[string]time.Time
	sweep   int // number of users at which those are looked for whose time has passed
}

const minSweep = 1024

func newUserRates(perSecond float64, burst int) *userRates {
	r := &userRates{arrival: make(map[string]time.Time), sweep: minSweep}
	if perSecond > 0 {
		r.interval = time.Duration(float64(time.Second) / perSecond)
		r.burst = time.Duration(max(1, burst)) * r.interval
	}
	return r
}

// take counts a message and returns 0, or tells how long it is, in whole milliseconds, until there is room for one.
func (r *userRates) take(user string, now time.Time) (wait time.Duration) {
	if r.interval == 0 {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	arrival, known := r.arrival[user]
	if !known {
		r.forget(now)
	}
	if arrival.Before(now) {
		arrival = now
	}
	arrival = arrival.Add(r.interval)
	if wait = arrival.Sub(now) - r.burst; wait > 0 {
		return (wait + time.Millisecond - 1).Truncate(time.Millisecond)
	}
	r.arrival[user] = arrival
	return 0
}

// giveBack takes a message back that was not stored.
func (r *userRates) giveBack(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if arrival, known := r.arrival[user]; known {
		r.arrival[user] = arrival.Add(-r.interval)
	}
}

// forget leaves out those whose time has passed, now and then.
func (r *userRates) forget(now time.Time) {
	if len(r.arrival) < r.sweep {
		return
	}
	for user, arrival := range r.arrival {
		if !arrival.After(now) {
			delete(r.arrival, user)
		}
	}
	r.sweep = max(minSweep, 2*len(r.arrival))
}

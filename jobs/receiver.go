package jobs

import (
	"sync"
	"time"
)

const (
	failingGroups = 3 // that fail with nothing told between, and the receiver is taken to fail for all
	minProbe      = time.Second
	maxProbe      = 10 * time.Second
)

// receiver is what an instance knows about the receiver of webhooks.
type receiver struct {
	mu     sync.Mutex      // guards what follows
	failed map[string]bool // groups that failed since something was told
	wait   time.Duration   // between questions; 0: it is not failing
}

// failing tells whether the receiver is taken to fail for all.
func (r *receiver) failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wait > 0
}

// fails counts a failure, and reports whether the receiver is taken to fail from now on.
func (r *receiver) fails(group string) (begins bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wait > 0 {
		return false
	}
	if r.failed == nil {
		r.failed = make(map[string]bool)
	}
	r.failed[group] = true
	if len(r.failed) < failingGroups {
		return false
	}
	r.wait = minProbe
	return true
}

// probed returns the pause until the next question; the one behind that is longer. It is 0 when the receiver has answered.
func (r *receiver) probed() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := r.wait
	r.wait = min(2*r.wait, maxProbe)
	return pause
}

// answers notes that something was told, and reports whether the receiver was taken to fail until now.
func (r *receiver) answers() (ends bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ends = r.wait > 0
	r.failed, r.wait = nil, 0
	return ends
}

package bench

import (
	"context"
	"sync/atomic"
	"time"
)

// The phases of a load, in order.
const (
	warming int32 = iota
	measuring
	stopped // no new requests; answers and pushes are still read
)

// course leads a load through its phases and takes the time and the processes' CPU time of the second one.
type course struct {
	meter                     *cpuMeter
	warmup, duration, timeout time.Duration

	phase atomic.Int32
	full  chan struct{} // closed by the load when it has had enough
	over  chan struct{} // closed when the load is to stop

	// Written by begin and end, read after run.
	began, ended time.Time
	cpu          cpuTimes // spent between the two
}

func newCourse(meter *cpuMeter, warmup, duration, timeout time.Duration) *course {
	return &course{
		meter: meter, warmup: warmup, duration: duration, timeout: timeout,
		full: make(chan struct{}), over: make(chan struct{}),
	}
}

// start begins to measure at once where there is no warm-up: before the first request, so that counts are exact.
func (c *course) start() error {
	if c.warmup >= 0 {
		return nil
	}
	return c.begin()
}

// run blocks until the measured time is over. It fails when a waiter gets no answer for the timeout.
func (c *course) run(ctx context.Context, waiters []waiter) error {
	p := newProgress(waiters, time.Now())
	if c.warmup > 0 {
		if err := c.watch(ctx, c.warmup, nil, p); err != nil {
			return err
		}
		if err := c.begin(); err != nil {
			return err
		}
	}
	if err := c.watch(ctx, c.duration, c.full, p); err != nil {
		return err
	}
	return c.end()
}

func (c *course) begin() error {
	before, err := c.meter.read()
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	c.cpu = before
	c.began = time.Now()
	c.phase.Store(measuring)
	return nil
}

func (c *course) end() error {
	c.phase.Store(stopped)
	c.ended = time.Now()
	close(c.over)
	after, err := c.meter.read()
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	c.cpu = after.minus(c.cpu)
	return nil
}

// measured is the time between begin and end.
func (c *course) measured() time.Duration { return c.ended.Sub(c.began) }

// watch lets the load run for d (0: until done is closed).
func (c *course) watch(ctx context.Context, d time.Duration, done <-chan struct{}, p *progress) error {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	tick := time.NewTicker(max(c.timeout/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return nil
		case <-done:
			return nil
		case now := <-tick.C:
			if user := p.stuck(now, c.timeout); user != "" {
				return errorf(Down, "user %s: no answer for %s", user, c.timeout)
			}
		}
	}
}

const settlePoll = 5 * time.Millisecond

// settle waits until settled holds; false when it did not within d.
func settle(ctx context.Context, d time.Duration, settled func() bool) (bool, error) {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for !settled() {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-deadline.C:
			return settled(), nil
		case <-tick.C:
		}
	}
	return true, nil
}

// waiter is a connection that may wait for answers.
type waiter interface {
	name() string
	answers() int64 // so far
	waits() bool
}

// progress remembers when each waiter was last answered.
type progress struct {
	waiters []waiter
	answers []int64
	since   []time.Time
}

func newProgress(waiters []waiter, now time.Time) *progress {
	p := &progress{waiters: waiters, answers: make([]int64, len(waiters)), since: make([]time.Time, len(waiters))}
	for i, w := range waiters {
		p.answers[i], p.since[i] = w.answers(), now
	}
	return p
}

// stuck finds somebody who waits and has not been answered for timeout; "" when there is nobody.
func (p *progress) stuck(now time.Time, timeout time.Duration) string {
	for i, w := range p.waiters {
		answers := w.answers()
		if answers != p.answers[i] || !w.waits() {
			p.answers[i], p.since[i] = answers, now
		} else if now.Sub(p.since[i]) >= timeout {
			return w.name()
		}
	}
	return ""
}

package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const settlePoll = 5 * time.Millisecond

// The phases of a load, in order.
const (
	warming int32 = iota
	measuring
	stopped // no new sends; answers and pushes are still read
)

// load is one run: a reader goroutine a connection (conn.loop) that also writes, and one conductor that moves the
// phases and watches. Connections share with the conductor only what is atomic.
type load struct {
	cfg        SendConfig
	meter      *cpuMeter
	groups     []*group
	conns      []*conn
	violations violations

	phase   atomic.Int32
	claimed atomic.Int64  // sends of the measured phase; counted only with cfg.Messages
	counted atomic.Int64  // acks of the measured phase; the same
	full    chan struct{} // closed when counted reaches cfg.Messages
	closing atomic.Bool   // from here on a read error is nobody's fault

	// Written by the conductor, read after run.
	began, ended time.Time
	cpu          cpuTimes // spent between the two
}

type group struct {
	id    string
	conns []*conn
}

func newLoad(cfg SendConfig, meter *cpuMeter) *load {
	l := &load{cfg: cfg, meter: meter, full: make(chan struct{})}
	for i := range cfg.Groups {
		l.groups = append(l.groups, &group{id: fmt.Sprintf("%sg%d", cfg.Prefix, i)})
	}
	for i := range cfg.Connections {
		g := l.groups[i%cfg.Groups]
		c := newConn(l, i, g)
		g.conns = append(g.conns, c)
		l.conns = append(l.conns, c)
	}
	return l
}

// run blocks until the load is over and every goroutine has ended; all connections are closed then.
func (l *load) run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	release := context.AfterFunc(ctx, l.closeAll)
	defer release()
	if l.cfg.Warmup < 0 {
		if err := l.begin(); err != nil { // before the first send, so that Messages is exact
			l.closeAll()
			return err
		}
	}
	for _, c := range l.conns {
		tasks.Go(c.loop)
	}
	tasks.Go(func() error {
		defer l.closeAll()
		return l.conduct(ctx)
	})
	return tasks.Wait()
}

func (l *load) conduct(ctx context.Context) error {
	if l.cfg.Warmup > 0 {
		if err := l.watch(ctx, l.cfg.Warmup, nil); err != nil {
			return err
		}
		if err := l.begin(); err != nil {
			return err
		}
	}
	if err := l.watch(ctx, l.cfg.Duration, l.full); err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	return l.settle(ctx)
}

func (l *load) begin() error {
	before, err := l.meter.read()
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	l.cpu = before
	l.began = time.Now()
	l.phase.Store(measuring)
	return nil
}

func (l *load) end() error {
	l.phase.Store(stopped)
	l.ended = time.Now()
	after, err := l.meter.read()
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	l.cpu = after.minus(l.cpu)
	return nil
}

// watch lets the load run for d (0: until done is closed) and fails when a connection gets no answer for cfg.Timeout.
func (l *load) watch(ctx context.Context, d time.Duration, done <-chan struct{}) error {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	tick := time.NewTicker(max(l.cfg.Timeout/4, time.Millisecond))
	defer tick.Stop()
	progress := newProgress(l.conns, time.Now())
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return nil
		case <-done:
			return nil
		case now := <-tick.C:
			if c := progress.stuck(now, l.cfg.Timeout); c != nil {
				return errorf(Down, "user %s: no answer for %s", c.user, l.cfg.Timeout)
			}
		}
	}
}

// settle waits until every send is answered and every connection of a group has seen its last message.
func (l *load) settle(ctx context.Context) error {
	deadline := time.NewTimer(l.cfg.Settle)
	defer deadline.Stop()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for !l.settled() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return l.unsettled()
		case <-tick.C:
		}
	}
	return nil
}

func (l *load) settled() bool {
	for _, g := range l.groups {
		want := g.lastSeq()
		for _, c := range g.conns {
			if c.outstanding.Load() > 0 || c.seen.Load() != want {
				return false
			}
		}
	}
	return true
}

// unsettled tells the two reasons apart: answers are missing (Down), or only pushes (a violation for each connection).
func (l *load) unsettled() error {
	missing := int32(0)
	for _, c := range l.conns {
		missing += c.outstanding.Load()
	}
	if missing > 0 {
		return errorf(Down, "%d sends unanswered %s after the end of the load", missing, l.cfg.Settle)
	}
	for _, g := range l.groups {
		want := g.lastSeq()
		for _, c := range g.conns {
			if seen := c.seen.Load(); seen != want {
				l.violations.add("user %s, group %s: last push is seq %d, not %d, %s after the end of the load", c.user, g.id, seen, want, l.cfg.Settle)
			}
		}
	}
	return nil
}

// lastSeq is the highest seq that any connection was told of, by ack or by push.
func (g *group) lastSeq() uint64 {
	var last uint64
	for _, c := range g.conns {
		last = max(last, c.seen.Load(), c.highestAck.Load())
	}
	return last
}

// mayClaim reports whether a connection may send one more.
func (l *load) mayClaim() bool {
	switch l.phase.Load() {
	case stopped:
		return false
	case measuring:
		return l.cfg.Messages == 0 || l.claimed.Add(1) <= l.cfg.Messages
	}
	return true
}

// counts reports whether an ack that has just come belongs to the measured ones.
func (l *load) counts() bool {
	if l.phase.Load() != measuring {
		return false
	}
	if l.cfg.Messages == 0 {
		return true
	}
	n := l.counted.Add(1)
	if n == l.cfg.Messages {
		close(l.full)
	}
	return n <= l.cfg.Messages
}

// closeAll may be called more than once, and while the connections are in use.
func (l *load) closeAll() {
	l.closing.Store(true)
	for _, c := range l.conns {
		c.close()
	}
}

// progress remembers when each connection was last answered.
type progress struct {
	conns []*conn
	acks  []int64
	since []time.Time
}

func newProgress(conns []*conn, now time.Time) *progress {
	p := &progress{conns: conns, acks: make([]int64, len(conns)), since: make([]time.Time, len(conns))}
	for i, c := range conns {
		p.acks[i], p.since[i] = c.acks.Load(), now
	}
	return p
}

// stuck finds a connection that waits and has not been answered for timeout; nil when there is none.
func (p *progress) stuck(now time.Time, timeout time.Duration) *conn {
	for i, c := range p.conns {
		acks := c.acks.Load()
		if acks != p.acks[i] || c.outstanding.Load() == 0 {
			p.acks[i], p.since[i] = acks, now
		} else if now.Sub(p.since[i]) >= timeout {
			return c
		}
	}
	return nil
}

// violations counts broken promises and keeps the first few in words.
type violations struct {
	mu      sync.Mutex // guards what follows; held for a moment only
	n       int64
	samples []string
}

const keptSamples = 10

func (v *violations) add(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n++
	if len(v.samples) < keptSamples {
		v.samples = append(v.samples, fmt.Sprintf(format, args...))
	}
}

func (v *violations) list() (n int64, samples []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.n, v.samples
}

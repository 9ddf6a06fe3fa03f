package bench

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// load is one run of Send: a reader goroutine a connection (conn.loop) that also writes, and one conductor that moves
// the phases and watches. Connections share with the conductor only what is atomic.
type load struct {
	crowd
	*course
	cfg    SendConfig
	groups []*group
	conns  []*conn

	claimed atomic.Int64 // sends of the measured phase; counted only with cfg.Messages
	counted atomic.Int64 // acks of the measured phase; the same
}

type group struct {
	id    string
	conns []*conn
}

func newLoad(cfg SendConfig, meter *cpuMeter) *load {
	l := &load{cfg: cfg, crowd: crowd{base: cfg.Base}, course: newCourse(meter, cfg.Warmup, cfg.Duration, cfg.Timeout)}
	rosters := make([]roster, cfg.Groups)
	for i := range rosters {
		rosters[i].id = cfg.groupID(i)
		l.groups = append(l.groups, &group{id: cfg.groupID(i)})
	}
	for i := range cfg.Connections {
		at := i % cfg.Groups
		c := newConn(l, i, l.groups[at])
		rosters[at].members = append(rosters[at].members, c.user)
		l.groups[at].conns = append(l.groups[at].conns, c)
		l.conns = append(l.conns, c)
	}
	l.crowd.groups = rosters
	return l
}

func (l *load) plan() plan {
	last := l.conns[len(l.conns)-1] // with the longest ids
	return plan{
		writeBuffer: len(last.send)*l.cfg.Batch + sendsAFrame, // one frame, one write
		lasts:       max(l.cfg.Warmup, 0) + l.cfg.Duration,
	}
}

// run blocks until the load is over and every goroutine has ended; all connections are closed then.
func (l *load) run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	release := context.AfterFunc(ctx, l.closeAll)
	defer release()
	if err := l.start(); err != nil {
		l.closeAll()
		return err
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

// conduct lets the load run, then waits until every send is answered and every connection of a group has seen its
// last message.
func (l *load) conduct(ctx context.Context) error {
	waiters := make([]waiter, len(l.conns))
	for i, c := range l.conns {
		waiters[i] = c
	}
	if err := l.course.run(ctx, waiters); err != nil {
		return err
	}
	settled, err := settle(ctx, l.cfg.Settle, l.settled)
	if settled || err != nil {
		return err
	}
	return l.unsettled()
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
				c.violated("last push is seq %d, not %d, %s after the end of the load", seen, want, l.cfg.Settle)
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

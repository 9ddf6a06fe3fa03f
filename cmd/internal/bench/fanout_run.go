package bench

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// scheduleFlights bounds what a schedule may put under way; a server that falls so far behind gets the rest later.
const scheduleFlights = 4096

// fanout is one run of Fanout: a reading goroutine a subscriber, one that publishes, and the conductor. They share the
// flights.
type fanout struct {
	crowd
	*course
	cfg         FanoutConfig
	template    template
	subscribers []*subscriber
	publisher   *publisher

	flights []flight // by number, modulo its length
	mask    int
	sent    atomic.Int64  // messages published or about to be
	ended   atomic.Int64  // flights
	landing chan struct{} // capacity 1: a flight has ended
}

// flight is a message under way. It is reused when nobody misses it any more.
type flight struct {
	due     atomic.Int64  // ns since the epoch of the run, when it was, or should have been, sent
	seq     atomic.Uint64 // 0: not known yet
	acked   atomic.Bool
	push    atomic.Pointer[push] // as the first one read it; nil: nobody has
	missing atomic.Int32         // subscribers that do not have it, and one for the ack
}

func newFanout(cfg FanoutConfig, meter *cpuMeter) *fanout {
	limit := cfg.InFlight
	if cfg.Rate > 0 {
		limit = scheduleFlights
	}
	size := 1 << bits.Len(uint(limit-1))
	f := &fanout{
		crowd: crowd{base: cfg.Base}, course: newCourse(meter, cfg.Warmup, cfg.Duration, cfg.Timeout),
		cfg: cfg, template: newTemplate(cfg.groupID(0), 0, cfg.Bytes),
		flights: make([]flight, size), mask: size - 1, landing: make(chan struct{}, 1),
	}
	members := make([]string, cfg.Subscribers)
	for i := range members {
		members[i] = cfg.userID(i)
		f.subscribers = append(f.subscribers, newSubscriber(f, f.socket(members[i], cfg.groupID(0))))
	}
	f.groups = []roster{{id: cfg.groupID(0), members: members}}
	f.publisher = newPublisher(f, f.subscribers[0], limit)
	return f
}

func (f *fanout) plan() plan {
	return plan{writeBuffer: len(f.template.send) + 64, lasts: max(f.cfg.Warmup, 0) + f.cfg.Duration}
}

func (f *fanout) flight(number int) *flight { return &f.flights[number&f.mask] }

// landed counts one of those who miss a message.
func (f *fanout) landed(number int) {
	if f.flight(number).missing.Add(-1) > 0 {
		return
	}
	f.ended.Add(1)
	select {
	case f.landing <- struct{}{}:
	default: // the publisher has not looked since the last one
	}
}

// told compares the seq of a message with what others were told; false when it differs.
func (f *fanout) told(number int, seq uint64) (former uint64, same bool) {
	known := &f.flight(number).seq
	if known.CompareAndSwap(0, seq) {
		return seq, true
	}
	former = known.Load()
	return former, former == seq
}

// run blocks until the load is over and every goroutine has ended; all connections are closed then.
func (f *fanout) run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	release := context.AfterFunc(ctx, f.closeAll)
	defer release()
	if err := f.start(); err != nil {
		f.closeAll()
		return err
	}
	for _, s := range f.subscribers {
		tasks.Go(s.loop)
	}
	tasks.Go(func() error { return f.publisher.run(ctx) })
	tasks.Go(func() error {
		defer f.closeAll()
		return f.conduct(ctx)
	})
	return tasks.Wait()
}

func (f *fanout) conduct(ctx context.Context) error {
	err := f.course.run(ctx, []waiter{f})
	if err != nil {
		if ctx.Err() == nil { // nothing else has failed: the server may answer well, and only not push
			f.checkEnds()
		}
		return err
	}
	if _, err := settle(ctx, f.cfg.Settle, f.settled); err != nil {
		return err
	}
	if f.unanswered() > 0 {
		return errorf(Down, "%d sends unanswered %s after the end of the load", f.unanswered(), f.cfg.Settle)
	}
	f.checkEnds()
	return nil
}

// The load waits as one: without the end of a flight nothing goes on.
func (f *fanout) name() string      { return f.publisher.via.user }
func (f *fanout) answers() int64    { return f.ended.Load() }
func (f *fanout) waits() bool       { return f.ended.Load() < f.sent.Load() }
func (f *fanout) unanswered() int64 { return f.sent.Load() - f.publisher.acks.Load() }

// settled: no more is published, and nobody misses anything.
func (f *fanout) settled() bool {
	select {
	case <-f.publisher.done:
		return !f.waits()
	default:
		return false
	}
}

// checkEnds finds the subscribers that did not get the last messages although all were acked.
func (f *fanout) checkEnds() {
	if f.unanswered() > 0 {
		return
	}
	sent := f.sent.Load()
	for _, s := range f.subscribers {
		if seen := s.seen.Load(); seen != sent {
			s.violated("%d messages sent and acked, pushed only up to the %dth", sent, seen)
		}
	}
}

// publisher sends, on the first subscriber's connection.
type publisher struct {
	fanout *fanout
	via    *subscriber
	limit  int // flights at once
	epoch  time.Time
	every  time.Duration // of a schedule; 0: closed loop
	done   chan struct{} // closed when run has ended

	oldest       int   // number of the oldest flight that has not landed
	measured     int64 // published in the measured phase; only with cfg.Messages
	measuredAcks int64 // belongs to the reader of via
	acks         atomic.Int64
}

func newPublisher(f *fanout, via *subscriber, limit int) *publisher {
	p := &publisher{fanout: f, via: via, limit: limit, epoch: time.Now(), done: make(chan struct{})}
	if f.cfg.Rate > 0 {
		p.every = time.Duration(float64(time.Second) / f.cfg.Rate)
	}
	return p
}

// run publishes until the load is over.
func (p *publisher) run(ctx context.Context) error {
	defer close(p.done)
	began := time.Now()
	var out []byte
	for number := 0; p.turn(ctx, began, number) && p.mayPublish(); number++ {
		due := time.Now()
		if p.every > 0 {
			due = began.Add(time.Duration(number) * p.every)
		}
		out = p.publish(out[:0], number, due)
		if err := p.via.write(out); err != nil {
			return err
		}
	}
	if p.awaitLanding(ctx, 1) && p.fanout.cfg.Messages > 0 {
		close(p.fanout.full)
	}
	return nil
}

func (p *publisher) publish(out []byte, number int, due time.Time) []byte {
	f := p.fanout
	flight := f.flight(number)
	flight.due.Store(int64(due.Sub(p.epoch)))
	flight.seq.Store(0)
	flight.acked.Store(false)
	flight.push.Store(nil)
	flight.missing.Store(int32(len(f.subscribers)) + 1)
	f.sent.Store(int64(number) + 1)
	return f.template.append(out, number)
}

// mayPublish counts the measured messages.
func (p *publisher) mayPublish() bool {
	f := p.fanout
	if f.cfg.Messages == 0 || f.phase.Load() != measuring {
		return true
	}
	p.measured++
	return p.measured <= f.cfg.Messages
}

// turn waits until the message may go; false when the load is over.
func (p *publisher) turn(ctx context.Context, began time.Time, number int) bool {
	if p.every > 0 {
		timer := time.NewTimer(time.Until(began.Add(time.Duration(number) * p.every)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.fanout.over:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return p.awaitLanding(ctx, p.limit)
}

// awaitLanding waits until fewer than limit flights are under way; false when the load is over.
func (p *publisher) awaitLanding(ctx context.Context, limit int) bool {
	f := p.fanout
	for {
		select {
		case <-f.over:
			return false
		default:
		}
		sent := int(f.sent.Load())
		for p.oldest < sent && f.flight(p.oldest).missing.Load() <= 0 {
			p.oldest++
		}
		if sent-p.oldest < limit {
			return true
		}
		select {
		case <-f.landing:
		case <-f.over:
		case <-ctx.Done():
			return false
		}
	}
}

// acked takes an ok; false when the line is something else. It is called by the reader of the publisher's connection.
func (p *publisher) acked(line []byte) bool {
	id, seq, ok := okOf(line)
	if !ok {
		return false
	}
	f, number := p.fanout, int(id)-firstNumber
	sent := int(f.sent.Load())
	if number < max(0, sent-len(f.flights)) || number >= sent || !f.flight(number).acked.CompareAndSwap(false, true) {
		return p.via.violated("an answer with seq %d to id %d, which has none in flight", seq, id)
	}
	if former, same := f.told(number, seq); !same {
		p.via.violated("ack and push of one message differ: seq %d, now %d by ack", former, seq)
	}
	p.acks.Add(1)
	if f.phase.Load() == measuring {
		p.measuredAcks++
	}
	f.landed(number)
	return true
}

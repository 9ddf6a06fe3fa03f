package transport

import (
	"context"
	"sync"
	"time"

	"hearth/domain"
	"hearth/transport/wire"
)

const (
	maxEarly      = 1000 // pushes kept while a gap before them is fetched; more are fetched again
	maxHeld       = 1000 // pushes kept for one subscription while its page is read
	repairTimeout = 5 * time.Second
	repairRetry   = 50 * time.Millisecond
)

// feed is what this instance hands to its connections of one group: every message, in seq order, once.
type feed struct {
	hub       *Hub
	group     string
	followers int // guarded by Hub.mu

	ctx    context.Context // done when nobody follows any more; repairs end with it
	cancel context.CancelFunc
	live   chan struct{} // closed when last is known for the first time

	mu        sync.Mutex // guards what follows
	isLive    bool
	gen       int64 // of the newest push; older ones are not believed
	last      int64 // every seq up to here was handed out or is a hole
	previous  int64 // seq of the last message handed out, or the position at the start
	early     map[int64]domain.Push
	repairing bool
	again     bool // a repair was asked for while one was under way
	behind    bool // at the last check of the tail, below the head, at behindAt
	behindAt  int64
	subs      map[*Conn]*subscription
}

// subscription is one connection's place in a feed.
type subscription struct {
	held    [][]byte // pushes that wait until the page before them is sent; nil once they need not
	holding bool
	dropped bool // more were pushed than can be held
}

// newFeed makes a feed that lives longer than ctx: until end.
func newFeed(ctx context.Context, h *Hub, group string) *feed {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &feed{
		hub: h, group: group, ctx: ctx, cancel: cancel, live: make(chan struct{}),
		early: make(map[int64]domain.Push),
		subs:  make(map[*Conn]*subscription),
	}
}

func (f *feed) end() { f.cancel() }

// confirmed starts the feed, or after a break of the connection looks for what was missed.
func (f *feed) confirmed() { f.repair() }

// push takes a message from pub/sub: the next one is handed out, a repeat dropped, a later one waits until what
// is missing before it was fetched.
func (f *feed) push(p domain.Push) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Gen < f.gen || f.isLive && p.Seq <= f.last {
		return
	}
	f.gen = p.Gen
	if f.isLive && p.Seq == f.last+1 {
		f.handOut(p)
		f.handOutEarly()
		return
	}
	if len(f.early) < maxEarly {
		f.early[p.Seq] = p
	}
	if f.isLive {
		f.hub.metrics.gaps.Inc()
		f.startRepair()
	}
}

// handOut gives a message to every subscription; f.mu is held.
func (f *feed) handOut(p domain.Push) {
	event := p.Event
	if f.previous != p.Seq-1 {
		event = wire.WithPrevSeq(event, f.previous)
	}
	for c, sub := range f.subs {
		switch {
		case p.Mute != "" && p.Mute == c.id:
		case !sub.holding:
			c.push(event)
		case len(sub.held) < maxHeld:
			sub.held = append(sub.held, event)
		default:
			sub.dropped = true
		}
	}
	f.hub.metrics.delivered.Add(float64(len(f.subs)))
	f.last, f.previous = p.Seq, p.Seq
	delete(f.early, p.Seq)
}

func (f *feed) handOutEarly() {
	for len(f.early) > 0 {
		p, ok := f.early[f.last+1]
		if !ok {
			break
		}
		f.handOut(p)
	}
}

// repair compares the feed's position with the group's head and fetches what is between.
func (f *feed) repair() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.startRepair()
}

// startRepair runs one repair at a time; f.mu is held.
func (f *feed) startRepair() {
	if f.repairing {
		f.again = true
		return
	}
	f.repairing = true
	f.hub.work.Go(func() {
		for more := true; more; {
			f.hub.repairs <- struct{}{}
			more = f.repairOnce()
			<-f.hub.repairs
		}
	})
}

// repairOnce fetches one page of what is missing and reports whether to go on.
func (f *feed) repairOnce() (more bool) {
	ctx, cancel := context.WithTimeout(f.ctx, repairTimeout)
	defer cancel()
	done, err := f.fetch(ctx)
	if code := domain.CodeOf(err); code == domain.CodeGone || code == domain.CodeNotFound {
		done, err = true, nil // nothing will come any more
		f.forgetEarly()
	}
	if err != nil && f.ctx.Err() == nil {
		f.hub.log.Warn().Err(err).Str("group", f.group).Msg("feed not repaired, trying again")
	}
	if err != nil || !done || f.waitsForEarly() {
		waitOrDone(f.ctx, repairRetry)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		f.repairing = false
		return false
	}
	f.handOutEarly()
	if err == nil && done && !f.again && len(f.early) == 0 {
		f.repairing = false
		return false
	}
	f.again = false
	return true
}

// waitsForEarly reports whether pushes lie there that the head does not know yet, as after a failover.
func (f *feed) waitsForEarly() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handOutEarly()
	return len(f.early) > 0
}

func (f *feed) forgetEarly() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.early)
}

// fetch reads the head and one page from the feed's position on; done tells that nothing is missing any more.
func (f *feed) fetch(ctx context.Context) (done bool, err error) {
	head, err := f.hub.history.Head(ctx, f.group)
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	if !f.isLive {
		f.isLive, f.last, f.previous = true, head.MaxSeq, head.MaxSeq
		for seq := range f.early {
			if seq <= f.last {
				delete(f.early, seq)
			}
		}
		close(f.live)
	}
	after := f.last
	f.mu.Unlock()
	if head.MaxSeq <= after {
		return true, nil
	}
	page, err := f.hub.history.After(ctx, head, after, head.MaxSeq, domain.MaxPage)
	if err != nil {
		return false, err
	}
	f.apply(page, head.MaxSeq)
	return !page.More, nil
}

// apply hands out a fetched page; what pub/sub brought meanwhile is not handed out again.
func (f *feed) apply(page domain.Page, top int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range page.Messages {
		if r.Seq <= f.last {
			continue
		}
		p, ok := f.early[r.Seq]
		if !ok {
			p = domain.Push{Group: f.group, Seq: r.Seq, Event: wire.AppendMessage(nil, r)}
		}
		f.handOut(p)
	}
	if !page.More {
		f.last = max(f.last, top) // what is behind the last message is a hole
	}
	for seq := range f.early {
		if seq <= f.last {
			delete(f.early, seq)
		}
	}
}

// checkTail fetches what is up to top when the feed has stood still below it since the last check: what is on its way
// has arrived by then.
func (f *feed) checkTail(top int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	behind := f.isLive && top > f.last
	if behind && f.behind && f.behindAt == f.last {
		f.startRepair()
	}
	f.behind, f.behindAt = behind, f.last
}

// wait blocks until the feed's position is known.
func (f *feed) wait(ctx context.Context) error {
	select {
	case <-f.live: // also when ctx is done as well
		return nil
	default:
	}
	select {
	case <-f.live:
		return nil
	case <-ctx.Done():
		return domain.Unavailable(ctx.Err(), "Redis")
	}
}

// catchUp brings the feed to at least seq, if the group has got that far.
func (f *feed) catchUp(ctx context.Context, seq int64) error {
	for {
		f.mu.Lock()
		last := f.last
		f.mu.Unlock()
		if last >= seq {
			return nil
		}
		f.repair()
		waitOrDone(ctx, repairRetry)
		if ctx.Err() != nil {
			return domain.Unavailable(ctx.Err(), "Redis")
		}
	}
}

// hold subscribes a connection whose pushes are kept back until release; it returns the position behind which
// they start. A former subscription of the connection is replaced.
func (f *feed) hold(c *Conn) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[c] = &subscription{holding: true}
	return f.last
}

// release sends the reply to a subscribe, if there is one, and behind it the pushes that were held. When they were
// too many, the connection is told to resync.
func (f *feed) release(c *Conn, reply []byte, resyncAfter int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reply != nil {
		c.reply(reply)
	}
	sub := f.subs[c]
	if sub == nil {
		return
	}
	if sub.dropped {
		delete(f.subs, c)
		c.push(wire.AppendResync(nil, []wire.Resync{{Group: f.group, AfterSeq: resyncAfter}}))
		return
	}
	for _, event := range sub.held { // asked for and bounded: not a sign that the reader is slow
		c.reply(event)
	}
	sub.held, sub.holding = nil, false
}

// add subscribes a connection from the feed's position on.
func (f *feed) add(c *Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[c] = &subscription{}
}

func (f *feed) remove(c *Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subs, c)
}

// users is the number of distinct users among the subscriptions.
func (f *feed) users() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	users := make(map[string]struct{}, len(f.subs))
	for c := range f.subs {
		users[c.claims.User] = struct{}{}
	}
	return len(users)
}

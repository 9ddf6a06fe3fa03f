package transport

import (
	"context"
	"sync"

	"hearth/domain"
	"hearth/transport/wire"
)

const (
	maxEarly = 1000 // pushes kept while a gap before them is fetched; more are fetched again
	maxHeld  = 1000 // pushes kept for one subscription while its page is read
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
	version   int64           // of the group and its members that the subscriptions agree with; 0: not known yet
	doubtful  bool            // pub/sub broke: who is still a member is asked before anything more is handed out
	breaks    int             // how often it did
	waiting   []domain.Notice // until they have been asked
	gen       int64           // of the newest push; older ones are not believed
	last      int64           // every seq up to here was handed out or is a hole
	previous  int64           // seq of the last message handed out, or there at the start
	early     map[int64]domain.Push
	recalls   map[int64]domain.Notice // of messages that were not handed out yet
	soundMS   int64                   // no recall from before this time was missed
	outdated  bool                    // a page that is being read may have what was recalled meanwhile
	repairing bool
	again     bool // a repair was asked for while one was under way
	behind    bool // at the last check of the tail, below the head, at behindAt
	behindAt  int64
	repairs   int          // how often history was repaired below last
	holes     domain.Holes // of the group at the last look; nil: not known
	subs      map[*Conn]*subscription
}

// subscription is one connection's place in a feed.
type subscription struct {
	group   string
	entered int64    // version of the group that the client knows it was let in at
	version int64    // and at which the user is last known to be in
	lost    bool     // its pushes were let go: the client has been told to subscribe again; guarded by Conn.mu
	held    [][]byte // pushes that wait until the page before them is sent; nil once they need not
	last    []byte   // the event that ended it, which waits for the same
	holding bool
	dropped bool          // more were pushed than can be held
	repair  *int64        // history was repaired above this seq, so the page may be without what came back; nil: it was not
	former  *subscription // that goes on if the page cannot be read; nil for none
}

// newFeed makes a feed that lives longer than ctx: until end.
func newFeed(ctx context.Context, h *Hub, group string) *feed {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &feed{
		hub: h, group: group, ctx: ctx, cancel: cancel, live: make(chan struct{}),
		early:   make(map[int64]domain.Push),
		recalls: make(map[int64]domain.Notice),
		subs:    make(map[*Conn]*subscription),
	}
}

func (f *feed) end() { f.cancel() }

// confirmed starts the feed, or after a break of the connection looks for what was missed.
func (f *feed) confirmed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubt()
}

// doubt has it looked for what was missed; f.mu is held. Pushes that wait may be of messages that were recalled since.
func (f *feed) doubt() {
	clear(f.early)
	f.doubtful = f.isLive
	f.breaks++
	f.startRepair()
}

// push takes a message from pub/sub: the next one is handed out, a repeat dropped, a later one waits until what
// is missing before it was fetched.
func (f *feed) push(p domain.Push) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Gen < f.gen || f.isLive && p.Seq <= f.last {
		return
	}
	f.gen = p.Gen
	if f.isLive && !f.doubtful && p.Seq == f.last+1 {
		f.handOutPush(p)
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

// handOutPush hands out what pub/sub has brought, once the journal has it: what is shown must not get lost. A generation
// that is over is not believed any more; f.mu is held.
func (f *feed) handOutPush(p domain.Push) (ok bool) {
	if ok = f.hub.journal.KeepPush(p); ok {
		f.handOut(p)
	}
	return ok
}

// handOut gives a message to every subscription; f.mu is held.
func (f *feed) handOut(p domain.Push) {
	event := p.Event
	recall, recalled := f.recalls[p.Seq]
	if recalled {
		event = recall.Recall.Entomb(event)
		delete(f.recalls, p.Seq)
		defer f.tell(recall) // to those who have pulled the message before
	}
	if f.previous != p.Seq-1 {
		event = wire.WithPrevSeq(event, f.previous)
	}
	for c, sub := range f.subs {
		switch {
		case p.Mute != "" && p.Mute == c.id:
		case !sub.holding:
			c.pushFrom(sub, event)
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
	for seq, p := range f.early {
		if f.hub.journal.Over(f.group, p.Gen) {
			delete(f.early, seq)
		}
	}
	for len(f.early) > 0 && !f.doubtful {
		p, ok := f.early[f.last+1]
		if !ok {
			break
		}
		if !f.handOutPush(p) {
			delete(f.early, p.Seq)
		}
	}
}

// noticed takes an event without a seq. While the members are asked, only what ends subscriptions is handed out.
func (f *feed) noticed(n domain.Notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.Repaired {
		f.repaired(n.After)
		return
	}
	if n.Recall != nil && !f.recalled(n) {
		return
	}
	if f.doubtful && !n.Dismissed && n.Gone == "" {
		switch {
		case len(f.waiting) < maxHeld:
			f.waiting = append(f.waiting, n)
		case n.Recall != nil: // it may be later than those that are being looked for
			f.doubt()
		}
		return
	}
	f.tell(n)
}

// recalled takes note of a recall, which must not get lost once it is shown. It reports whether it is to be told now: not
// before the message, nor when its generation is over: then it is not believed, and all are looked for that are true. f.mu
// is held.
func (f *feed) recalled(n domain.Notice) (tell bool) {
	switch {
	case !f.hub.journal.KeepRecall(*n.Recall):
		f.doubt()
		return false
	case f.isLive && n.Recall.Seq <= f.last:
		return true
	case len(f.recalls) < maxEarly:
		f.recalls[n.Recall.Seq] = n
		return false
	}
	// What is missing is read again and comes without content; of what they have pulled, clients are to ask.
	clear(f.recalls)
	clear(f.early)
	f.outdated = true
	f.startRepair()
	f.resync(f.drop(func(*Conn, *subscription) bool { return true }))
	return false
}

// tell hands out an event without a seq, and ends the subscriptions that it ends; f.mu is held.
func (f *feed) tell(n domain.Notice) {
	ends := func(c *Conn, sub *subscription) bool {
		return n.Dismissed || n.Gone != "" && n.Gone == c.claims.User && sub.version < n.Version
	}
	if len(n.Event) > 0 {
		for c, sub := range f.subs {
			f.tellOne(c, sub, n, ends(c, sub))
		}
	}
	if n.Dismissed || n.Gone != "" {
		f.drop(ends)
	}
	if n.Version == f.version+1 { // the subscriptions agree with it: nobody need be asked
		f.version = n.Version
	}
}

// tellOne hands an event to one connection; last tells that it is the last of the subscription. Whom it says to have come
// or gone is told by his notes, which lose none of several changes. f.mu is held.
func (f *feed) tellOne(c *Conn, sub *subscription, n domain.Notice, last bool) {
	user := c.claims.User
	switch {
	case n.Except != "" && (n.Except == c.id || n.Except == domain.ExceptUser(user)):
	case n.Gone != "" && n.Gone == user:
		if last && !sub.holding && c.toldOf(f.group) >= n.Version { // and then came the reply to a subscribe that was read before he went
			f.resync([]*Conn{c})
		}
	case n.Came != "" && n.Came == user:
	case sub.holding && last:
		sub.last = n.Event
	case sub.holding && len(sub.held) < maxHeld:
		sub.held = append(sub.held, n.Event)
	case sub.holding && n.Recall != nil:
		sub.dropped = true
	case n.Recall != nil: // whoever is too slow for it is told to subscribe again
		c.pushFrom(sub, n.Event)
	case last: // also to a reader that is too slow
		c.reply(n.Event)
	case !sub.holding:
		c.pushEvent(sub, n.Event)
	}
}

// tellSubscribed tells a connection that is subscribed already that its user has joined, unless it was told. One that has
// been told to subscribe again would take it for a subscription.
func (f *feed) tellSubscribed(c *Conn, n domain.Note) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if sub := f.subs[c]; sub != nil && !sub.lost && len(n.Event) > 0 && c.isNews(n.Group, n.Version) {
		c.enqueue(queued{object: n.Event})
	}
}

// drop ends some subscriptions; f.mu is held. It returns whose they were.
func (f *feed) drop(which func(c *Conn, sub *subscription) bool) (dropped []*Conn) {
	for c, sub := range f.subs {
		if which(c, sub) {
			delete(f.subs, c)
			c.start(task{own: func(context.Context) { c.forget(f) }})
			dropped = append(dropped, c)
		}
	}
	return dropped
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

// hold subscribes a connection whose pushes are kept back until release or restore; it returns the position behind
// which they start. version is the group's when the user was let in.
func (f *feed) hold(c *Conn, version int64) (sub *subscription, after int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sub = &subscription{group: f.group, entered: version, version: version, holding: true, former: f.subs[c]}
	f.subs[c] = sub
	return sub, f.last
}

// letIn notes as of which version of the group the user is known to be let in.
func (f *feed) letIn(sub *subscription, version int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sub.version = max(sub.version, version)
}

// release sends the reply to a subscribe, if there is one, and behind it the pushes that were held. When they were
// too many, or history was repaired meanwhile, the connection is told to resync, and also when its subscription ended
// before the reply.
func (f *feed) release(c *Conn, sub *subscription, reply []byte, resyncAfter int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reply != nil {
		c.keep(sub.former)
		c.reply(reply)
	}
	if sub.repair != nil {
		c.lastWord(sub)
		f.resyncFrom(c, sub, min(resyncAfter, *sub.repair))
		return
	}
	if sub.dropped {
		delete(f.subs, c)
		c.lastWord(sub)
		c.reply(wire.AppendResync(nil, []wire.Resync{{Group: f.group, AfterSeq: resyncAfter}}))
		return
	}
	for _, event := range sub.held { // asked for and bounded: not a sign that the reader is slow
		c.reply(event)
	}
	sub.held, sub.holding, sub.former = nil, false, nil
	c.lastWord(sub)
	if reply != nil && f.subs[c] != sub {
		c.reply(wire.AppendResync(nil, []wire.Resync{{Group: f.group}}))
	}
}

// restore lets the former subscription go on where the page of the new one cannot be read, unless that one was lost
// to a slow reader meanwhile.
func (f *feed) restore(c *Conn, sub *subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ended := f.subs[c] != sub
	delete(f.subs, c)
	if sub.former == nil {
		c.lastWord(sub)
		return
	}
	if !ended {
		f.subs[c] = sub.former
	}
	for _, event := range sub.held {
		c.pushFrom(sub.former, event)
	}
	c.lastWord(sub)
	switch {
	case ended:
		c.lose(sub.former)
	case sub.repair != nil:
		f.resyncFrom(c, sub.former, *sub.repair)
	case sub.dropped:
		c.lose(sub.former)
	}
}

// abandon ends a subscription whose page cannot be sent: of what it held only the event that ended it is told.
func (f *feed) abandon(c *Conn, sub *subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subs[c] == sub {
		delete(f.subs, c)
	}
	c.lastWord(sub)
}

// add subscribes a connection from the feed's position on. version is the group's when the user was let in.
func (f *feed) add(c *Conn, version int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[c] = &subscription{group: f.group, entered: version, version: version}
}

// endBefore ends a connection's subscription if it is from before a version of the group. It reports whether the client
// knows of one that has ended: its reply is written.
func (f *feed) endBefore(c *Conn, version int64) (known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(func(other *Conn, sub *subscription) bool {
		ends := other == c && sub.version < version
		known = known || ends && !sub.holding
		return ends
	})
	return known
}

// enteredSince reports whether the client knows that it was let in at a version of the group or later.
func (f *feed) enteredSince(c *Conn, version int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	sub := f.subs[c]
	return sub != nil && sub.entered >= version
}

// remove ends the subscription of a connection that asks for it.
func (f *feed) remove(c *Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sub := f.subs[c]; sub != nil {
		delete(f.subs, c)
		c.forgo(sub)
	}
}

// has reports whether the connection is subscribed.
func (f *feed) has(c *Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subs[c] != nil
}

// serves reports whether the connection is subscribed and was not told to subscribe again.
func (f *feed) serves(c *Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	sub := f.subs[c]
	if sub == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !sub.lost
}

// users are the distinct users among the subscriptions.
func (f *feed) users() map[string]struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	users := make(map[string]struct{}, len(f.subs))
	for c := range f.subs {
		users[c.claims.User] = struct{}{}
	}
	return users
}

package transport

import (
	"context"
	"maps"
	"slices"
	"time"

	"hearth/domain"
	"hearth/transport/wire"
)

const (
	repairTimeout = 5 * time.Second
	repairRetry   = 50 * time.Millisecond
	repairPace    = 10 * time.Millisecond // between pages: together they would not fit into a connection's queue
)

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
	moved, done, err := f.fetch(ctx)
	if code := domain.CodeOf(err); code == domain.CodeGone || code == domain.CodeNotFound {
		f.gone()
		done, err = true, nil
	}
	if err != nil && f.ctx.Err() == nil {
		f.hub.log.Warn().Err(err).Str("group", f.group).Msg("feed not repaired, trying again")
	}
	switch {
	case err != nil || !done && !moved || done && f.waitsForEarly():
		waitOrDone(f.ctx, repairRetry)
	case !done:
		waitOrDone(f.ctx, repairPace)
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

// gone ends the feed of a group that is no more: nothing will come.
func (f *feed) gone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.early)
	f.doubtful, f.waiting = false, nil
	f.resync(f.drop(func(*Conn, *subscription) bool { return true }))
}

// resync tells connections that they are not subscribed any more; trying again, they learn why.
func (f *feed) resync(conns []*Conn) {
	for _, c := range conns {
		c.reply(wire.AppendResync(nil, []wire.Resync{{Group: f.group}}))
	}
}

// repaired ends all subscriptions, to be begun again behind after: above it messages came back that were passed as a
// hole. One whose page is being read hears of it behind its reply, which would replace it otherwise. f.mu is held.
func (f *feed) repaired(after int64) {
	f.repairs++
	f.holes = nil // they have just changed
	for c, sub := range f.subs {
		if !sub.holding {
			f.resyncFrom(c, sub, after)
		} else if sub.repair == nil || after < *sub.repair {
			sub.repair = &after
		}
	}
}

// lookAt compares the group's holes with those of the last look: where messages came back, the word of it got lost with
// a break of pub/sub. A head from before what was handed out may lack newer holes and tells nothing; nor does it that
// expired ones are missing, which never come back: heads may overtake each other, and the cached holes may for a while be
// from before the last expiry. f.mu is held.
func (f *feed) lookAt(head *domain.Head) {
	if head.MaxSeq < f.last {
		return
	}
	before, holes := f.holes, head.Holes
	f.holes = holes
	for _, h := range before {
		if h.Reason == domain.HoleExpired {
			continue
		}
		for next := h.From; next <= min(h.To, f.last); {
			now, still := holes.At(next)
			if !still {
				f.repaired(next - 1)
				f.holes = holes
				return
			}
			next = now.To + 1
		}
	}
}

// resyncFrom ends a subscription and tells from where on to begin it again; f.mu is held.
func (f *feed) resyncFrom(c *Conn, sub *subscription, after int64) {
	delete(f.subs, c)
	c.forgo(sub) // what a slow reader loses of it is told with this
	c.start(task{own: func(context.Context) { c.forget(f) }})
	c.reply(wire.AppendResync(nil, []wire.Resync{{Group: f.group, AfterSeq: after, FromStart: true}}))
}

// heard is what an instance has heard of repairs of a group's history. The zero value: nothing, it does not follow the
// group. It is another one behind every repair, and where a feed may have missed one: two feeds count each for itself.
type heard struct {
	feed    *feed
	repairs int
}

// repairsOf is what this instance has heard of repairs of a group.
func (h *Hub) repairsOf(group string) heard {
	f := h.feed(group)
	if f == nil {
		return heard{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return heard{f, f.repairs}
}

// fetch reads the head and one page from the feed's position on. moved tells that the position has changed, done that
// nothing is missing any more.
func (f *feed) fetch(ctx context.Context) (moved, done bool, err error) {
	head, err := f.hub.history.Head(ctx, f.group)
	if err != nil {
		return false, false, err
	}
	after, verify := f.meet(head)
	if verify {
		if err := f.verify(ctx, head); err != nil {
			return false, false, err
		}
	}
	if head.MaxSeq <= after {
		return false, true, nil
	}
	page, err := f.hub.history.After(ctx, head, after, head.MaxSeq, domain.MaxPage)
	if err != nil {
		return false, false, err
	}
	f.apply(page, head.MaxSeq)
	return len(page.Messages) > 0, !page.More, nil
}

// meet starts the feed at its first head. It returns the feed's position, and whether the members have to be asked.
func (f *feed) meet(head *domain.Head) (after int64, verify bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isLive {
		f.isLive, f.last, f.previous, f.version = true, head.MaxSeq, lastMessage(head), head.Version
		f.soundMS = f.hub.soundFrom()
		f.forgetEarly()
		close(f.live)
	}
	f.outdated = false
	f.lookAt(head)
	return f.last, f.doubtful || f.version != head.Version
}

// clockSlack is how far the clock of a Redis may be behind that of the one whose place it takes, and how far what is known
// of it may be off.
const clockSlack = time.Minute

// soundFrom is a time by Redis' clock, by which recalls are timed, before anything that happens from now on.
func (h *Hub) soundFrom() int64 { return h.clock.NowMS() - clockSlack.Milliseconds() }

// lastMessage is the highest seq of a group that is not in a hole.
func lastMessage(head *domain.Head) int64 {
	seq := head.MaxSeq
	for {
		h, ok := head.Holes.At(seq)
		if !ok {
			return seq
		}
		seq = h.From - 1
	}
}

// verify ends the subscriptions of users who have no place in the group any more: that they were told may have got
// lost with the connection to pub/sub.
func (f *feed) verify(ctx context.Context, head *domain.Head) error {
	f.mu.Lock()
	breaks, doubtful, since, last := f.breaks, f.doubtful, f.soundMS, f.last
	f.mu.Unlock()
	now := f.hub.soundFrom()
	var recalls []domain.Recall
	if doubtful {
		var err error
		if recalls, err = f.hub.history.RecallsSince(ctx, f.group, since, last); err != nil {
			return err
		}
	}
	users := f.users()
	roles, err := f.hub.history.Roles(ctx, f.group, slices.Collect(maps.Keys(users)))
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doubtful, f.version = f.breaks != breaks, head.Version
	for _, c := range f.drop(func(c *Conn, sub *subscription) bool {
		_, asked := users[c.claims.User]
		role := roles[c.claims.User]
		out := asked && (role == domain.BlockedIn || role == domain.Outsider && head.Type != domain.Room)
		if asked && !out {
			sub.version = max(sub.version, head.Version)
		}
		return out && sub.version <= head.Version
	}) {
		c.explainDrop(f)
	}
	if !f.doubtful {
		if doubtful {
			f.soundMS = now
		}
		for _, r := range recalls { // some may have been told before
			f.tell(domain.Notice{Event: domain.RecallEvent(r), Recall: &r})
		}
		for _, n := range f.waiting {
			f.tell(n)
		}
		f.waiting = nil
	}
	return nil
}

// apply hands out a fetched page; what pub/sub brought meanwhile is not handed out again.
func (f *feed) apply(page domain.Page, top int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.doubtful || f.outdated { // pub/sub broke again, or more was recalled than is kept: another repair is due
		return
	}
	for _, r := range page.Messages {
		if r.Seq <= f.last {
			continue
		}
		p, ok := f.early[r.Seq] // the same message, in the form in which it is shared
		if !ok {
			p = domain.Push{Group: f.group, Seq: r.Seq, Mute: r.Mute, Event: wire.AppendMessage(nil, r)}
		}
		f.handOut(p)
	}
	if !page.More {
		f.last = max(f.last, top) // what is behind the last message is a hole
	}
	f.forgetEarly()
}

// forgetEarly forgets pushes that are not early any more; f.mu is held.
func (f *feed) forgetEarly() {
	for seq := range f.early {
		if seq <= f.last {
			delete(f.early, seq)
		}
	}
	for seq := range f.recalls {
		if seq <= f.last {
			delete(f.recalls, seq)
		}
	}
}

// checkTail fetches what is missing when the feed has stood still below the head since the last check: what is on its
// way has arrived by then. With atOnce it is not waited for.
func (f *feed) checkTail(head *domain.Head, atOnce bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.isLive {
		return
	}
	f.lookAt(head)
	if !atOnce && !f.doubtful { // pub/sub works
		f.soundMS = f.hub.soundFrom()
	}
	behind := head.MaxSeq > f.last
	if f.version != head.Version || behind && (atOnce || f.behind && f.behindAt == f.last) {
		f.startRepair()
	}
	f.behind, f.behindAt = behind, f.last
}

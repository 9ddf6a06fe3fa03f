package client

import (
	"context"
	"sync"
)

const (
	defaultHeld = 10_000
	maxNews     = 10_000   // groups that wait to be followed, or to be subscribed to again
	maxHeldSize = 64 << 20 // bytes, about
	eventSize   = 256      // of an event beside its text
)

// inbox is what was read and the follower has not taken up yet, in the order of reading. Pushes beyond the cap are not
// kept: a mark is left in the place of the first one of each group, and the group is read again from its cursor. What
// events ask the follower to do is kept once for each group. Answers are never refused, for no more than maxAsked of them
// are on their way, but they count: pushes give way to them.
type inbox struct {
	limit int
	wake  chan struct{} // capacity 1: there is something

	mu     sync.Mutex // guards what follows
	items  []item
	held   int             // pushes and events among items
	size   int             // bytes of these and of answers, about
	missed map[string]bool // groups whose mark waits among items; none of their pushes are kept until it is taken up
	news   *news           // not nil while its item waits
	closed bool
}

// item is a push or something to do.
type item struct {
	push   *push
	then   func()
	missed string // group whose mark this is
	event  bool
	size   int
}

// news is what events ask the follower to do. It may be done before its turn: it makes the follower subscribe, and what
// the server wrote before that no longer counts then.
type news struct {
	joined map[string]bool
	resync map[string]int64 // from which seq on, or fromCursor
	more   bool             // there were more groups than are kept: all are read again from their cursors
}

// fromCursor is above every seq.
const fromCursor = maxSeq + 1

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, wake: make(chan struct{}, 1), missed: make(map[string]bool)}
}

// do is never refused before close.
func (b *inbox) do(then func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(item{then: then})
}

// answer is never refused before close.
func (b *inbox) answer(size int, then func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(item{then: then, size: size})
}

// event is dropped when the inbox is full.
func (b *inbox) event(size int, then func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.full() {
		b.put(item{then: then, event: true, size: eventSize + size})
	}
}

// joined tells of a group that the user has got into.
func (b *inbox) joined(group string, take func(news)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.tell(take)
	if n.joined[group] || len(n.joined) < maxNews {
		n.joined[group] = true
	} else {
		n.more = true
	}
}

// resync tells of a group that the server has dropped, and has to be read from the lowest of the seqs told.
func (b *inbox) resync(group string, after int64, take func(news)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.tell(take)
	if before, ok := n.resync[group]; ok {
		n.resync[group] = min(before, after)
	} else if len(n.resync) < maxNews {
		n.resync[group] = after
	} else {
		n.more = true
	}
}

// tell makes sure that take will be called with the news it returns. It is called with mu held.
func (b *inbox) tell(take func(news)) *news {
	if b.news == nil {
		b.news = &news{joined: make(map[string]bool), resync: make(map[string]int64)}
		b.put(item{then: func() { take(b.takeNews()) }})
	}
	return b.news
}

func (b *inbox) takeNews() news {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := *b.news
	b.news = nil
	return n
}

// message keeps a push, or leaves the mark that calls missed.
func (b *inbox) message(p *push, missed func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.missed[p.Group]:
	case b.full():
		b.missed[p.Group] = true
		b.put(item{then: missed, missed: p.Group})
	default:
		b.put(item{push: p, size: p.size()})
	}
}

// full is asked with mu held.
func (b *inbox) full() bool { return b.held >= b.limit || b.size >= maxHeldSize }

// put is called with mu held.
func (b *inbox) put(i item) {
	if b.closed {
		return
	}
	b.items = append(b.items, i)
	b.count(i, 1)
	b.signal()
}

// count is called with mu held.
func (b *inbox) count(i item, sign int) {
	b.size += sign * i.size
	if i.push != nil || i.event {
		b.held += sign
	}
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// next waits for an item. ok is false when ctx has ended, or the inbox is closed and empty.
func (b *inbox) next(ctx context.Context) (i item, ok bool) {
	for ctx.Err() == nil {
		i, ok, closed := b.take()
		if ok || closed {
			return i, ok
		}
		select {
		case <-ctx.Done():
		case <-b.wake:
		}
	}
	return item{}, false
}

func (b *inbox) take() (i item, ok, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == 0 {
		b.items = nil // an inbox that was full once does not keep its room
		return item{}, false, b.closed
	}
	i = b.items[0]
	b.items[0] = item{}
	b.items = b.items[1:]
	b.count(i, -1)
	if i.missed != "" {
		delete(b.missed, i.missed)
	}
	return i, true, b.closed
}

// close lets what is in the inbox be taken, and nothing more be put in.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.signal()
}

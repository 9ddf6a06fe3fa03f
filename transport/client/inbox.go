package client

import (
	"context"
	"sync"
)

const (
	defaultHeld = 10_000
	maxHeldSize = 64 << 20 // bytes, about
)

// inbox is what was read and the follower has not taken up yet, in the order of reading. Pushes beyond the cap are not
// kept: a mark is left in the place of the first one of each group, and the group is read again from its cursor.
type inbox struct {
	limit int
	wake  chan struct{} // capacity 1: there is something

	mu     sync.Mutex // guards what follows
	items  []item
	held   int // pushes and events among items
	size   int
	missed map[string]bool // groups whose mark waits among items; none of their pushes are kept until it is taken up
	closed bool
}

// item is a push or something to do.
type item struct {
	push   *push
	then   func()
	missed string // group whose mark this is
	event  bool
}

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, wake: make(chan struct{}, 1), missed: make(map[string]bool)}
}

// do is never refused before close.
func (b *inbox) do(then func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(item{then: then})
}

// event is dropped when the inbox is full.
func (b *inbox) event(then func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.full() {
		b.put(item{then: then, event: true})
	}
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
		b.put(item{push: p})
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
	if i.push != nil {
		b.held += sign
		b.size += sign * i.push.size()
	}
	if i.event {
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

package domain

import (
	"sync"
	"time"
)

// Watermarks lets sends wait until their rows are committed. The zero value is ready.
type Watermarks struct {
	mu      sync.Mutex // guards the maps; never held while a done is called
	waiters map[string][]*waiter
	// The newest watermarks, for a Wait that comes after its Raise: of the last maxRecentMarks groups at least.
	recent, older map[string]mark
	// Messages that were refused, likewise: of the last maxRecentMarks at least.
	failed, failedBefore map[failure]struct{}
}

const maxRecentMarks = 4096

type mark struct{ gen, seq int64 }

type failure struct {
	group string
	mark
}

type waiter struct {
	gen, seq int64
	done     func(committed bool, err error)
	timer    *time.Timer
}

// Wait calls done(true, nil) when the group's watermark of the message's own generation reaches it, done(false, nil)
// after timeout, and with internal when the message was refused. done is called once, perhaps before Wait returns, and
// must not block.
func (w *Watermarks) Wait(a Accepted, timeout time.Duration, done func(committed bool, err error)) {
	wait := &waiter{gen: a.Gen, seq: a.Seq, done: done}
	w.mu.Lock()
	if failed := w.hasFailed(a); failed || w.reached(a) {
		w.mu.Unlock()
		if failed {
			done(false, refused())
		} else {
			done(true, nil)
		}
		return
	}
	defer w.mu.Unlock()
	if w.waiters == nil {
		w.waiters = make(map[string][]*waiter)
	}
	wait.timer = time.AfterFunc(timeout, func() { w.expire(a.Group, wait) })
	w.waiters[a.Group] = append(w.waiters[a.Group], wait)
}

func (w *Watermarks) reached(a Accepted) bool {
	m := w.newest(a.Group)
	return m.gen == a.Gen && m.seq >= a.Seq
}

func (w *Watermarks) hasFailed(a Accepted) bool {
	f := failure{a.Group, mark{a.Gen, a.Seq}}
	_, now := w.failed[f]
	_, before := w.failedBefore[f]
	return now || before
}

// refused is the answer to who waits for a row that there will not be.
func refused() error {
	return Errorf(CodeInternal, "the message could not be stored and has been put aside")
}

func (w *Watermarks) newest(group string) mark {
	if m, ok := w.recent[group]; ok {
		return m
	}
	return w.older[group]
}

// Raise tells that all rows of the group's generation gen up to seq are committed.
func (w *Watermarks) Raise(group string, gen, seq int64) {
	w.mu.Lock()
	if len(w.recent) >= maxRecentMarks || w.recent == nil {
		w.older, w.recent = w.recent, make(map[string]mark)
	}
	m := w.newest(group)
	if gen > m.gen || gen == m.gen && seq > m.seq { // Raises come from two sides, not always in order
		m = mark{gen, seq}
	}
	w.recent[group] = m
	reached := w.take(group, func(wait *waiter) bool { return wait.gen == gen && wait.seq <= seq })
	w.mu.Unlock()
	for _, wait := range reached {
		wait.done(true, nil)
	}
}

// Stored tells that the row of one message is committed, whatever becomes of those before it: the journal has written it.
func (w *Watermarks) Stored(group string, gen, seq int64) {
	w.mu.Lock()
	stored := w.take(group, func(wait *waiter) bool { return wait.gen == gen && wait.seq == seq })
	w.mu.Unlock()
	for _, wait := range stored {
		wait.done(true, nil)
	}
}

// Fail tells that the message of the group's generation gen with this seq was refused: there is no row of it. To be told
// before a watermark passes it.
func (w *Watermarks) Fail(group string, gen, seq int64) {
	w.mu.Lock()
	if len(w.failed) >= maxRecentMarks || w.failed == nil {
		w.failedBefore, w.failed = w.failed, make(map[failure]struct{})
	}
	w.failed[failure{group, mark{gen, seq}}] = struct{}{}
	failed := w.take(group, func(wait *waiter) bool { return wait.gen == gen && wait.seq == seq })
	w.mu.Unlock()
	for _, wait := range failed {
		wait.done(false, refused())
	}
}

// take takes those out of a group's waiters whose wait is over; mu is held.
func (w *Watermarks) take(group string, over func(*waiter) bool) (taken []*waiter) {
	var left []*waiter
	for _, wait := range w.waiters[group] {
		if over(wait) && wait.timer.Stop() {
			taken = append(taken, wait)
		} else {
			left = append(left, wait)
		}
	}
	w.keep(group, left)
	return taken
}

func (w *Watermarks) expire(group string, expired *waiter) {
	w.mu.Lock()
	var left []*waiter
	for _, wait := range w.waiters[group] {
		if wait != expired {
			left = append(left, wait)
		}
	}
	w.keep(group, left)
	w.mu.Unlock()
	expired.done(false, nil)
}

func (w *Watermarks) keep(group string, left []*waiter) {
	if len(left) == 0 {
		delete(w.waiters, group)
	} else {
		w.waiters[group] = left
	}
}

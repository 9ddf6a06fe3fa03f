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
}

const maxRecentMarks = 4096

type mark struct{ gen, seq int64 }

type waiter struct {
	gen, seq int64
	done     func(committed bool)
	timer    *time.Timer
}

// Wait calls done(true) when the group's watermark of the message's own generation reaches it, done(false) after
// timeout. done is called once, perhaps before Wait returns, and must not block.
func (w *Watermarks) Wait(a Accepted, timeout time.Duration, done func(committed bool)) {
	wait := &waiter{gen: a.Gen, seq: a.Seq, done: done}
	w.mu.Lock()
	if w.reached(a) {
		w.mu.Unlock()
		done(true)
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
	var reached, left []*waiter
	for _, wait := range w.waiters[group] {
		if wait.gen == gen && wait.seq <= seq && wait.timer.Stop() {
			reached = append(reached, wait)
		} else {
			left = append(left, wait)
		}
	}
	w.keep(group, left)
	w.mu.Unlock()
	for _, wait := range reached {
		wait.done(true)
	}
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
	expired.done(false)
}

func (w *Watermarks) keep(group string, left []*waiter) {
	if len(left) == 0 {
		delete(w.waiters, group)
	} else {
		w.waiters[group] = left
	}
}

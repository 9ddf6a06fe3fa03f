package webhook

import (
	"sync"
	"time"
)

const (
	breakAfter = 5 // failures in a row
	firstPause = time.Second
	maxPause   = 10 * time.Second
)

// breaker leaves a receiver alone that does not answer: after some failures in a row it is not asked for a while, then
// once, and again for longer when that fails, too.
type breaker struct {
	mu       sync.Mutex // guards what follows
	failures int        // in a row; no more are counted than break it
	pause    time.Duration
	until    time.Time
	probing  bool // the one question behind a pause is under way
}

// allow tells whether to ask; probe is to be handed to done, which is called whenever it said yes.
func (b *breaker) allow(now time.Time) (probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failures < breakAfter:
		return false, true
	case b.probing || now.Before(b.until):
		return false, false
	}
	b.probing = true
	return true, true
}

// done counts what came of it. The pause is that which begins with this failure, 0 for none; mended tells that one is over.
func (b *breaker) done(now time.Time, probe, failed bool) (pause time.Duration, mended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	if !failed {
		mended = b.failures >= breakAfter
		b.failures, b.pause = 0, 0
		return 0, mended
	}
	if b.failures < breakAfter {
		b.failures++
		probe = b.failures == breakAfter // the failure that breaks it begins a pause as a probe's does
	}
	if !probe {
		return 0, false // asked before the pause began
	}
	b.pause = min(maxPause, max(firstPause, 2*b.pause))
	b.until = now.Add(b.pause)
	return b.pause, false
}

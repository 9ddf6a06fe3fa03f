package client

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstDelay   = 500 * time.Millisecond
	longestDelay = 15 * time.Second
)

// backoff gives delays between attempts: anything from nothing to a bound that doubles. Half the clients of a server
// that went away come back in the first half, whatever the attempt; with a fixed part they would come in waves.
type backoff struct{ attempts int }

func (b *backoff) next() time.Duration {
	bound := longestDelay
	if b.attempts < 5 {
		bound = min(bound, firstDelay<<b.attempts)
		b.attempts++
	}
	return rand.N(bound)
}

func (b *backoff) reset() { b.attempts = 0 }

// pause reports whether the time passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

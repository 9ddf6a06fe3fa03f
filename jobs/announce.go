package jobs

import (
	"context"
	"maps"
	"time"

	"github.com/rs/zerolog"
)

const (
	announceInterval = 2 * time.Second
	announceAll      = 5 // every so many announcements everything is told again: Redis may have forgotten
)

// Announcer is the Redis side of the announcements.
type Announcer interface {
	// Announce tells that the instance lives, and its viewers of each group; 0 takes a group's count back.
	Announce(ctx context.Context, instance string, counts map[string]int) error
}

// Announce is the job that tells the other instances how many users this one has connected to each group.
type Announce struct {
	store    Announcer
	online   func() map[string]int
	instance string
	log      zerolog.Logger
}

// NewAnnounce makes the job; online counts the distinct users of each group here.
func NewAnnounce(store Announcer, online func() map[string]int, instance string, log zerolog.Logger) *Announce {
	return &Announce{store: store, online: online, instance: instance, log: log}
}

// Run announces until ctx is done, then takes everything back.
func (a *Announce) Run(ctx context.Context) error {
	tick := time.NewTicker(announceInterval)
	defer tick.Stop()
	told := map[string]int{}
	for round := 0; ; round++ {
		if round%announceAll == 0 {
			told = zeroes(told)
		}
		counts := a.online()
		if changes := changed(told, counts); a.tell(ctx, changes) {
			told = counts
		} else { // it may have been heard all the same: tell it again, or take it back
			told = maps.Clone(told)
			maps.Copy(told, zeroes(changes))
		}
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceInterval)
			defer cancel()
			a.tell(ctx, changed(told, nil))
			return nil
		case <-tick.C:
		}
	}
}

func (a *Announce) tell(ctx context.Context, counts map[string]int) bool {
	if err := a.store.Announce(ctx, a.instance, counts); err != nil {
		if ctx.Err() == nil {
			a.log.Warn().Err(err).Msg("viewers not announced")
		}
		return false
	}
	return true
}

// zeroes makes every count of counts one that has to be told again.
func zeroes(counts map[string]int) map[string]int {
	out := make(map[string]int, len(counts))
	for group := range counts {
		out[group] = 0
	}
	return out
}

// changed is what has to be told to get from told to now; groups that are gone get 0.
func changed(told, now map[string]int) map[string]int {
	out := make(map[string]int)
	for group := range told {
		if now[group] == 0 {
			out[group] = 0
		}
	}
	maps.Copy(out, now)
	for group, n := range now {
		if before, ok := told[group]; ok && before == n {
			delete(out, group)
		}
	}
	return out
}

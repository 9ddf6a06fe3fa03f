package jobs

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	announceInterval = 2 * time.Second
	announceAll      = 5 // every so many announcements all counts are told again: Redis may have forgotten
)

// Announcer is the Redis side of the announcements.
type Announcer interface {
	// Announce tells that the instance lives, and its viewers of each group; 0 takes a group's count back. known is
	// false when Redis had forgotten the instance, or others had taken it for dead.
	Announce(ctx context.Context, instance string, counts map[string]int) (known bool, err error)
	// Depart takes back that the instance lives.
	Depart(ctx context.Context, instance string) error
	// Restore writes sessions again where they are missing.
	Restore(ctx context.Context, sessions []domain.Session) error
	// Leave takes a session out.
	Leave(ctx context.Context, session domain.Session) (last bool, err error)
}

// Announce is the job that tells the other instances that this one lives, and how many users it has connected to each
// group. It is also the one that notices when Redis has forgotten the instance, and tells it everything again.
type Announce struct {
	store    Announcer
	online   func() map[string]int
	sessions func() []domain.Session
	instance string
	log      zerolog.Logger

	again atomic.Bool // Redis is another one: what it holds may be a second old
}

// NewAnnounce makes the job. online counts the distinct users of each group here. sessions lists the sessions let in
// here: one that begins to leave must no longer be among them.
func NewAnnounce(store Announcer, online func() map[string]int, sessions func() []domain.Session, instance string, log zerolog.Logger) *Announce {
	return &Announce{store: store, online: online, sessions: sessions, instance: instance, log: log}
}

// Again has all sessions told again with the next announcement: a Redis that took over may lack the newest.
func (a *Announce) Again() { a.again.Store(true) }

// announced is what Redis was told.
type announced struct {
	counts    map[string]int
	forgotten bool             // the sessions have to be told again
	restored  []domain.Session // told again, perhaps after they had left
}

// Run announces until ctx is done, then takes everything back.
func (a *Announce) Run(ctx context.Context) error {
	tick := time.NewTicker(announceInterval)
	defer tick.Stop()
	told := &announced{counts: map[string]int{}}
	for round := 0; ; round++ {
		if round%announceAll == 0 {
			told.counts = zeroes(told.counts)
		}
		if err := a.announce(ctx, told); err != nil && ctx.Err() == nil {
			a.log.Warn().Err(err).Msg("instance not announced")
		}
		select {
		case <-ctx.Done():
			a.depart(ctx, told)
			return nil
		case <-tick.C:
		}
	}
}

// announce tells what changed; everything when Redis has forgotten, or may have.
func (a *Announce) announce(ctx context.Context, told *announced) error {
	if a.again.Swap(false) {
		told.forgotten = true
	}
	before := len(told.counts)
	known, err := a.tell(ctx, told, a.online())
	if err == nil && !known && before > 0 { // without any before, these were all
		told.counts = zeroes(told.counts)
		_, err = a.tell(ctx, told, a.online())
	}
	if err != nil {
		told.forgotten = true // the next announcement finds the instance known, if this one was heard
		return err
	}
	if known && !told.forgotten {
		return nil
	}
	told.forgotten = true
	if err := a.restore(ctx, told); err != nil {
		return err
	}
	told.forgotten = false
	return nil
}

func (a *Announce) tell(ctx context.Context, told *announced, counts map[string]int) (known bool, err error) {
	changes := changed(told.counts, counts)
	if known, err = a.store.Announce(ctx, a.instance, changes); err != nil {
		unsure := maps.Collect(maps.All(told.counts)) // it may have been heard all the same: tell it again, or take it back
		maps.Copy(unsure, zeroes(changes))
		told.counts = unsure
		return false, err
	}
	told.counts = counts
	return known, nil
}

// restore writes the sessions again. Those that leave meanwhile may have left before they were written: they are taken
// out a second time.
func (a *Announce) restore(ctx context.Context, told *announced) error {
	sessions := a.sessions()
	told.restored = append(told.restored, sessions...)
	if err := a.store.Restore(ctx, sessions); err != nil {
		return err
	}
	here := make(map[string]bool)
	for _, s := range a.sessions() {
		here[s.Conn] = true
	}
	for _, s := range told.restored {
		if here[s.Conn] {
			continue
		}
		if _, err := a.store.Leave(ctx, s); err != nil {
			return err
		}
	}
	told.restored = nil
	return nil
}

// depart takes the counts back, then that the instance lives.
func (a *Announce) depart(ctx context.Context, told *announced) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), announceInterval)
	defer cancel()
	_, err := a.tell(ctx, told, nil)
	if err = errors.Join(err, a.store.Depart(ctx, a.instance)); err != nil {
		a.log.Warn().Err(err).Msg("announcement not taken back, it ends by itself")
	}
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

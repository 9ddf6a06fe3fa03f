package jobs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	announceInterval = 2 * time.Second
	announceAll      = 5       // every so many announcements all counts are told again: Redis may have forgotten
	maxLate          = 100_000 // sessions
)

// Announcer is the Redis side of the announcements.
type Announcer interface {
	// Announce tells that the instance lives, and its viewers of each group; 0 takes a group's count back. known is
	// false when Redis had forgotten the instance, or others had taken it for dead.
	Announce(ctx context.Context, instance string, counts map[string]int) (known bool, err error)
	// Depart takes back that the instance lives.
	Depart(ctx context.Context, instance string) error
	// Restore writes sessions again where they are missing, and returns the users whom others took for gone.
	Restore(ctx context.Context, sessions []domain.Session) (back []string, err error)
	// Leave takes a session out; last tells that the user has none now.
	Leave(ctx context.Context, session domain.Session) (last bool, err error)
}

// Here is what an instance has connected.
type Here interface {
	// Online counts the distinct users of each group.
	Online() map[string]int
	// Sessions lists the sessions let in. One that begins to leave must no longer be among them.
	Sessions() []domain.Session
}

// Teller tells who is there, and keeps to the session policy. It is called concurrently.
type Teller interface {
	// Offline tells that a user is gone, Online that he is there again, if that is still so.
	Offline(ctx context.Context, user string) error
	Online(ctx context.Context, user string) error
	// GiveWay ends those of the sessions that a later login has taken the place of.
	GiveWay(ctx context.Context, sessions []domain.Session) error
}

// Announce is the job that tells the other instances that this one lives, and how many users it has connected to each
// group. It is also the one that notices when Redis has forgotten the instance or is back, and then tells it everything
// again, and who has left meanwhile.
type Announce struct {
	store    Announcer
	here     Here
	teller   Teller
	instance string
	log      zerolog.Logger
	late     *dues[domain.Session] // that may be in Redis, and are not here
	gone     *dues[string]         // users of whom it is not told yet
	back     *dues[string]

	again atomic.Bool // Redis is another one: what it holds may be a second old
}

// NewAnnounce makes the job.
func NewAnnounce(store Announcer, here Here, teller Teller, instance string, log zerolog.Logger) *Announce {
	a := &Announce{
		store: store, here: here, teller: teller, instance: instance, log: log,
		gone: newDues("user is gone", 0, teller.Offline, log),
		back: newDues("user is back", 0, teller.Online, log),
	}
	a.late = newDues("session has left", maxLate, a.leave, log)
	return a
}

// Again has all sessions told again with the next announcement: a Redis that took over may lack the newest.
func (a *Announce) Again() { a.again.Store(true) }

// Late has a session taken out that may be in Redis though it has no connection: its Leave failed, or nobody knows
// whether its Enter did. That is tried behind announcements that were heard, and so behind what Redis may still have
// had to do for the session. At most maxLate are kept; those beyond end with the instance.
func (a *Announce) Late(session domain.Session) { a.late.add(session) }

// leave takes a late session out. It tells that the user is gone even if that was told before.
func (a *Announce) leave(ctx context.Context, session domain.Session) error {
	last, err := a.store.Leave(ctx, session)
	if err == nil && last {
		a.gone.add(session.User)
		a.gone.kick()
	}
	return err
}

// Begin announces the instance for the first time. Until then others take its sessions for those of a dead one: it must
// let none in.
func (a *Announce) Begin(ctx context.Context) error {
	_, err := a.store.Announce(ctx, a.instance, nil)
	return err
}

// announced is what Redis was told.
type announced struct {
	counts    map[string]int
	forgotten bool                      // the sessions have to be told again
	restored  map[string]domain.Session // told again, perhaps after they had left; by connection
}

// Run announces until ctx is done, then takes everything back.
func (a *Announce) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { a.late.run(ctx) })
	beside.Go(func() { a.gone.run(ctx) })
	beside.Go(func() { a.back.run(ctx) })
	tick := time.NewTicker(announceInterval)
	defer tick.Stop()
	told := &announced{counts: map[string]int{}, restored: map[string]domain.Session{}}
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
	known, err := a.tell(ctx, told, a.here.Online())
	if err == nil && !known && before > 0 { // without any before, these were all
		told.counts = zeroes(told.counts)
		_, err = a.tell(ctx, told, a.here.Online())
	}
	if err != nil {
		told.forgotten = true // the next announcement finds the instance known, if this one was heard
		return err
	}
	defer a.kick()
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

// kick has done what is due, now that Redis answers.
func (a *Announce) kick() {
	a.late.kick()
	a.gone.kick()
	a.back.kick()
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
	sessions := a.here.Sessions()
	for _, s := range sessions {
		told.restored[s.Conn] = s
	}
	back, err := a.store.Restore(ctx, sessions)
	if err != nil {
		return err
	}
	a.back.add(back...)
	for _, s := range a.here.Sessions() {
		delete(told.restored, s.Conn)
	}
	a.late.add(slices.Collect(maps.Values(told.restored))...)
	clear(told.restored)
	return a.teller.GiveWay(ctx, sessions)
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

package jobs_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// fakeAnnouncer keeps the counts and sessions as Redis would, and everything it was told.
type fakeAnnouncer struct {
	mu        sync.Mutex // guards all below
	alive     bool
	counts    map[string]int
	conns     map[string]bool
	told      []map[string]int
	restores  int
	gaveWay   int // sessions that were asked to
	leaves    int
	down      bool
	replyLost bool
	noRestore bool
	noLeave   bool
	onRestore func()   // called before the sessions are written
	back      []string // users whom Restore finds to have been gone

	deaf   bool // nobody can be told
	events []string
}

func newAnnouncer() *fakeAnnouncer {
	return &fakeAnnouncer{counts: map[string]int{}, conns: map[string]bool{}}
}

// set changes the fake between two announcements.
func (f *fakeAnnouncer) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// forget is what FLUSHALL does.
func (f *fakeAnnouncer) forget() {
	f.set(func() {
		f.alive = false
		clear(f.counts)
		clear(f.conns)
	})
}

func (f *fakeAnnouncer) viewers() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// connected are the sessions that Redis knows.
func (f *fakeAnnouncer) connected() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.conns))
}

// heard is the n-th announcement.
func (f *fakeAnnouncer) heard(n int) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told[n]
}

func (f *fakeAnnouncer) announcements() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.told)
}

func (f *fakeAnnouncer) restored() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.restores
}

func (f *fakeAnnouncer) lives() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.alive
}

func (f *fakeAnnouncer) Announce(_ context.Context, _ string, counts map[string]int) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, maps.Clone(counts))
	if f.down {
		return false, errors.New("away")
	}
	known := f.alive
	f.alive = true
	for group, n := range counts {
		if n == 0 {
			delete(f.counts, group)
		} else {
			f.counts[group] = n
		}
	}
	if f.replyLost {
		return false, errCut
	}
	return known, nil
}

func (f *fakeAnnouncer) GiveWay(_ context.Context, sessions []domain.Session) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gaveWay += len(sessions)
	return nil
}

func (f *fakeAnnouncer) Depart(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errors.New("away")
	}
	f.alive = false
	return nil
}

func (f *fakeAnnouncer) Restore(_ context.Context, sessions []domain.Session) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onRestore != nil {
		f.onRestore()
	}
	f.restores++
	for _, s := range sessions {
		f.conns[s.Conn] = true
	}
	if f.noRestore {
		return nil, errCut
	}
	return f.back, nil
}

func (f *fakeAnnouncer) Leave(_ context.Context, s domain.Session) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noLeave || f.down {
		return false, errCut
	}
	f.leaves++
	delete(f.conns, s.Conn)
	return len(f.conns) == 0, nil
}

func (f *fakeAnnouncer) Offline(_ context.Context, user string) error {
	return f.hear(user + " offline")
}

func (f *fakeAnnouncer) Online(_ context.Context, user string) error { return f.hear(user + " online") }

func (f *fakeAnnouncer) hear(event string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf {
		return errCut
	}
	f.events = append(f.events, event)
	return nil
}

// heardOf is what was told of users.
func (f *fakeAnnouncer) heardOf() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

func (f *fakeAnnouncer) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leaves
}

// here is what an instance has: viewers and sessions.
type here struct {
	mu    sync.Mutex // guards all below
	now   map[string]int
	conns []string
}

func (h *here) set(now map[string]int, conns ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now, h.conns = now, conns
}

func (h *here) Online() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.now)
}

func (h *here) Sessions() (list []domain.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conn := range h.conns {
		list = append(list, sessionOf(conn))
	}
	return list
}

func sessionOf(conn string) domain.Session {
	return domain.Session{Conn: conn, User: "u", Instance: "i1"}
}

func announcing(t *testing.T, redis *fakeAnnouncer, h *here) (stop func()) {
	t.Helper()
	_, stop = announcer(t, redis, h)
	return stop
}

func announcer(t *testing.T, redis *fakeAnnouncer, h *here) (a *jobs.Announce, stop func()) {
	t.Helper()
	a = jobs.NewAnnounce(redis, h, redis, "i1", zerolog.Nop())
	stop = start(t, a.Run)
	synctest.Wait()
	return a, stop
}

// rounds lets n announcements pass.
func rounds(n int) { after(time.Duration(n) * 2 * time.Second) }

func TestAnnounceTellsChangesAndEverythingNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{now: map[string]int{"a": 1, "b": 2}}
		stop := announcing(t, redis, h)
		require.Equal(t, map[string]int{"a": 1, "b": 2}, redis.viewers())
		require.Equal(t, 1, redis.announcements(), "the first tells everything anyway")
		h.set(map[string]int{"a": 3})
		rounds(1)
		require.Equal(t, map[string]int{"a": 3, "b": 0}, redis.heard(1), "only what changed is told")
		rounds(1)
		require.Empty(t, redis.heard(2), "nothing changed: only that the instance lives")

		redis.set(func() { clear(redis.counts) }) // Redis forgets, but not the instance
		rounds(5)
		require.Equal(t, map[string]int{"a": 3}, redis.viewers(), "everything is told again")

		redis.set(func() { redis.down = true })
		h.set(map[string]int{"c": 1})
		rounds(1)
		redis.set(func() { redis.down = false })
		rounds(1)
		require.Equal(t, map[string]int{"c": 1}, redis.viewers(), "what was not heard is told again")

		redis.set(func() { redis.replyLost = true })
		h.set(map[string]int{"d": 1})
		rounds(1)
		redis.set(func() { redis.replyLost = false })
		h.set(nil)
		rounds(1)
		require.Empty(t, redis.viewers(), "what may have been heard is taken back")

		h.set(map[string]int{"e": 1})
		rounds(1)
		stop()
		require.Empty(t, redis.viewers(), "a leaving instance takes its counts back")
		require.False(t, redis.lives(), "and that it lives")
	})
}

func TestAForgottenInstanceTellsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{now: map[string]int{"a": 1, "b": 2}}
		announcing(t, redis, h)
		redis.set(func() { redis.conns["c1"], redis.conns["c2"] = true, true }) // they entered
		h.set(map[string]int{"a": 1, "b": 2}, "c1", "c2")
		rounds(1)
		restores := redis.restored()
		redis.forget()
		rounds(1)
		require.Equal(t, map[string]int{"a": 1, "b": 2}, redis.viewers())
		require.Equal(t, []string{"c1", "c2"}, redis.connected())
		require.Equal(t, 2, redis.gaveWay, "if somebody has taken their place")
		rounds(10)
		require.Equal(t, restores+1, redis.restored(), "once is enough")
	})
}

// A server that takes over knows the instance, but not who came in the last second.
func TestSessionsAreToldAgainToAServerThatTookOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		a, _ := announcer(t, redis, h)
		h.set(nil, "c1")
		rounds(1)
		require.Empty(t, redis.connected())
		a.Again()
		rounds(1)
		require.Equal(t, []string{"c1"}, redis.connected())
		restores := redis.restored()
		rounds(3)
		require.Equal(t, restores, redis.restored())
	})
}

// The announcement that fails may be the one that made a Redis that had forgotten know the instance again.
func TestSessionsAreToldAgainAfterAFailedAnnouncement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		announcing(t, redis, h)
		h.set(map[string]int{"a": 1}, "c1")
		redis.forget()
		redis.set(func() { redis.replyLost = true })
		rounds(1)
		require.Empty(t, redis.connected())
		redis.set(func() { redis.replyLost, redis.noRestore = false, true })
		rounds(1)
		redis.set(func() { clear(redis.conns) }) // the failed one wrote nothing
		restores := redis.restored()
		rounds(1)
		require.Equal(t, restores+1, redis.restored(), "tried until it succeeds")
		redis.set(func() { redis.noRestore = false })
		rounds(1)
		require.Equal(t, []string{"c1"}, redis.connected())
	})
}

func TestASessionThatLeavesWhileAllAreToldDoesNotComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{conns: []string{"c1", "c2"}}
		redis.onRestore = func() { h.set(nil, "c2") } // c1 left just before it is written
		redis.noRestore = true                        // and nobody knows whether it was
		announcing(t, redis, h)
		redis.set(func() { redis.noRestore, redis.noLeave = false, true })
		rounds(1)
		require.Equal(t, []string{"c1", "c2"}, redis.connected())
		redis.set(func() { redis.noLeave = false })
		rounds(1)
		require.Equal(t, []string{"c2"}, redis.connected())
	})
}

func TestALeavingInstanceDepartsEvenIfItsCountsStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{now: map[string]int{"a": 1}}
		stop := announcing(t, redis, h)
		redis.set(func() { redis.replyLost = true })
		stop()
		require.False(t, redis.lives())
	})
}

func TestALateSessionIsTakenOutWhenRedisAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		a, _ := announcer(t, redis, h)
		redis.set(func() {
			redis.conns["c1"], redis.conns["c2"] = true, true
			redis.down = true
		})
		a.Late(sessionOf("c1"))
		rounds(3)
		require.Equal(t, []string{"c1", "c2"}, redis.connected())
		redis.set(func() { redis.down, redis.noLeave = false, true })
		rounds(3)
		require.Equal(t, []string{"c1", "c2"}, redis.connected())
		redis.set(func() { redis.noLeave = false })
		rounds(1)
		require.Equal(t, []string{"c2"}, redis.connected())
		require.Empty(t, redis.heardOf(), "it was not the last")

		redis.set(func() { redis.deaf = true })
		a.Late(sessionOf("c2"))
		rounds(3)
		require.Empty(t, redis.connected())
		redis.set(func() { redis.deaf = false })
		rounds(1)
		require.Equal(t, []string{"u offline"}, redis.heardOf(), "told until it is heard")
		leaves := redis.left()
		rounds(10)
		require.Equal(t, []string{"u offline"}, redis.heardOf())
		require.Equal(t, leaves, redis.left())
	})
}

func TestNotMoreThanSoManyLateSessionsAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		redis.down = true
		a, _ := announcer(t, redis, h)
		for i := range 100_010 {
			a.Late(sessionOf(strconv.Itoa(i)))
		}
		a.Late(sessionOf("0"))
		redis.set(func() { redis.down = false })
		rounds(1)
		require.Equal(t, 100_000, redis.left())
		a.Late(sessionOf("new"))
		rounds(1)
		require.Equal(t, 100_001, redis.left(), "there is room again")
	})
}

// Others took the instance for dead, and told that its users are gone.
func TestUsersOfAnInstanceThatIsBackAreToldToBeThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		announcing(t, redis, h)
		h.set(nil, "c1")
		redis.forget()
		redis.set(func() { redis.back, redis.deaf = []string{"u"}, true })
		rounds(1)
		require.Equal(t, []string{"c1"}, redis.connected())
		require.Empty(t, redis.heardOf())
		redis.set(func() { redis.deaf = false })
		rounds(1)
		require.Equal(t, []string{"u online"}, redis.heardOf())
		rounds(10)
		require.Equal(t, []string{"u online"}, redis.heardOf())
	})
}

// hungTeller never gets an answer of MySQL.
type hungTeller struct{}

func (hungTeller) Offline(ctx context.Context, _ string) error     { return hang(ctx) }
func (hungTeller) GiveWay(context.Context, []domain.Session) error { return nil }

func (hungTeller) Online(ctx context.Context, _ string) error { return hang(ctx) }

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestWhoCannotBeToldOfKeepsNeitherTheAnnouncementsNorTheLeavesWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		a := jobs.NewAnnounce(redis, h, hungTeller{}, "i1", zerolog.Nop())
		stop := start(t, a.Run)
		synctest.Wait()
		redis.set(func() { redis.back = []string{"u", "v"} })
		a.Again()
		before := redis.announcements()
		for i := range 50 {
			a.Late(domain.Session{Conn: strconv.Itoa(i), User: strconv.Itoa(i)})
			rounds(1)
		}
		require.Equal(t, 50, redis.announcements()-before)
		require.Equal(t, 50, redis.left())
		stop()
		require.False(t, redis.lives())
	})
}

func TestAnInstanceBeginsWithAnAnnouncementThatWasHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		a := jobs.NewAnnounce(redis, h, redis, "i1", zerolog.Nop())
		redis.down = true
		require.Error(t, a.Begin(t.Context()))
		redis.down = false
		require.NoError(t, a.Begin(t.Context()))
		require.True(t, redis.lives())
		h.set(map[string]int{"a": 1})
		start(t, a.Run)
		synctest.Wait()
		require.Equal(t, map[string]int{"a": 1}, redis.viewers())
		require.Zero(t, redis.restored(), "it had none to be told again")
	})
}

package jobs_test

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	down      bool
	replyLost bool
	noRestore bool
	noLeave   bool
	onRestore func() // called before the sessions are written
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

func (f *fakeAnnouncer) online() map[string]int {
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

func (f *fakeAnnouncer) Depart(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errors.New("away")
	}
	f.alive = false
	return nil
}

func (f *fakeAnnouncer) Restore(_ context.Context, sessions []domain.Session) error {
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
		return errCut
	}
	return nil
}

func (f *fakeAnnouncer) Leave(_ context.Context, s domain.Session) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noLeave {
		return false, errCut
	}
	delete(f.conns, s.Conn)
	return false, nil
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

func (h *here) online() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.now)
}

func (h *here) sessions() (list []domain.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conn := range h.conns {
		list = append(list, domain.Session{Conn: conn, User: "u", Instance: "i1"})
	}
	return list
}

func announcing(t *testing.T, redis *fakeAnnouncer, h *here) (stop func()) {
	t.Helper()
	stop = start(t, jobs.NewAnnounce(redis, h.online, h.sessions, "i1", zerolog.Nop()).Run)
	synctest.Wait()
	return stop
}

// rounds lets n announcements pass.
func rounds(n int) { after(time.Duration(n) * 2 * time.Second) }

func TestAnnounceTellsChangesAndEverythingNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{now: map[string]int{"a": 1, "b": 2}}
		stop := announcing(t, redis, h)
		require.Equal(t, map[string]int{"a": 1, "b": 2}, redis.online())
		require.Equal(t, 1, redis.announcements(), "the first tells everything anyway")
		h.set(map[string]int{"a": 3})
		rounds(1)
		require.Equal(t, map[string]int{"a": 3, "b": 0}, redis.heard(1), "only what changed is told")
		rounds(1)
		require.Empty(t, redis.heard(2), "nothing changed: only that the instance lives")

		redis.set(func() { clear(redis.counts) }) // Redis forgets, but not the instance
		rounds(5)
		require.Equal(t, map[string]int{"a": 3}, redis.online(), "everything is told again")

		redis.set(func() { redis.down = true })
		h.set(map[string]int{"c": 1})
		rounds(1)
		redis.set(func() { redis.down = false })
		rounds(1)
		require.Equal(t, map[string]int{"c": 1}, redis.online(), "what was not heard is told again")

		redis.set(func() { redis.replyLost = true })
		h.set(map[string]int{"d": 1})
		rounds(1)
		redis.set(func() { redis.replyLost = false })
		h.set(nil)
		rounds(1)
		require.Empty(t, redis.online(), "what may have been heard is taken back")

		h.set(map[string]int{"e": 1})
		rounds(1)
		stop()
		require.Empty(t, redis.online(), "a leaving instance takes its counts back")
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
		require.Equal(t, map[string]int{"a": 1, "b": 2}, redis.online())
		require.Equal(t, []string{"c1", "c2"}, redis.connected())
		rounds(10)
		require.Equal(t, restores+1, redis.restored(), "once is enough")
	})
}

// A server that takes over knows the instance, but not who came in the last second.
func TestSessionsAreToldAgainToAServerThatTookOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis, h := newAnnouncer(), &here{}
		a := jobs.NewAnnounce(redis, h.online, h.sessions, "i1", zerolog.Nop())
		start(t, a.Run)
		synctest.Wait()
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

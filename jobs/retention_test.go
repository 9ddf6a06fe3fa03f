package jobs_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

const keepFor = time.Minute // so that a round begins every six seconds

// archive is a model of what retention touches in MySQL and in Redis.
type archive struct {
	mu    sync.Mutex // guards all below
	rows  map[string]map[int64]int64
	gone  map[string]int64 // the end of each group's expired hole, in MySQL
	told  map[string]int64 // and in Redis
	noted map[string]int64
	marks map[string]int64 // watermarks; a group without one waits for nothing
	ahead time.Duration    // Redis' clock
	steps []string
	gate  func(step string) error // may block, too
}

func newArchive() *archive {
	return &archive{
		rows: map[string]map[int64]int64{}, gone: map[string]int64{}, told: map[string]int64{},
		noted: map[string]int64{}, marks: map[string]int64{},
	}
}

// step notes a request and asks the gate about it.
func (a *archive) step(ctx context.Context, format string, args ...any) error {
	name := fmt.Sprintf(format, args...)
	a.mu.Lock()
	a.steps = append(a.steps, name)
	gate := a.gate
	a.mu.Unlock()
	if gate != nil {
		if err := gate(name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// post adds n messages of this moment by Redis' clock.
func (a *archive) post(group string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rows := field(a.rows, group)
	last := a.gone[group]
	for seq := range rows {
		last = max(last, seq)
	}
	for i := range int64(n) {
		rows[last+1+i] = a.now()
	}
}

func (a *archive) now() int64 { return time.Now().Add(a.ahead).UnixMilli() }

func (a *archive) NowMS(ctx context.Context) (int64, error) {
	if err := a.step(ctx, "time"); err != nil {
		return 0, err
	}
	return a.now(), nil
}

func (a *archive) OldGroups(ctx context.Context, fromMS, beforeMS int64, limit int) (groups []string, next int64, err error) {
	if err := a.step(ctx, "old groups"); err != nil {
		return nil, 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	type row struct {
		group string
		ms    int64
	}
	var rows []row
	for _, group := range slices.Sorted(maps.Keys(a.rows)) {
		for _, ms := range a.rows[group] {
			if ms >= fromMS && ms < beforeMS {
				rows = append(rows, row{group, ms})
			}
		}
	}
	slices.SortStableFunc(rows, func(x, y row) int { return int(x.ms - y.ms) })
	next = beforeMS
	if len(rows) >= limit {
		rows = rows[:limit]
		next = rows[limit-1].ms
	}
	for _, r := range rows {
		if !slices.Contains(groups, r.group) {
			groups = append(groups, r.group)
		}
	}
	return groups, next, nil
}

func (a *archive) Expire(ctx context.Context, e domain.Expiry, beforeMS int64, limit int) (n int, err error) {
	if err := a.step(ctx, "expire %s", e.Group); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(a.rows[e.Group])) {
		if seq > e.UpTo || a.rows[e.Group][seq] >= beforeMS || n == limit {
			break
		}
		delete(a.rows[e.Group], seq)
		a.gone[e.Group] = seq
		n++
	}
	return n, nil
}

func (a *archive) Holes(ctx context.Context, group string) (domain.Holes, error) {
	if err := a.step(ctx, "holes %s", group); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return domain.Holes{{From: 1, To: a.gone[group], Reason: domain.HoleExpired}}, nil
}

func (a *archive) Expiring(ctx context.Context, groups []string) (list []domain.Expiry, err error) {
	if err := a.step(ctx, "expiring"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, group := range groups {
		a.noted[group] = a.now()
		mark, ok := a.marks[group]
		if !ok {
			mark = 1 << 53
		}
		list = append(list, domain.Expiry{Group: group, Gen: 1, UpTo: mark})
	}
	return list, nil
}

func (a *archive) SetHoles(ctx context.Context, group string, holes domain.Holes) error {
	if err := a.step(ctx, "set holes %s", group); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told[group] = holes[0].To
	return nil
}

func (a *archive) Expired(ctx context.Context, untilMS int64) (groups []string, err error) {
	if err := a.step(ctx, "expired"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for group, ms := range a.noted {
		if ms <= untilMS {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

func (a *archive) ForgetExpired(ctx context.Context, untilMS int64) error {
	if err := a.step(ctx, "forget"); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.noted, func(_ string, ms int64) bool { return ms <= untilMS })
	return nil
}

func (a *archive) through(gate func(step string) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gate = gate
}

// left is the number of messages in MySQL.
func (a *archive) left() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, rows := range a.rows {
		n += len(rows)
	}
	return n
}

func (a *archive) requireTold(t *testing.T, want map[string]int64) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Equal(t, want, a.told)
}

func (a *archive) count(step string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.steps {
		if s == step {
			n++
		}
	}
	return n
}

// retains starts the job on an instance that holds all leases if it is the first.
func retains(t *testing.T, w *world, name string, a *archive, age time.Duration, batch int) (stop func()) {
	t.Helper()
	i := newInstance(w, name, is(atGen(1)))
	unlease := i.leased(t)
	end := start(t, jobs.NewRetention(a, a, i.leases, age, batch, zerolog.Nop()).Run)
	return func() {
		end()
		unlease()
		i.leases.Release(t.Context())
	}
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// What another instance does to the holes of a group while they are taken over must not be undone by what was read before:
// behind the second time the group is forgotten, and nobody would look again.
func TestHolesThatChangeWhileTheyAreTakenOverAreReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		a.post("g", 3)
		a.through(func(step string) error {
			if step == "set holes g" && a.count("forget") == 0 && a.count(step) > 1 {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.gone["g"] = 2 // a message came back
			}
			return nil
		})
		retains(t, newWorld(), "first", a, keepFor, 10)
		sleep(2 * keepFor)
		require.NotZero(t, a.count("forget"))
		a.requireTold(t, map[string]int64{"g": 2})
	})
}

func TestMessagesGoWhenTheyAreOldByTheClockOfRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		a.ahead = -time.Hour
		a.post("a", 25)
		a.post("b", 1)
		retains(t, newWorld(), "first", a, keepFor, 10)
		sleep(30 * time.Second)
		a.post("a", 5)
		require.Equal(t, 31, a.left())
		sleep(keepFor - 31*time.Second)
		require.Equal(t, 31, a.left(), "none is old enough")
		sleep(8 * time.Second)
		require.Equal(t, 5, a.left())
		a.requireTold(t, map[string]int64{"a": 25, "b": 1})
		sleep(30 * time.Second)
		require.Zero(t, a.left())
		a.requireTold(t, map[string]int64{"a": 30, "b": 1})
	})
}

func TestOneInstanceDeletes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, first, second := newWorld(), newArchive(), newArchive()
		stop := retains(t, w, "first", first, keepFor, 10)
		retains(t, w, "second", second, keepFor, 10)
		sleep(20 * time.Second)
		require.NotZero(t, first.count("old groups"))
		require.Zero(t, second.count("time"))
		stop()
		sleep(20 * time.Second)
		require.NotZero(t, second.count("old groups"))
	})
}

func TestNothingIsDeletedThatIsKeptForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		a.post("a", 1)
		stop := retains(t, newWorld(), "first", a, 0, 10)
		sleep(time.Hour)
		require.Equal(t, 1, a.left())
		require.Empty(t, a.steps)
		stop()
	})
}

func TestNothingIsDeletedWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"time", "expired", "expiring"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newArchive()
				a.post("a", 3)
				a.through(func(s string) error {
					if s == step {
						return errCut
					}
					return nil
				})
				retains(t, newWorld(), "first", a, keepFor, 10)
				sleep(10 * time.Minute)
				require.Equal(t, 3, a.left())
				tries := a.count(step)
				require.Less(t, tries, 200, "it backs off")
				require.Greater(t, tries, 50, "and goes on trying")
				a.through(nil)
				sleep(20 * time.Second)
				require.Zero(t, a.left())
				a.requireTold(t, map[string]int64{"a": 3})
			})
		})
	}
}

// Redis hears of it in the next round, whoever has that, and once more in the one after.
func TestRedisFollowsAfterACrash(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"holes a", "set holes a"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, a := newWorld(), newArchive()
				a.post("a", 3)
				stop := retains(t, w, "first", a, keepFor, 10)
				a.through(func(s string) error {
					if s == step {
						return errCut
					}
					return nil
				})
				sleep(keepFor + 10*time.Second)
				require.Zero(t, a.left())
				a.requireTold(t, map[string]int64{})
				stop()
				a.through(nil)
				retains(t, w, "second", a, keepFor, 10)
				sleep(15 * time.Second)
				a.requireTold(t, map[string]int64{"a": 3})
				a.mu.Lock()
				defer a.mu.Unlock()
				require.Empty(t, a.noted)
			})
		})
	}
}

// What others read in MySQL before, and write to Redis behind it, is put right.
func TestRedisIsToldTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		a.post("a", 3)
		retains(t, newWorld(), "first", a, keepFor, 10)
		for a.count("set holes a") == 0 {
			sleep(10 * time.Millisecond)
		}
		a.mu.Lock()
		a.told["a"] = 0
		a.mu.Unlock()
		sleep(7 * time.Second)
		a.requireTold(t, map[string]int64{"a": 3})
		sleep(time.Minute)
		require.Equal(t, 2, a.count("set holes a"))
	})
}

// What may not go yet, be it more than a batch and all of one time, does not hold up the rest.
func TestWhatWaitsForMySQLStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		a.post("a", 30)
		a.marks["a"] = 4
		sleep(time.Second)
		a.post("b", 30)
		retains(t, newWorld(), "first", a, keepFor, 10)
		sleep(keepFor + 10*time.Second)
		require.Equal(t, 26, a.left())
		a.requireTold(t, map[string]int64{"a": 4, "b": 30})
		a.mu.Lock()
		a.marks["a"] = 30
		a.mu.Unlock()
		sleep(20 * time.Second)
		require.Zero(t, a.left())
	})
}

func TestRetentionRestsAsLongAsItWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		for i := range 20 {
			a.post(fmt.Sprint("g", i), 10)
		}
		var mu sync.Mutex
		var at []time.Time
		a.through(func(step string) error {
			if strings.HasPrefix(step, "expire ") {
				mu.Lock()
				at = append(at, time.Now())
				mu.Unlock()
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		})
		retains(t, newWorld(), "first", a, keepFor, 10)
		sleep(keepFor + 20*time.Second)
		require.Zero(t, a.left())
		mu.Lock()
		defer mu.Unlock()
		require.GreaterOrEqual(t, len(at), 20)
		for i := range at[1:] {
			require.GreaterOrEqual(t, at[i+1].Sub(at[i]), 200*time.Millisecond)
		}
	})
}

// A group that is begun is brought to its end: Redis hears of it before the instance is gone.
func TestAnInstanceThatLeavesTellsRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive()
		a.post("a", 1)
		a.post("b", 1)
		begun := make(chan struct{})
		a.through(func(step string) error {
			if step == "expire a" {
				close(begun)
				time.Sleep(time.Second)
			}
			return nil
		})
		stop := retains(t, newWorld(), "first", a, keepFor, 10)
		<-begun
		stop()
		require.Equal(t, 1, a.left(), "it does not go on")
		a.requireTold(t, map[string]int64{"a": 1})
	})
}

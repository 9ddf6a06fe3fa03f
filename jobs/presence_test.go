package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/jobs"
)

// graveyard is a jobs.Sweeper: users by the dead instance that they were connected to.
type graveyard struct {
	mu     sync.Mutex // guards all below
	dead   map[string][]string
	broken map[string]bool // instances whose sweep fails when the first user is done; "" is the list
	swept  []string
	told   []string
	deaf   map[string]bool // users of whom it cannot be told
	hung   bool            // nobody can, and it takes until the end of the wait
	trying int             // how many are being told
	most   int             // at once
}

func (g *graveyard) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *graveyard) DeadInstances(context.Context) (list []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken[""] {
		return nil, errCut
	}
	for instance := range g.dead {
		list = append(list, instance)
	}
	slices.Sort(list)
	return list, nil
}

func (g *graveyard) Sweep(_ context.Context, instance string) (gone []string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.swept = append(g.swept, instance)
	users := g.dead[instance]
	if g.broken[instance] && len(users) > 0 {
		g.dead[instance] = users[1:]
		return users[:1], errCut
	}
	delete(g.dead, instance)
	return users, nil
}

func (g *graveyard) offline(ctx context.Context, user string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trying++
	g.most = max(g.most, g.trying)
	defer func() { g.trying-- }()
	if g.hung {
		g.mu.Unlock()
		<-ctx.Done()
		g.mu.Lock()
		return ctx.Err()
	}
	if g.deaf[user] {
		return errors.New("away")
	}
	g.told = append(g.told, user)
	return nil
}

// gone are the users who were told to be gone.
func (g *graveyard) gone() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(slices.Values(g.told))
}

// sweeps are the instances swept, in order.
func (g *graveyard) sweeps() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.swept)
}

func (g *graveyard) start(t *testing.T) (stop func()) {
	t.Helper()
	stop = start(t, jobs.NewPresence(g, "me", g.offline, zerolog.Nop()).Run)
	synctest.Wait()
	return stop
}

func TestUsersOfDeadInstancesAreToldToBeGoneOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &graveyard{dead: map[string][]string{"i1": {"u", "v"}, "i2": nil, "me": {"w"}}}
		stop := g.start(t)
		require.Equal(t, []string{"u", "v"}, g.gone())
		require.Equal(t, []string{"i1", "i2"}, g.sweeps(), "it never takes itself for dead")
		g.set(func() { g.dead["i3"] = []string{"x"} })
		after(2 * time.Second)
		require.Equal(t, []string{"u", "v", "x"}, g.gone())
		after(time.Minute)
		require.Equal(t, []string{"u", "v", "x"}, g.gone())
		stop()
	})
}

func TestASweepThatFailsIsRepeatedAndKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &graveyard{
			dead:   map[string][]string{"i1": {"u", "v"}, "i2": {"w"}},
			broken: map[string]bool{"": true, "i1": true},
		}
		g.start(t)
		require.Empty(t, g.gone())
		g.set(func() { g.broken[""] = false })
		after(2 * time.Second)
		require.Equal(t, []string{"u", "w"}, g.gone(), "those who are gone beside an error, and the other instance's")
		g.set(func() { g.broken = nil })
		after(2 * time.Second)
		require.Equal(t, []string{"u", "v", "w"}, g.gone())
	})
}

func TestAUserOfWhomItCannotBeToldIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &graveyard{dead: map[string][]string{"i1": {"u", "v"}}, deaf: map[string]bool{"u": true}}
		g.start(t)
		require.Equal(t, []string{"v"}, g.gone())
		g.set(func() { g.deaf = nil })
		after(2 * time.Second)
		require.Equal(t, []string{"u", "v"}, g.gone())
		after(time.Minute)
		require.Equal(t, []string{"u", "v"}, g.gone())
	})
}

// A MySQL that hangs must not keep the dead from being swept, nor its users from being told of once it is back.
func TestSweepingDoesNotWaitForTheTelling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var users []string
		for i := range 40 {
			users = append(users, fmt.Sprintf("u%02d", i))
		}
		g := &graveyard{dead: map[string][]string{"i1": users}, hung: true}
		stop := g.start(t)
		for i := range 10 {
			g.set(func() { g.dead[fmt.Sprint("later", i)] = []string{fmt.Sprint("v", i)} })
			after(2 * time.Second)
		}
		require.Len(t, g.sweeps(), 11)
		require.Empty(t, g.gone())
		g.set(func() { g.hung = false })
		after(12 * time.Second) // those under way, and the next round
		require.Len(t, g.gone(), 50)
		g.set(func() {
			if g.most != 8 {
				t.Errorf("told at once: got %d, want 8", g.most)
			}
			g.hung, g.dead = true, map[string][]string{"i2": users}
		})
		after(2 * time.Second)
		before := time.Now()
		stop()
		require.Zero(t, time.Since(before), "the end waits for nobody")
	})
}

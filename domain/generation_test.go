package domain_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// newGenerations watches one partition; raised collects the generations that became current.
func newGenerations(p *fakePartition) (g *domain.Generations, raised *[]int64) {
	raised = &[]int64{}
	return domain.NewGenerations(1, p, p, p, p, func(_ int, gen int64) { *raised = append(*raised, gen) }), raised
}

// agreed is a partition whose Redis and MySQL are both at gen, settled.
func agreed(gen int64) *fakePartition {
	return &fakePartition{
		row:   domain.Generation{Gen: gen, Server: "replid-a", Settled: gen},
		redis: domain.Observed{Gen: gen, Server: "replid-a", Identity: "replid-a"},
	}
}

func TestAgrees(t *testing.T) {
	t.Parallel()
	row := domain.Generation{Gen: 2, Server: "a", Settled: 2}
	for name, c := range map[string]struct {
		row  domain.Generation
		o    domain.Observed
		want bool
	}{
		"same generation and server":      {row, domain.Observed{Gen: 2, Server: "a", Identity: "a"}, true},
		"settled or not":                  {domain.Generation{Gen: 2, Server: "a"}, domain.Observed{Gen: 2, Server: "a", Identity: "a"}, true},
		"another server answers":          {row, domain.Observed{Gen: 2, Server: "a", Identity: "b"}, false},
		"another server was set":          {row, domain.Observed{Gen: 2, Server: "b", Identity: "a"}, false},
		"another server, set and answers": {row, domain.Observed{Gen: 2, Server: "b", Identity: "b"}, false},
		"emptied":                         {row, domain.Observed{Identity: "a"}, false},
		"Redis is behind":                 {row, domain.Observed{Gen: 1, Server: "a", Identity: "a"}, false},
		"Redis is ahead":                  {row, domain.Observed{Gen: 3, Server: "a", Identity: "a"}, false},
		"no generation yet":               {domain.Generation{}, domain.Observed{}, false},
		"no generation yet, but a server": {domain.Generation{Server: "a"}, domain.Observed{Server: "a", Identity: "a"}, false},
	} {
		require.Equal(t, c.want, c.row.Agrees(c.o), name)
	}
}

func TestRenewRaisesOnlyWhenTheTwoDisagree(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(p *fakePartition)
		want   int64
		log    []string
	}{
		"they agree":             {func(*fakePartition) {}, 3, []string{"observe", "renew", "set", "flush"}},
		"restarted":              {func(p *fakePartition) { p.redis.Identity = "replid-b" }, 4, []string{"observe", "renew", "set", "flush", "wait", "drain", "settle"}},
		"emptied":                {func(p *fakePartition) { p.redis.Gen, p.redis.Server = 0, "" }, 4, []string{"observe", "renew", "set", "flush", "wait", "drain", "settle"}},
		"an older copy":          {func(p *fakePartition) { p.redis.Gen = 2 }, 4, []string{"observe", "renew", "set", "flush", "wait", "drain", "settle"}},
		"another died between":   {func(p *fakePartition) { p.row.Gen, p.row.Settled = 4, 3 }, 5, []string{"observe", "renew", "set", "flush", "wait", "drain", "settle"}},
		"another died unsettled": {func(p *fakePartition) { p.row.Settled = 2 }, 3, []string{"observe", "renew", "set", "flush", "wait", "drain", "settle"}},
		"the very first":         {func(p *fakePartition) { *p = fakePartition{redis: domain.Observed{Identity: "replid-a"}} }, 1, []string{"observe", "renew", "set", "flush", "wait", "drain", "settle"}},
	} {
		p := agreed(3)
		c.change(p)
		g, raised := newGenerations(p)
		require.Zero(t, g.Of(0), "nothing is known before")
		require.NoError(t, g.Renew(ctx, 0, 0), name)
		require.Equal(t, c.want, g.Of(0), name)
		require.Equal(t, c.want, g.Of(0), name)
		require.Equal(t, []int64{c.want}, *raised, name)
		require.Equal(t, c.log, p.log, "%s: drained before settled, settled before current", name)
		require.Equal(t, c.want, p.row.Settled, name)
		require.True(t, p.row.Agrees(p.redis), "%s: they agree afterwards: %+v %+v", name, p.row, p.redis)

		p.log = nil
		require.NoError(t, g.Renew(ctx, 0, c.want), name)
		require.Equal(t, []string{"observe", "renew", "set"}, p.log, "%s: once they agree nothing is raised", name)
		require.Equal(t, []int64{c.want}, *raised, name)
	}
}

func TestRenewAsksNobodyWhenANewerGenerationIsKnown(t *testing.T) {
	t.Parallel()
	p := agreed(3)
	g, _ := newGenerations(p)
	require.NoError(t, g.Renew(ctx, 0, 0))
	p.log = nil
	require.NoError(t, g.Renew(ctx, 0, 2))
	require.Empty(t, p.log)
}

func TestAFailedRenewIsUnavailableAndChangesNothing(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"observe", "renew", "set", "flush", "wait", "drain", "settle"} {
		p := agreed(3)
		g, raised := newGenerations(p)
		require.NoError(t, g.Renew(ctx, 0, 0))
		p.redis.Identity = "replid-b"
		p.fail = map[string]error{what: errDown}
		err := g.Renew(ctx, 0, 3)
		require.ErrorIs(t, err, errDown, what)
		requireCode(t, err, domain.CodeUnavailable, "")
		require.Equal(t, int64(3), g.Of(0), "%s failed", what)
		require.Equal(t, []int64{3}, *raised, "%s failed", what)

		p.fail = nil
		require.NoError(t, g.Renew(ctx, 0, 3), "after %s works again", what)
		require.Greater(t, g.Of(0), int64(3))
		require.Equal(t, g.Of(0), p.row.Settled)
	}
}

func TestRenewThatIsOvertakenStartsOver(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"set", "settle"} {
		synctest.Test(t, func(t *testing.T) {
			p := agreed(3)
			p.row.Settled = 2
			p.refuse = step == "set"
			if step == "settle" {
				p.fail = map[string]error{step: fmt.Errorf("settle: %w", domain.ErrOvertaken)}
			}
			g, raised := newGenerations(p)
			done := make(chan error, 1)
			go func() { done <- g.Renew(ctx, 0, 0) }()
			time.Sleep(100 * time.Millisecond) // until it has been overtaken a few times
			tries := p.count("renew")
			p.mu.Lock()
			p.refuse = false
			delete(p.fail, "settle")
			p.mu.Unlock()
			require.Greater(t, tries, 1, step)
			require.NoError(t, <-done, step)
			require.Equal(t, []int64{3}, *raised, step)
		})
	}
}

func TestRenewThatIsAlwaysOvertakenIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := agreed(3)
		p.refuse = true
		g, raised := newGenerations(p)
		requireCode(t, g.Renew(ctx, 0, 0), domain.CodeUnavailable, "")
		require.Zero(t, g.Of(0))
		require.Empty(t, *raised)
		require.Zero(t, p.count("settle"), "nothing is settled")
	})
}

func TestAGenerationNeverFalls(t *testing.T) {
	t.Parallel()
	p := agreed(7)
	g, raised := newGenerations(p)
	require.NoError(t, g.Renew(ctx, 0, 0))
	*p = *agreed(5) // both were put back
	requireCode(t, g.Renew(ctx, 0, 7), domain.CodeUnavailable, "")
	require.Equal(t, int64(7), g.Of(0))
	require.Equal(t, []int64{7}, *raised)
	require.Equal(t, 0, p.count("set"), "a server that is behind is not used")
}

func TestConcurrentRenewsAskOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(p *fakePartition)
		want   int64
		fails  bool
	}{
		"raised":      {func(p *fakePartition) { p.redis.Identity = "replid-b" }, 4, false},
		"still right": {func(*fakePartition) {}, 3, false},
		"failed":      {func(p *fakePartition) { p.fail = map[string]error{"renew": errDown} }, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := agreed(3)
				g, _ := newGenerations(p)
				require.NoError(t, g.Renew(ctx, 0, 0))
				c.change(p)
				p.log, p.blocked = nil, make(chan struct{})
				var done sync.WaitGroup
				errs := make([]error, 50)
				for i := range errs {
					done.Go(func() { errs[i] = g.Renew(ctx, 0, 3) })
				}
				synctest.Wait() // one asks, the others wait for it
				close(p.blocked)
				done.Wait()
				for _, err := range errs {
					if c.fails {
						requireCode(t, err, domain.CodeUnavailable, "")
					} else {
						require.NoError(t, err)
					}
				}
				require.Equal(t, 1, p.count("renew"), "calls of the store")
				require.Equal(t, c.want, g.Of(0))
			})
		})
	}
}

func TestARenewThatWaitsForAnotherCanBeGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := agreed(3)
		p.blocked = make(chan struct{})
		g, _ := newGenerations(p)
		var done sync.WaitGroup
		done.Go(func() { _ = g.Renew(ctx, 0, 0) })
		synctest.Wait()
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		err := g.Renew(canceled, 0, 0)
		require.ErrorIs(t, err, context.Canceled)
		requireCode(t, err, domain.CodeUnavailable, "")
		close(p.blocked)
		done.Wait()
	})
}

func TestRenewAllRenewsWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	p := agreed(2)
	g := domain.NewGenerations(4, p, p, p, p, nil)
	require.NoError(t, g.Renew(ctx, 2, 0))
	require.NoError(t, g.RenewAll(ctx))
	require.Equal(t, 4, p.count("renew"), "the one that is known is left alone")
	for partition := range 4 {
		require.Equal(t, int64(2), g.Of(partition))
	}
	require.NoError(t, g.RenewAll(ctx))
	require.Equal(t, 4, p.count("renew"))

	p.fail = map[string]error{"renew": errDown}
	requireCode(t, domain.NewGenerations(4, p, p, p, p, nil).RenewAll(ctx), domain.CodeUnavailable, "")
}

func TestGenerationsOfTwoMastersAreKeptApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := agreed(3)
		g, _ := newGenerations(p)
		require.NoError(t, g.Renew(ctx, 0, 0))
		renew := func() time.Duration {
			begun := time.Now()
			require.NoError(t, g.Renew(ctx, 0, g.Of(0)))
			return time.Since(begun)
		}
		for range 20 {
			p.redis.Identity += "'"
			require.Zero(t, renew(), "restarted")
			p.redis.Gen, p.redis.Server = 0, ""
			require.Zero(t, renew(), "emptied")
		}
		other := func() { p.row.Gen, p.row.Server, p.row.Settled = p.row.Gen+1, "the other master", p.row.Gen+1 }
		other()
		require.Zero(t, renew(), "whoever is there first")
		var slowest time.Duration
		for range 12 {
			other()
			took := renew()
			require.Greater(t, took, slowest/2, "they get slower")
			require.LessOrEqual(t, took, 7500*time.Millisecond)
			slowest = max(slowest, took)
		}
		require.GreaterOrEqual(t, slowest, 5*time.Second)

		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		other()
		requireCode(t, g.Renew(short, 0, g.Of(0)), domain.CodeUnavailable, "")
		time.Sleep(time.Minute)
		require.Zero(t, renew(), "it is calm again")
	})
}

func TestWhatIsOlderThanALearnedGenerationIsFlushedOnce(t *testing.T) {
	t.Parallel()
	p := agreed(3)
	g, raised := newGenerations(p)
	require.NoError(t, g.Learn(ctx, 0, 3))
	require.NoError(t, g.Learn(ctx, 0, 3))
	require.NoError(t, g.Learn(ctx, 0, 2))
	require.Equal(t, []int64{3}, p.flushed)
	require.Zero(t, g.Of(0), "to use it takes its Redis")
	require.Empty(t, *raised)

	p.fail = map[string]error{"flush": errDown}
	for range 2 {
		err := g.Learn(ctx, 0, 5)
		require.ErrorIs(t, err, errDown)
		requireCode(t, err, domain.CodeUnavailable, "")
		require.NoError(t, g.Learn(ctx, 0, 3), "that one is flushed")
	}
	p.fail = nil
	require.NoError(t, g.Learn(ctx, 0, 5), "after MySQL is back")
	require.NoError(t, g.Learn(ctx, 0, 4))
	require.Equal(t, []int64{3, 5}, p.flushed)

	p.row, p.redis.Gen = domain.Generation{Gen: 5, Server: "replid-a", Settled: 5}, 5
	require.NoError(t, g.Renew(ctx, 0, 0))
	require.Equal(t, []int64{3, 5}, p.flushed, "Renew finds it flushed")
	require.Equal(t, int64(5), g.Of(0))
}

func TestAGenerationThatManyLearnOfIsFlushedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := agreed(3)
		gate := make(chan struct{})
		p.onFlush = func() { <-gate }
		g, _ := newGenerations(p)
		var learning sync.WaitGroup
		for _, gen := range []int64{2, 3, 3, 3} {
			learning.Go(func() { require.NoError(t, g.Learn(ctx, 0, gen)) })
		}
		synctest.Wait()
		impatient, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		requireCode(t, g.Learn(impatient, 0, 3), domain.CodeUnavailable, "")
		require.Empty(t, p.flushed)
		close(gate)
		learning.Wait()
		require.LessOrEqual(t, len(p.flushed), 2, "got %v", p.flushed)
		require.Equal(t, int64(3), p.flushed[len(p.flushed)-1])
		require.NoError(t, g.Learn(ctx, 0, 3))
		require.Len(t, p.flushed, p.count("flush"))
	})
}

// renewing is a Renew that is given up after a minute.
func renewing(t *testing.T, g *domain.Generations) (done <-chan error) {
	patient, cancel := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	answer := make(chan error, 1)
	go func() { answer <- g.Renew(patient, 0, 0) }()
	return answer
}

// restarted is a partition whose generation 4 has begun on another server, while instances have not flushed.
func restarted(waiting ...string) *fakePartition {
	p := agreed(3)
	p.redis.Identity, p.waiting = "replid-b", waiting
	return p
}

func TestAGenerationWaitsUntilEveryInstanceHasFlushed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := restarted("i2", "i3")
		g, raised := newGenerations(p)
		done := renewing(t, g)
		time.Sleep(3 * time.Second)
		p.set(func() { p.waiting = []string{"i3"} })
		time.Sleep(time.Second)
		require.Zero(t, p.count("drain")+p.count("settle"), "before all have flushed")
		require.Equal(t, []int64{4}, p.flushed, "its own first: others wait for it as well")
		require.Zero(t, g.Of(0))
		require.Empty(t, *raised)
		asked := p.count("wait")
		require.Less(t, asked, 60, "in 4 s")
		p.set(func() { p.waiting = nil })
		told := time.Now()
		require.NoError(t, <-done)
		require.LessOrEqual(t, time.Since(told), 100*time.Millisecond)
		require.Equal(t, int64(4), g.Of(0))
		require.Equal(t, int64(4), p.row.Settled)
	})
}

func TestAGenerationThatAnotherInstanceSettlesIsNotSettledAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := restarted("i2")
		g, _ := newGenerations(p)
		done := renewing(t, g)
		time.Sleep(time.Second)
		p.set(func() { p.row.Settled = 4 })
		require.NoError(t, <-done)
		require.Equal(t, int64(4), g.Of(0))
		require.Zero(t, p.count("drain")+p.count("settle"))
	})
}

func TestAGenerationThatIsOvertakenWhileItWaitsStartsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := restarted("i2")
		g, raised := newGenerations(p)
		done := renewing(t, g)
		time.Sleep(time.Second)
		p.set(func() { // another instance found yet another server
			p.row.Gen, p.row.Server, p.waiting = 5, "replid-c", nil
			p.redis = domain.Observed{Gen: 5, Server: "replid-c", Identity: "replid-c"}
		})
		require.NoError(t, <-done)
		require.Equal(t, int64(5), g.Of(0))
		require.Equal(t, []int64{5}, *raised)
		require.Equal(t, []int64{4, 5}, p.flushed)
		require.Equal(t, int64(5), p.row.Settled)
	})
}

func TestAGenerationThatWaitsTooLongSaysForWhom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := restarted("i2", "i7")
		g, raised := newGenerations(p)
		patient, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err := g.Renew(patient, 0, 0)
		requireCode(t, err, domain.CodeUnavailable, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "i2")
		require.ErrorContains(t, err, "i7")
		require.Zero(t, g.Of(0))
		require.Empty(t, *raised)

		p.waiting = nil
		require.NoError(t, g.Renew(ctx, 0, 0))
		require.Equal(t, int64(4), g.Of(0), "the generation that was begun, not yet another")
		require.Equal(t, []int64{4}, p.flushed)
	})
}

package jobs_test

import (
	"context"
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

// servers is a jobs.Observer: what Redis says of each partition.
type servers struct {
	mu       sync.Mutex // guards all below
	observed []domain.Observed
	err      error
	hang     bool // until the caller gives up
	asked    []time.Time
}

func serversAt(gen int64) *servers {
	s := &servers{}
	for range partitions {
		s.observed = append(s.observed, domain.Observed{Gen: gen, Server: "s0", Identity: "s0"})
	}
	return s
}

// set changes what is observed from now on.
func (s *servers) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *servers) ObserveAll(ctx context.Context) ([]domain.Observed, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	observed, err, hang := slices.Clone(s.observed), s.err, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return observed, nil
}

// rounds are the moments at which all partitions were asked for.
func (s *servers) rounds() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func watching(t *testing.T, s *servers, g *gens) (stop func()) {
	t.Helper()
	stop = start(t, jobs.NewWatchGenerations(s, g, zerolog.Nop()).Run)
	synctest.Wait()
	return stop
}

func TestTheWatchLooksOnceASecondAndRenewsNothingThatAgrees(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, g := serversAt(7), atGen(7)
		s.observed[2] = domain.Observed{Gen: 9, Server: "s1", Identity: "s1"} // in a cluster each has its own server
		g.set(2, 9)
		begun := time.Now()
		watching(t, s, g)
		after(10 * time.Second)
		rounds := s.rounds()
		require.Len(t, rounds, 11)
		for n, at := range rounds {
			require.Equal(t, time.Duration(n)*time.Second, at.Sub(begun))
		}
		require.Empty(t, g.renewals())
	})
}

func TestTheWatchRenewsWhatDoesNotAgree(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		observed domain.Observed
		current  int64
	}{
		"Redis is a generation ahead":           {domain.Observed{Gen: 8, Server: "s0", Identity: "s0"}, 7},
		"Redis is a generation behind":          {domain.Observed{Gen: 6, Server: "s0", Identity: "s0"}, 7},
		"Redis has forgotten":                   {domain.Observed{Identity: "s0"}, 7},
		"Redis is another server":               {domain.Observed{Gen: 7, Server: "s0", Identity: "s1"}, 7},
		"another server, which forgot":          {domain.Observed{Identity: "s1"}, 7},
		"the instance knows none":               {domain.Observed{Gen: 7, Server: "s0", Identity: "s0"}, 0},
		"nobody knows one":                      {domain.Observed{Identity: "s0"}, 0},
		"nobody knows one, nor is there a name": {domain.Observed{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, g := serversAt(7), atGen(7)
				watching(t, s, g)
				after(500 * time.Millisecond)
				require.Empty(t, g.renewals())
				s.set(func() { s.observed[1], s.observed[3] = c.observed, c.observed })
				g.set(1, c.current)
				g.set(3, c.current)
				want := []domain.LogRange{logOf(1, c.current), logOf(3, c.current)}
				after(500 * time.Millisecond)
				require.ElementsMatch(t, want, g.renewals(), "partitions and the generation seen")
				after(time.Second)
				require.ElementsMatch(t, append(want, want...), g.renewals(), "as long as they do not agree")
				s.set(func() { s.observed = serversAt(9).observed })
				for p := range partitions {
					g.set(p, 9)
				}
				after(5 * time.Second)
				require.Len(t, g.renewals(), 4, "they agree")
			})
		})
	}
}

func TestAPartitionThatCannotBeRenewedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail func(ctx context.Context) error
		lost time.Duration // by those that fail
	}{
		"it fails": {func(context.Context) error { return errCut }, 0},
		"it hangs": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, g := serversAt(2), atGen(1)
				g.renew = func(ctx context.Context, partition int) error {
					if partition == 0 || partition == 2 {
						return c.fail(ctx)
					}
					if ctx.Err() != nil {
						return ctx.Err()
					}
					g.set(partition, 2)
					return nil
				}
				stop := watching(t, s, g)
				after(c.lost)
				require.ElementsMatch(t, []domain.LogRange{logOf(0, 1), logOf(1, 1), logOf(2, 1), logOf(3, 1)}, g.renewals())
				require.Equal(t, int64(2), g.Of(1))
				require.Equal(t, int64(2), g.Of(3))
				after(time.Second + c.lost)
				require.ElementsMatch(t, []domain.LogRange{logOf(0, 1), logOf(2, 1)}, g.renewals()[4:], "they are tried again")
				after(time.Second)
				begun := time.Now()
				stop()
				require.Zero(t, time.Since(begun), "the end of the job ends the renewal")
			})
		})
	}
}

func TestAKickedWatchLooksAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, g := serversAt(2), atGen(2)
		w := jobs.NewWatchGenerations(s, g, zerolog.Nop())
		start(t, w.Run)
		after(300 * time.Millisecond)
		s.set(func() { s.observed = serversAt(3).observed })
		require.Empty(t, g.renewals())
		w.Kick()
		synctest.Wait()
		require.Len(t, g.renewals(), partitions)
		after(time.Second)
		require.Greater(t, len(g.renewals()), partitions, "and each second as before")
	})
}

func TestTheWatchGoesOnWhenRedisWasAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away func(s *servers)
		lost time.Duration
	}{
		"it refuses": {func(s *servers) { s.err = errCut }, 0},
		"it hangs":   {func(s *servers) { s.hang = true }, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, g := serversAt(2), atGen(1)
				c.away(s)
				begun := time.Now()
				stop := watching(t, s, g)
				after(3*(c.lost+time.Second) - time.Nanosecond)
				require.Empty(t, g.renewals(), "nothing is known: nothing is renewed")
				rounds := s.rounds()
				require.Len(t, rounds, 3)
				for n, at := range rounds {
					require.Equal(t, time.Duration(n)*(c.lost+time.Second), at.Sub(begun))
				}
				s.set(func() { s.err, s.hang = nil, false })
				after(time.Nanosecond)
				require.Len(t, g.renewals(), partitions)

				s.set(func() { c.away(s) })
				after(time.Second)
				begun = time.Now()
				stop()
				require.Zero(t, time.Since(begun), "the end of the job ends the request")
			})
		})
	}
}

// Who sends nothing gets no STALE, and the log of a generation that is over reads as empty, not as an error.
func TestALeaseHolderThatNobodyTellsFindsTheNewGeneration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s, g := serversAt(1), atGen(1)
		g.renew = func(_ context.Context, partition int) error {
			g.set(partition, 2)
			return nil
		}
		whenStarted(t, newInstance(w, "a", is(g)))
		watching(t, s, g)
		s.set(func() { s.observed[0].Gen = 2 })
		w.send(logOf(0, 2), groupIn(0, 0), 1)
		after(time.Second + maxIdle)
		w.requireAllStored(t)
		require.Equal(t, []domain.LogRange{logOf(0, 1)}, g.renewals())
	})
}

// The watch may hang, the persister goes on.
func TestARenewalThatHangsHoldsUpNoMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s, g := serversAt(2), atGen(1)
		g.renew = func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
		whenStarted(t, newInstance(w, "a", is(g)))
		watching(t, s, g)
		w.send(logOf(0, 1), groupIn(0, 0), 1)
		after(maxIdle)
		w.requireAllStored(t)
	})
}

package jobs_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

func (s *stores) Heartbeat(ctx context.Context, instance string) (gens map[int]domain.Generation, err error) {
	err = s.request(ctx, "heartbeat", nil, func() (int, error) {
		s.alive[instance] = true
		gens = make(map[int]domain.Generation)
		for p, g := range s.gens {
			gens[p] = g
		}
		return 0, nil
	})
	return gens, err
}

func (s *stores) Depart(ctx context.Context, instance string) error {
	return s.request(ctx, "depart", nil, func() (int, error) {
		delete(s.alive, instance)
		return 0, nil
	})
}

// learner is a jobs.Learner that notes what it learns of.
type learner struct {
	*gens
	mu      sync.Mutex // guards what follows
	learned []domain.LogRange
	learn   func(ctx context.Context, partition int) error
}

func (l *learner) Learn(ctx context.Context, partition int, gen int64) error {
	l.mu.Lock()
	l.learned = append(l.learned, logOf(partition, gen))
	learn := l.learn
	l.mu.Unlock()
	if learn != nil {
		return learn(ctx, partition)
	}
	return nil
}

func (l *learner) heard() []domain.LogRange {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]domain.LogRange(nil), l.learned...)
}

// heart is a heartbeat and what it speaks with.
type heart struct {
	*stores
	*learner
	job  *jobs.Heartbeat
	news atomic.Int64
	log  bytes.Buffer
}

func newHeart() *heart {
	h := &heart{stores: newWorld().stores("a"), learner: &learner{gens: atGen(1)}}
	for p := range partitions {
		h.stores.gens[p] = domain.Generation{Gen: 1, Server: "s", Settled: 1}
	}
	h.job = jobs.NewHeartbeat(h.stores, h.learner, "a#1", func() { h.news.Add(1) }, zerolog.New(&h.log))
	return h
}

// raise makes a generation in MySQL.
func (h *heart) raise(partition int, gen int64) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	h.stores.gens[partition] = domain.Generation{Gen: gen, Server: "t"}
}

// A connection that a firewall has forgotten answers nothing. MySQL takes an instance for dead after 5 s.
func TestAHeartbeatThatHangsIsTriedAgainInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeart()
		require.NoError(t, h.job.Begin(t.Context()))
		tries := 0
		h.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
			if name == "heartbeat" {
				if tries++; tries%3 == 0 {
					<-ctx.Done()
					return requestLost
				}
			}
			return answered
		})
		start(t, h.job.Run)
		after(time.Minute)
		beats := h.arrived("heartbeat")
		require.Greater(t, len(beats), 20)
		for n, beat := range beats[1:] {
			require.Less(t, beat.at.Sub(beats[n].at), 5*time.Second)
		}
	})
}

func TestTheInstanceLivesFromBeginToEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeart()
		require.NoError(t, h.job.Begin(t.Context()))
		require.True(t, h.alive["a#1"], "before it uses a generation")
		begun := time.Now()
		stop := start(t, h.job.Run)
		after(5*time.Second + time.Millisecond)
		for n, beat := range h.arrived("heartbeat") {
			require.Equal(t, time.Duration(n)*time.Second, beat.at.Sub(begun))
		}
		require.Len(t, h.arrived("heartbeat"), 6)
		stop()
		require.True(t, h.alive["a#1"], "as long as its journal is not written")
		require.NoError(t, h.job.End(t.Context()))
		require.Empty(t, h.alive)
		require.Empty(t, h.heard(), "nothing was new")
		require.Zero(t, h.news.Load())
		require.Empty(t, h.log.String())

		h.through(down)
		require.ErrorIs(t, h.job.Begin(t.Context()), errCut)
		require.ErrorIs(t, h.job.End(t.Context()), errCut)
	})
}

// Redis is away, so that nobody can renew: what is older ends all the same.
func TestAGenerationIsLearnedOfWithoutRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeart()
		start(t, h.job.Run)
		after(1500 * time.Millisecond)
		h.raise(2, 4)
		after(time.Second)
		require.Equal(t, []domain.LogRange{logOf(2, 4)}, h.heard())
		require.Equal(t, int64(1), h.news.Load(), "the watch is told")
		h.learner.set(2, 4)
		after(3 * time.Second)
		require.Len(t, h.heard(), 1, "once it is in use")
		require.Equal(t, int64(1), h.news.Load())
		h.raise(2, 3) // as after a restore of MySQL: not this job's affair
		after(3 * time.Second)
		require.Len(t, h.heard(), 1)
	})
}

func TestTheHeartBeatsWhileAJournalIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeart()
		h.learn = func(ctx context.Context, partition int) error {
			if partition == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		h.raise(1, 2)
		start(t, h.job.Run)
		after(1500 * time.Millisecond)
		h.raise(2, 2)
		after(30 * time.Second)
		require.Len(t, h.arrived("heartbeat"), 31)
		require.Contains(t, h.heard(), logOf(2, 2), "another partition's, in a later round")
		h.mu.Lock()
		h.learn = nil
		h.mu.Unlock()
		h.learner.set(1, 2)
		h.learner.set(2, 2)
		after(20 * time.Second)
		heard := len(h.heard())
		after(20 * time.Second)
		require.Len(t, h.heard(), heard)
	})
}

func TestAHeartbeatThatFailsIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeart()
		start(t, h.job.Run)
		for n := range 2 {
			h.through(down)
			after(10 * time.Second)
			require.Equal(t, n+1, bytes.Count(h.log.Bytes(), []byte("heartbeat not told")))
			h.through(nil)
			after(3 * time.Second)
		}
		require.Len(t, h.arrived("heartbeat"), 6)

		h.through(func(ctx context.Context, _ string, _ []domain.LogRange) outcome { // it hangs
			<-ctx.Done()
			return requestLost
		})
		after(25 * time.Second)
		h.through(nil)
		after(10 * time.Second)
		require.Greater(t, len(h.arrived("heartbeat")), 10)
	})
}

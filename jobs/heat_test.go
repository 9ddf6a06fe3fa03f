package jobs_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// heatWorld is the heat in one Redis, and who spoke in one MySQL.
type heatWorld struct {
	mu       sync.Mutex // guards all below
	speakers []domain.Speaker
	whole    map[domain.LogRange]bool
	heat     map[domain.Speaker]bool
	queries  []int64             // the times asked for
	expired  map[int]int         // how often, by partition
	fails    map[string]error    // by method
	stops    []domain.LogRange   // AddHeat of these dies before it is whole
	ctxLeft  []time.Duration     // of each query
	addedTo  []domain.LogRange   // in the order of the calls
	asked    [][]domain.LogRange // of WithoutHeat

	messages []domain.MessageTime
	counted  map[domain.MessageTime]bool // nil: messages are not
	ready    map[domain.LogRange]bool    // whose messages are all counted
	hangs    map[int]time.Duration       // before the message of this number comes
}

func newHeatWorld(speakers ...domain.Speaker) *heatWorld {
	return &heatWorld{
		speakers: speakers, whole: map[domain.LogRange]bool{}, heat: map[domain.Speaker]bool{},
		expired: map[int]int{}, fails: map[string]error{},
	}
}

func (w *heatWorld) NowMS(context.Context) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return 1_000_000, w.fails["NowMS"]
}

func (w *heatWorld) WithoutHeat(_ context.Context, gens []domain.LogRange) (missing []domain.LogRange, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, gens)
	for _, g := range gens {
		if !w.whole[g] || w.counted != nil && !w.ready[g] {
			missing = append(missing, g)
		}
	}
	return missing, w.fails["WithoutHeat"]
}

func (w *heatWorld) AddHeat(_ context.Context, gen domain.LogRange, speakers []domain.Speaker) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addedTo = append(w.addedTo, gen)
	for _, s := range speakers {
		if domain.Partitions(partitions).Of(s.Group) != gen.Partition {
			return errors.New("a speaker of another partition")
		}
		w.heat[s] = true
	}
	if slices.Contains(w.stops, gen) {
		return errCut
	}
	w.whole[gen] = true
	return nil
}

func (w *heatWorld) ExpireHeat(_ context.Context, list []int) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range list {
		w.expired[p]++
	}
	return int64(len(w.heat)), w.fails["ExpireHeat"]
}

func (w *heatWorld) Speakers(ctx context.Context, afterMS int64) ([]domain.Speaker, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queries = append(w.queries, afterMS)
	if deadline, ok := ctx.Deadline(); ok {
		w.ctxLeft = append(w.ctxLeft, time.Until(deadline))
	}
	return w.speakers, w.fails["Speakers"]
}

func (w *heatWorld) MessageTimes(ctx context.Context, afterMS int64, found func(domain.MessageTime) error) error {
	w.change(func() { w.queries = append(w.queries, afterMS) })
	for i, m := range w.messages {
		var hangs time.Duration
		w.change(func() { hangs = w.hangs[i] })
		select {
		case <-time.After(hangs):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := found(m); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fails["MessageTimes"]
}

func (w *heatWorld) AddMessages(_ context.Context, gen domain.LogRange, messages []domain.MessageTime, last bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.stops, gen) {
		return errCut
	}
	for _, m := range messages {
		if domain.Partitions(partitions).Of(m.Group) != gen.Partition {
			return errors.New("a message of another partition")
		}
		w.counted[m] = true
	}
	if last {
		w.ready[gen] = true
	}
	return w.fails["AddMessages"]
}

// change changes the world, or looks at it.
func (w *heatWorld) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// speakersEverywhere is somebody in a group of each partition.
func speakersEverywhere() (list []domain.Speaker) {
	for p := range partitions {
		list = append(list, domain.Speaker{Group: groupIn(p, 0), User: "u", TimeMS: 999_999})
	}
	return list
}

// heatJob runs an instance's job with the leases it can get.
func heatJob(t *testing.T, w *heatWorld, of *world, name string, g *gens) (job *jobs.Heat, reg *prometheus.Registry, stop func()) {
	t.Helper()
	leases := jobs.NewLeases(of.client(name), partitions, name, zerolog.Nop())
	stopLeases := start(t, leases.Run)
	synctest.Wait()
	reg = prometheus.NewRegistry()
	job = jobs.NewHeat(w, w, leases, g, partitions, jobs.HeatConfig{Window: 5 * time.Minute, CountMessages: w.counted != nil}, zerolog.Nop(), reg)
	stopJob := start(t, job.Run)
	return job, reg, func() { stopJob(); stopLeases() }
}

func TestHeatIsBroughtBackOnceForAllPartitions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, g := newHeatWorld(speakersEverywhere()...), atGen(1)
		job, reg, stop := heatJob(t, w, newWorld(), "one", g)
		defer stop()
		for range partitions { // as generations are raised, one after the other
			job.Raised()
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		w.change(func() {
			require.Len(t, w.heat, partitions)
			require.Len(t, w.queries, 1, "one query for all")
			require.Equal(t, int64(1_000_000-310_000), w.queries[0], "the window by Redis' clock, and a margin")
			require.Positive(t, w.ctxLeft[0])
		})
		require.InDelta(t, partitions, heatGroups(t, reg), 0)

		time.Sleep(time.Minute)
		w.change(func() {
			require.Len(t, w.queries, 1)
			require.LessOrEqual(t, len(w.asked), 2, "what is known to be whole is not asked for")
			for p := range partitions {
				require.GreaterOrEqual(t, w.expired[p], 50, "heat ends without anybody who speaks or asks")
			}
		})

		g.set(2, 2)
		job.Raised()
		time.Sleep(time.Second)
		w.change(func() {
			require.Len(t, w.queries, 2)
			require.Equal(t, domain.LogRange{Partition: 2, Gen: 2}, w.addedTo[len(w.addedTo)-1])
			require.Len(t, w.addedTo, partitions+1, "the others have theirs")
		})
	})
}

func TestHeatIsBroughtBackWithoutBeingWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newHeatWorld(speakersEverywhere()...)
		_, _, stop := heatJob(t, w, newWorld(), "one", atGen(1))
		defer stop()
		time.Sleep(1500 * time.Millisecond)
		w.change(func() { require.Len(t, w.heat, partitions) })
	})
}

func TestHeatOfAPartitionThatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"NowMS", "WithoutHeat", "Speakers", "AddHeat"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, g := newHeatWorld(speakersEverywhere()...), atGen(1)
				cut := domain.LogRange{Partition: 1, Gen: 1}
				if method == "AddHeat" {
					w.stops = []domain.LogRange{cut}
				} else {
					w.fails[method] = errCut
				}
				_, _, stop := heatJob(t, w, newWorld(), "one", g)
				defer stop()
				time.Sleep(3 * time.Second)
				w.change(func() {
					require.False(t, w.whole[cut])
					if method == "AddHeat" {
						require.Len(t, w.whole, partitions-1, "one does not keep the others from theirs")
					}
					w.stops = nil
					clear(w.fails)
				})
				time.Sleep(2 * time.Second)
				w.change(func() {
					require.Len(t, w.whole, partitions)
					require.Len(t, w.heat, partitions)
				})
			})
		})
	}
}

// Two instances share the partitions; when one goes the other brings back what it had left undone.
func TestHeatIsBroughtBackByWhoHasTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, of, g := newHeatWorld(speakersEverywhere()...), newWorld(), atGen(1)
		w.fails["Speakers"] = errCut
		_, _, stopOne := heatJob(t, w, of, "one", g)
		_, _, stopTwo := heatJob(t, w, of, "two", g)
		defer stopTwo()
		time.Sleep(2 * time.Second)
		stopOne()
		w.change(func() { clear(w.fails) })
		time.Sleep(10 * time.Second)
		w.change(func() {
			require.Len(t, w.whole, partitions)
			require.Len(t, w.heat, partitions)
		})
	})
}

func TestHeatOfNoGenerationIsNotAskedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newHeatWorld(speakersEverywhere()...)
		_, _, stop := heatJob(t, w, newWorld(), "one", atGen(0))
		defer stop()
		time.Sleep(5 * time.Second)
		w.change(func() {
			require.Empty(t, w.queries)
			require.Empty(t, w.addedTo)
		})
	})
}

// Messages come back in pieces, all before the speakers who have their groups ranked; what fails is done again.
func TestMessagesAreBroughtBackWhereTheyCount(t *testing.T) {
	t.Parallel()
	for _, fails := range []string{"", "MessageTimes", "AddMessages", "a partition"} {
		t.Run("fails: "+fails, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, g := newHeatWorld(speakersEverywhere()...), atGen(1)
				w.counted, w.ready = map[domain.MessageTime]bool{}, map[domain.LogRange]bool{}
				for i := range int64(3000) {
					w.messages = append(w.messages, domain.MessageTime{Group: groupIn(int(i)%3%partitions, 0), Seq: i, TimeMS: 900_000 + i})
				}
				if fails == "a partition" {
					w.stops = []domain.LogRange{{Partition: 1, Gen: 1}}
				} else if fails != "" {
					w.fails[fails] = errCut
				}
				_, _, stop := heatJob(t, w, newWorld(), "one", g)
				defer stop()
				time.Sleep(3 * time.Second)
				w.change(func() {
					if fails != "" {
						require.Empty(t, w.heat, "no speakers without their messages")
						require.Empty(t, w.whole)
					}
					w.stops = nil
					clear(w.fails)
				})
				time.Sleep(2 * time.Second)
				w.change(func() {
					require.Len(t, w.counted, len(w.messages))
					require.Len(t, w.ready, partitions)
					require.Len(t, w.whole, partitions)
					require.Len(t, w.heat, partitions)
					require.Equal(t, int64(1_000_000-310_000), w.queries[0])
				})
			})
		})
	}
}

// heatGroups is the job's only metric.
func heatGroups(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "hearth_heat_groups", families[0].GetName())
	return families[0].GetMetric()[0].GetGauge().GetValue()
}

// There may be more messages than can be counted in any time that is known before: it is enough that they keep coming.
func TestMessagesAreBroughtBackForAsLongAsTheyCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, g := newHeatWorld(speakersEverywhere()...), atGen(1)
		w.counted, w.ready, w.hangs = map[domain.MessageTime]bool{}, map[domain.LogRange]bool{}, map[int]time.Duration{}
		for i := range 20_000 {
			w.messages = append(w.messages, domain.MessageTime{Group: groupIn(0, 0), Seq: int64(i + 1), TimeMS: 999_999})
			if i%1000 == 0 {
				w.hangs[i] = 10 * time.Second // of 200
			}
		}
		_, _, stop := heatJob(t, w, newWorld(), "a", g)
		defer stop()
		time.Sleep(4 * time.Minute)
		w.change(func() {
			require.Len(t, w.whole, partitions)
			require.Len(t, w.counted, len(w.messages))
			require.Len(t, w.queries, 2, "one of messages, one of speakers")
		})
		w.change(func() {
			clear(w.whole)
			w.queries, w.hangs = nil, map[int]time.Duration{5000: time.Hour}
		})
		for p := range partitions {
			g.set(p, 2)
		}
		time.Sleep(time.Minute)
		w.change(func() {
			require.Empty(t, w.whole)
			require.Greater(t, len(w.queries), 1, "it does not wait for one that hangs")
			w.hangs = nil
		})
		time.Sleep(time.Minute)
		w.change(func() { require.Len(t, w.whole, partitions) })
	})
}

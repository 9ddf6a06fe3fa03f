package jobs_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/domain"
	"hearth/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	batchRows = 1000
	interval  = 20 * time.Millisecond
	maxIdle   = 100 * time.Millisecond // the longest pause before empty logs are looked at again
)

// instance is what one process has of this package, over its own way to the world.
type instance struct {
	*client
	leases  *jobs.Leases
	writer  *jobs.Writer
	persist *jobs.Persist
	marks   *jobs.ReadMarks
	reg     *prometheus.Registry
}

func newInstance(w *world, name string, gens func(jobs.Log, *jobs.Writer) jobs.Generations) *instance {
	c := w.client(name)
	reg := prometheus.NewRegistry()
	writer := jobs.NewWriter(c, c, batchRows, zerolog.Nop(), reg)
	leases := jobs.NewLeases(c, partitions, name, zerolog.Nop())
	g := gens(c, writer)
	return &instance{
		client: c, leases: leases, writer: writer, reg: reg,
		persist: jobs.NewPersist(writer, leases, g, interval, zerolog.Nop()),
		marks:   jobs.NewReadMarks(c, c, leases, g, zerolog.Nop()),
	}
}

// is makes every instance see these generations.
func is(g *gens) func(jobs.Log, *jobs.Writer) jobs.Generations {
	return func(jobs.Log, *jobs.Writer) jobs.Generations { return g }
}

// start runs a job until stop, or the end of the test, ends it and has waited for it.
func start(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done, "a job that was ended")
	})
	t.Cleanup(stop)
	return stop
}

// leased starts the leases and waits for the first round.
func (i *instance) leased(t testing.TB) (stop func()) {
	t.Helper()
	stop = start(t, i.leases.Run)
	synctest.Wait()
	return stop
}

// metric is the sum of a metric's series with this label value, "" for any; of a histogram, its sum.
func (i *instance) metric(t testing.TB, name, label string) (sum float64) {
	t.Helper()
	families, err := i.reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if label != "" && m.GetLabel()[0].GetValue() != label {
				continue
			}
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetHistogram().GetSampleSum()
		}
		return sum
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// gens is a jobs.Generations that tests set by hand.
type gens struct {
	mu      sync.Mutex // guards all below
	current [partitions]int64
	renewed []domain.LogRange // partition and seen of each Renew
	renew   func(ctx context.Context, partition int) error
}

func atGen(gen int64) *gens {
	g := &gens{}
	for p := range g.current {
		g.current[p] = gen
	}
	return g
}

func (g *gens) Of(partition int) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current[partition]
}

func (g *gens) set(partition int, gen int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current[partition] = gen
}

func (g *gens) Renew(ctx context.Context, partition int, seen int64) error {
	g.mu.Lock()
	g.renewed = append(g.renewed, domain.LogRange{Partition: partition, Gen: seen})
	renew := g.renew
	g.mu.Unlock()
	if renew != nil {
		return renew(ctx, partition)
	}
	return nil
}

func (g *gens) renewals() []domain.LogRange {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]domain.LogRange(nil), g.renewed...)
}

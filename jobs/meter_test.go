package jobs

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var meterStart = time.UnixMilli(1_700_000_000_000)

func gathered(t require.TestingT, reg *prometheus.Registry, at time.Time) reading {
	r, err := read(reg, at)
	require.NoError(t, err)
	return r
}

// A rate is what was counted within the window, divided by its time, however the readings lie.
func TestRateIsTheDifferenceOfCountersOverTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		reg := prometheus.NewRegistry()
		sent := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sent_total"}, []string{"source", "result"})
		repeats := prometheus.NewCounter(prometheus.CounterOpts{Name: "repeats_total"})
		reg.MustRegister(sent, repeats)
		var m meter
		type counted struct {
			at time.Time
			n  float64
		}
		var all []counted
		now, total := meterStart, 0.0
		for range rapid.IntRange(1, 20).Draw(t, "readings") {
			ok, dup := rapid.IntRange(0, 1000).Draw(t, "ok"), 0
			sent.WithLabelValues(rapid.SampledFrom([]string{"ws", "http"}).Draw(t, "source"), "ok").Add(float64(ok))
			sent.WithLabelValues("ws", "rate_limited").Add(float64(rapid.IntRange(0, 1000).Draw(t, "refused")))
			dup = rapid.IntRange(0, ok).Draw(t, "repeats")
			repeats.Add(float64(dup))
			total += float64(ok - dup)
			m.take(gathered(t, reg, now))
			all = append(all, counted{now, total})
			now = now.Add(time.Duration(rapid.IntRange(1, 8000).Draw(t, "ms")) * time.Millisecond)
		}
		last := all[len(all)-1]
		rate := m.rate("sent_total", "repeats_total")
		if len(all) < 2 {
			require.Nil(t, rate, "one reading is no rate")
			return
		}
		first := all[len(all)-2] // the one before always counts
		for _, c := range slices.Backward(all[:len(all)-1]) {
			if last.at.Sub(c.at) <= meterWindow {
				first = c
			}
		}
		require.InDelta(t, (last.n-first.n)/last.at.Sub(first.at).Seconds(), *rate, 1e-6)
		require.GreaterOrEqual(t, *rate, 0.0)
	})
}

// The quantile lies in the bucket that holds the observation of that rank, and only what came within the window counts.
func TestQuantileLiesInTheBucketOfItsRank(t *testing.T) {
	t.Parallel()
	bounds := []float64{0.001, 0.002, 0.004, 0.008, 0.016}
	rapid.Check(t, func(t *rapid.T) {
		reg := prometheus.NewRegistry()
		var sources []prometheus.Histogram
		for _, source := range []string{"ws", "http"} {
			h := prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: latencyMetric, ConstLabels: prometheus.Labels{"source": source}, Buckets: bounds,
			})
			reg.MustRegister(h)
			sources = append(sources, h)
		}
		observe := func(name string) (seen []float64) {
			for range rapid.IntRange(0, 300).Draw(t, name) {
				v := rapid.Float64Range(0.0001, 0.03).Draw(t, "seconds")
				rapid.SampledFrom(sources).Draw(t, "source").Observe(v)
				seen = append(seen, v)
			}
			return seen
		}
		var m meter
		observe("before")
		m.take(gathered(t, reg, meterStart))
		seen := observe("within")
		m.take(gathered(t, reg, meterStart.Add(2*time.Second)))
		q := rapid.SampledFrom([]float64{0.5, 0.9, 0.99, 1}).Draw(t, "q")
		got := m.quantile(q)
		if len(seen) == 0 {
			require.Nil(t, got, "nobody has sent")
			return
		}
		slices.Sort(seen)
		exact := seen[max(0, int(math.Ceil(q*float64(len(seen))))-1)]
		i, _ := slices.BinarySearch(bounds, exact)
		if i == len(bounds) {
			require.Equal(t, bounds[i-1], *got, "above the last bound nobody knows more")
			return
		}
		low := 0.0
		if i > 0 {
			low = bounds[i-1]
		}
		require.GreaterOrEqual(t, *got, low)
		require.LessOrEqual(t, *got, bounds[i]+1e-12)
	})
}

func TestReadingsOutsideTheWindowAreForgotten(t *testing.T) {
	t.Parallel()
	var m meter
	for i := range 100 {
		m.take(reading{at: meterStart.Add(time.Duration(i) * 2 * time.Second), values: map[string]float64{"c": float64(i * i)}})
	}
	require.Len(t, m.readings, 6)
	require.InDelta(t, float64(99*99-94*94)/10, *m.rate("c", ""), 1e-9)
	m.take(reading{at: meterStart.Add(time.Hour), values: map[string]float64{"c": 99*99 + 1}}) // the process stood still
	require.Len(t, m.readings, 2)
	require.InDelta(t, 1/(3600.0-198), *m.rate("c", ""), 1e-9)
}

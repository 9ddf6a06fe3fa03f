package jobs

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meterWindow is the time that rates are of.
const meterWindow = 10 * time.Second

// reading is what the instance's own metrics say at one moment. What the console shows is made of nothing else, so the two
// cannot disagree.
type reading struct {
	at      time.Time
	values  map[string]float64 // counters and gauges by name; of counters with a result, the ok ones, added up
	latency []bucket           // of sends
}

// bucket counts the observations up to a bound.
type bucket struct {
	upTo  float64 // seconds; infinite for all there are
	count float64
}

const (
	latencyMetric = "hearth_send_duration_seconds"
	resultLabel   = "result"
)

// read takes a reading.
func read(g prometheus.Gatherer, now time.Time) (reading, error) {
	families, err := g.Gather()
	if err != nil {
		return reading{}, fmt.Errorf("read metrics: %w", err)
	}
	r := reading{at: now, values: make(map[string]float64, len(families))}
	counts := make(map[float64]float64)
	for _, family := range families {
		name := family.GetName()
		for _, m := range family.GetMetric() {
			counted := true
			for _, label := range m.GetLabel() {
				counted = counted && (label.GetName() != resultLabel || label.GetValue() == "ok")
			}
			if counted {
				r.values[name] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			if name != latencyMetric {
				continue
			}
			for _, b := range m.GetHistogram().GetBucket() {
				counts[b.GetUpperBound()] += float64(b.GetCumulativeCount())
			}
			counts[math.Inf(1)] += float64(m.GetHistogram().GetSampleCount())
		}
	}
	for bound, count := range counts {
		r.latency = append(r.latency, bucket{bound, count})
	}
	slices.SortFunc(r.latency, func(a, b bucket) int { return cmp.Compare(a.upTo, b.upTo) })
	return r, nil
}

// gauge is nil where there is no such metric.
func (r *reading) gauge(name string) *float64 {
	v, ok := r.values[name]
	if !ok {
		return nil
	}
	return &v
}

// meter makes rates of the readings of the last meterWindow.
type meter struct{ readings []reading }

// take adds a reading and forgets those that are too old; two stay, however long ago the first was.
func (m *meter) take(r reading) {
	m.readings = append(m.readings, r)
	for len(m.readings) > 2 && r.at.Sub(m.readings[0].at) > meterWindow {
		m.readings = m.readings[1:]
	}
}

// ends are the first and the last reading, if there are two.
func (m *meter) ends() (first, last *reading, ok bool) {
	if len(m.readings) < 2 {
		return nil, nil, false
	}
	first, last = &m.readings[0], &m.readings[len(m.readings)-1]
	return first, last, last.at.After(first.at)
}

// rate is how many a second the counters grew by, less those of except; nil while that is not known. A counter that is not
// there has not counted yet.
func (m *meter) rate(counter, except string) *float64 {
	first, last, ok := m.ends()
	if !ok {
		return nil
	}
	grown := last.values[counter] - first.values[counter] - (last.values[except] - first.values[except])
	rate := max(0, grown) / last.at.Sub(first.at).Seconds()
	return &rate
}

// quantile is the send's duration, in seconds, that a share q of the sends did not exceed; nil while there were none. Within
// a bucket it is interpolated, and of those above the last bound it is that bound.
func (m *meter) quantile(q float64) *float64 {
	first, last, ok := m.ends()
	if !ok {
		return nil
	}
	before := make(map[float64]float64, len(first.latency))
	for _, b := range first.latency {
		before[b.upTo] = b.count
	}
	grown := make([]bucket, len(last.latency))
	for i, b := range last.latency {
		grown[i] = bucket{b.upTo, b.count - before[b.upTo]}
	}
	return quantileOf(grown, q)
}

// quantileOf takes cumulative buckets by bound, the last without one.
func quantileOf(buckets []bucket, q float64) *float64 {
	if len(buckets) == 0 {
		return nil
	}
	total := buckets[len(buckets)-1].count
	if total <= 0 {
		return nil
	}
	rank := q * total
	var below bucket
	for _, b := range buckets {
		if b.count >= rank && b.count > below.count {
			if math.IsInf(b.upTo, 1) {
				return &below.upTo
			}
			v := below.upTo + (b.upTo-below.upTo)*(rank-below.count)/(b.count-below.count)
			return &v
		}
		below = b
	}
	return &below.upTo
}

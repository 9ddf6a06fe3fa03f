package bench

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const maxLatencyUS = 60_000_000

// Latency is in milliseconds, 1 % exact.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// newLatency counts µs, 1 % exact, in 20 KiB.
func newLatency() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatencyUS, 2) }

func recordLatency(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), maxLatencyUS)) // within its bounds it does not fail
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	return Latency{
		P50: millis(h.ValueAtQuantile(50)),
		P90: millis(h.ValueAtQuantile(90)),
		P99: millis(h.ValueAtQuantile(99)),
		Max: millis(h.Max()),
	}
}

func millis(us int64) float64 { return float64(us) / 1000 }

func (l Latency) text() string {
	return fmt.Sprintf("p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", l.P50, l.P90, l.P99, l.Max)
}

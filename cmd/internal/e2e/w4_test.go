package e2e

import (
	"fmt"
	"testing"
	"time"

	"hearth/cmd/internal/bench"
)

// BenchmarkW4 measures catching up with 1,000 missed messages in pages of 200, by one client and by 50.
//
//	go test ./cmd/internal/e2e -run '^$' -bench W4/pull -benchtime 1x
func BenchmarkW4(b *testing.B) {
	s := measuredStack(b)
	for _, op := range []string{"pull", "sync", "subscribe"} {
		for _, clients := range []int{1, 50} {
			b.Run(fmt.Sprintf("%s/clients-%d", op, clients), func(b *testing.B) {
				for range b.N {
					report, err := bench.Catchup(b.Context(), bench.CatchupConfig{
						Base: s.bench(), Op: op, Clients: clients, Warmup: time.Second, Duration: 5 * time.Second,
					}, nil)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(report.MessagesPerSecond, "msg/s")
					b.ReportMetric(report.Latency.P50, "p50-ms")
					b.ReportMetric(report.Latency.P99, "p99-ms")
					reportCPU(b, report.CPU, "msg")
				}
			})
		}
	}
}

// TestBenchCatchup: the command, on two instances.
func TestBenchCatchup(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, together: true})
	for _, op := range []string{"pull", "sync", "subscribe"} {
		var r bench.CatchupReport
		s.runBench(&r, "catchup", "--missed=300", "--clients=4", "--catchups=40", "--warmup=0s", "--op="+op)
		if r.Catchups < 40 || r.Messages < 40*300 || r.Violations != 0 {
			t.Errorf("40 catch-ups with %s: got %+v", op, r)
		}
	}
}

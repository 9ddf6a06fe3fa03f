package e2e

import (
	"testing"
	"time"

	"hearth/cmd/internal/bench"
)

// BenchmarkW3 measures the memory of 10,000 connections that do nothing, in groups of 100, on a fresh instance. The limit
// of LIMITS.md is that of hearth alone, hearth-KiB/conn.
//
//	go test ./cmd/internal/e2e -run '^$' -bench W3 -benchtime 1x
func BenchmarkW3(b *testing.B) {
	for range b.N {
		s := measuredStack(b)
		report, err := bench.Idle(b.Context(), bench.IdleConfig{Base: s.bench(), Hold: 30 * time.Second}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(report.ConnectSeconds, "connect-s")
		for name, kib := range report.Memory.Each {
			b.ReportMetric(kib, name+"-KiB/conn")
		}
	}
}

// TestBenchIdle: the command, on two instances.
func TestBenchIdle(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, together: true})
	var r bench.IdleReport
	s.runBench(&r, "idle", "--connections=200", "--hold=300ms")
	if r.Connections != 200 || r.Groups != 2 || r.Violations != 0 || r.Memory.AfterKiB["hearth-i1"] < r.Memory.BeforeKiB["hearth-i1"]/2 {
		t.Errorf("200 idle connections: got %+v", r)
	}
}

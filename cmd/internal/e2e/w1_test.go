package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"hearth/cmd/internal/bench"
)

// BenchmarkW1 measures the main job on one instance, a Redis that keeps an append-only file and a MariaDB that flushes
// at every commit: 200 connections, 100 groups of two, 128-byte texts, closed loop. The load generator shares the
// machine; CPU time a message hardly depends on that, messages a second do.
//
//	go test ./cmd/internal/e2e -run '^$' -bench W1 -benchtime 1x
func BenchmarkW1(b *testing.B) {
	s := measuredStack(b)
	for _, inFlight := range []int{1, 8} {
		b.Run(fmt.Sprintf("in-flight-%d", inFlight), func(b *testing.B) {
			for range b.N {
				report, err := bench.Send(b.Context(), bench.SendConfig{
					Base: s.bench(), InFlight: inFlight, Duration: 8 * time.Second, MySQLDSN: s.mysql.DSN(),
				}, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(report.AckedPerSecond, "acked/s")
				b.ReportMetric(report.Latency.P50, "p50-ms")
				b.ReportMetric(report.Latency.P99, "p99-ms")
				reportCPU(b, report.CPU, "msg")
				b.ReportMetric(float64(report.Persisted.AfterMS), "last-row-ms")
			}
		})
	}
}

// measuredStack is what all figures are measured on, with the queues that hearth has by default.
func measuredStack(b *testing.B) *stack {
	return newStack(b, setup{
		ownMySQL: true,
		redis:    []string{"--appendonly", "yes", "--appendfsync", "everysec"},
		env: map[string]string{
			"HEARTH_LOG_LEVEL": "info", "HEARTH_WS_QUEUE_FRAMES": "256", "HEARTH_WS_QUEUE_BYTES": "1048576",
		},
	})
}

// bench is how a bench gets in, and the processes whose cost it tells.
func (s *stack) bench() bench.Base {
	base := bench.Base{Secret: []byte(jwtSecret), APIKey: apiKey, PIDs: map[string]int{"redis": s.redis.PID()}}
	for _, i := range s.instances {
		base.URLs = append(base.URLs, "http://"+i.addr)
		base.PIDs["hearth-"+i.name] = i.pid()
	}
	if len(s.instances) == 1 {
		delete(base.PIDs, "hearth-"+s.instances[0].name)
		base.PIDs["hearth"] = s.instances[0].pid()
	}
	if s.mysql != nil {
		base.PIDs["mysql"] = s.mysql.PID()
	}
	return base
}

// reportCPU reports µs a message, or whatever the unit is, of each process and of all together.
func reportCPU(b *testing.B, cpu bench.CPU, unit string) {
	b.ReportMetric(cpu.Total, "cpu-µs/"+unit)
	b.ReportMetric(cpu.Bench, "bench-µs/"+unit)
	for _, name := range slices.Sorted(maps.Keys(cpu.Processes)) {
		b.ReportMetric(cpu.Processes[name], name+"-µs/"+unit)
	}
}

// pid is the running process.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

package e2e

import (
	"fmt"
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
	s := newStack(b, setup{
		ownMySQL: true,
		redis:    []string{"--appendonly", "yes", "--appendfsync", "everysec"},
		env:      map[string]string{"HEARTH_LOG_LEVEL": "info"},
	})
	for _, inFlight := range []int{1, 8} {
		b.Run(fmt.Sprintf("in-flight-%d", inFlight), func(b *testing.B) {
			for range b.N {
				report, err := bench.Send(b.Context(), bench.SendConfig{
					URLs: []string{"http://" + s.instances[0].addr}, Secret: []byte(jwtSecret), APIKey: apiKey,
					InFlight: inFlight, Duration: 8 * time.Second, MySQLDSN: s.mysql.DSN(),
					PIDs: map[string]int{"hearth": s.instances[0].pid(), "redis": s.redis.PID(), "mysql": s.mysql.PID()},
				}, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(report.AckedPerSecond, "acked/s")
				b.ReportMetric(report.Latency.P50, "p50-ms")
				b.ReportMetric(report.Latency.P99, "p99-ms")
				b.ReportMetric(report.CPU.Total, "cpu-µs/msg")
				for name, micros := range report.CPU.Processes {
					b.ReportMetric(micros, name+"-µs/msg")
				}
				b.ReportMetric(float64(report.Persisted.AfterMS), "last-row-ms")
			}
		})
	}
}

// pid is the running process.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

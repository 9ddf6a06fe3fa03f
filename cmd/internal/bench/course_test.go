package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFanoutReportArithmetic(t *testing.T) {
	t.Parallel()
	f := newFanout(FanoutConfig{Subscribers: 2, InFlight: 1, Bytes: 1}, nil)
	for _, s := range f.subscribers {
		for ms := range int64(100) {
			require.NoError(t, s.latency.RecordValue((ms+1)*1000))
		}
	}
	f.publisher.measuredAcks = 100
	f.publisher.acks.Store(120)
	measure(f.course)

	r := f.report()

	require.EqualValues(t, 100, r.Messages)
	require.EqualValues(t, 120, r.AckedTotal)
	require.EqualValues(t, 200, r.Deliveries)
	require.InDelta(t, 25, r.MessagesPerSecond, 1e-9)
	require.InDelta(t, 50, r.DeliveriesPerSecond, 1e-9)
	require.InDelta(t, 99, r.Latency.P99, 1)
	require.InDelta(t, 50, r.CPU.Total, 1e-9)
	require.Contains(t, textOf(r.text), "50.0 µs a delivery: redis 20.0, server 30.0 (load generator 10.0)")
	require.NoError(t, r.verdict(FanoutConfig{MaxCPU: 50, MaxP99: 101 * time.Millisecond}))
	require.Equal(t, Missed, KindOf(r.verdict(FanoutConfig{MaxCPU: 49})))
	require.Equal(t, Missed, KindOf(r.verdict(FanoutConfig{MaxP99: 90 * time.Millisecond})))
	r.Findings = Findings{Violations: 1, Samples: []string{"x"}}
	require.Equal(t, Wrong, KindOf(r.verdict(FanoutConfig{MaxCPU: 49})), "wrong before missed")
}

func TestCatchupReportArithmetic(t *testing.T) {
	t.Parallel()
	c := newCatchup(CatchupConfig{Clients: 2, Missed: 10}, nil)
	for _, p := range c.pullers {
		p.measured = 100
		require.NoError(t, p.latency.RecordValue(2000))
	}
	measure(c.course)

	r := c.report()

	require.EqualValues(t, 200, r.Messages)
	require.EqualValues(t, 2, r.Catchups)
	require.InDelta(t, 50, r.MessagesPerSecond, 1e-9)
	require.InDelta(t, 50, r.CPU.Total, 1e-9)
	require.InDelta(t, 2, r.Latency.P50, 0.1)
	require.NoError(t, r.verdict(CatchupConfig{MinRate: 50, MaxCPU: 50}))
	require.Equal(t, Missed, KindOf(r.verdict(CatchupConfig{MinRate: 51})))
	require.Equal(t, Missed, KindOf(r.verdict(CatchupConfig{MaxCPU: 49})))
}

// measure is four seconds in which 10 ms of CPU were spent, and 2 ms here.
func measure(c *course) {
	c.began = time.Unix(100, 0)
	c.ended = c.began.Add(4 * time.Second)
	c.cpu = cpuTimes{own: 2 * time.Millisecond, byName: map[string]time.Duration{"server": 6 * time.Millisecond, "redis": 4 * time.Millisecond}}
}

func TestPagesAreExplained(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after  uint64
		seqs   []uint64
		holes  []readHole
		broken string
	}{
		"nothing":             {after: 5},
		"no holes":            {after: 5, seqs: []uint64{6, 7}},
		"hole at the start":   {after: 5, seqs: []uint64{8}, holes: []readHole{{6, 7}}},
		"two holes in a row":  {after: 0, seqs: []uint64{1, 6}, holes: []readHole{{2, 3}, {4, 5}}},
		"hole at the end":     {after: 0, seqs: []uint64{1}, holes: []readHole{{2, 9}}},
		"hole too short":      {after: 0, seqs: []uint64{1, 6}, holes: []readHole{{2, 4}}, broken: "seq 6 after seq 4, and no hole"},
		"hole too long":       {after: 0, seqs: []uint64{1, 6}, holes: []readHole{{2, 6}}, broken: "seq 6 after seq 6"},
		"seq twice":           {after: 0, seqs: []uint64{1, 1}, broken: "seq 1 after seq 1"},
		"gap without a hole":  {after: 0, seqs: []uint64{1, 3}, broken: "seq 3 after seq 1"},
		"hole where there is": {after: 0, seqs: []uint64{1, 2}, holes: []readHole{{2, 2}}, broken: "a hole from 2 to 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := readPage{Holes: c.holes}
			p.Messages = make([]readMessage, len(c.seqs))
			for i, seq := range c.seqs {
				p.Messages[i].Seq = seq
			}

			got := p.explain(c.after)

			if c.broken == "" {
				require.Empty(t, got)
				return
			}
			require.Contains(t, got, c.broken)
		})
	}
}

func TestRequestsForPages(t *testing.T) {
	t.Parallel()
	for op, want := range map[string]string{
		"pull":      `{"id":7,"op":"pull","group":"p-g0","after_seq":40,"limit":20}`,
		"subscribe": `{"id":7,"op":"subscribe","group":"p-g0","after_seq":40,"limit":20}`,
		"sync":      `{"id":7,"op":"sync","groups":{"p-g0":40},"limit":20,"max_bytes":1048576}`,
	} {
		c := newCatchup(CatchupConfig{Base: Base{Prefix: "p-"}, Clients: 1, Op: op, Page: 20}, nil)
		require.Equal(t, want, string(c.appendRequest(nil, 7, 40)))
	}
}

func TestProgressFindsWhoWaits(t *testing.T) {
	t.Parallel()
	l := newLoad(SendConfig{Connections: 2, Groups: 1, InFlight: 1, Bytes: 1}, nil)
	now := time.Now()
	p := newProgress([]waiter{l.conns[0], l.conns[1]}, now)
	l.conns[0].outstanding.Store(1)
	l.conns[1].outstanding.Store(1)

	require.Empty(t, p.stuck(now.Add(time.Second), 2*time.Second))
	l.conns[0].acks.Add(1)
	require.Equal(t, l.conns[1].user, p.stuck(now.Add(2*time.Second), 2*time.Second))
	l.conns[1].outstanding.Store(0)
	require.Empty(t, p.stuck(now.Add(3*time.Second), 2*time.Second))
}

func BenchmarkDeliveryTo100(b *testing.B) {
	f := newFanout(FanoutConfig{Base: Base{Prefix: "bench-12345678-"}, Subscribers: 100, InFlight: 16, Bytes: 128}, nil)
	push := []byte(`{"event":"message","group":"bench-12345678-g0","seq":1000,"time_ms":1700000000000,"from":"bench-12345678-u0","client_id":"c0-1000000000","body":[{"type":"text","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]}`)
	now := time.Now()
	f.phase.Store(measuring)
	b.ReportAllocs()
	for b.Loop() {
		f.publisher.publish(nil, 0, now)
		for _, s := range f.subscribers {
			s.first, s.next = 0, 0
			if s.receive(push, now) != nil {
				b.Fatal("not understood")
			}
		}
	}
}

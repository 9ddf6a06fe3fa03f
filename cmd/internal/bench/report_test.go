package bench

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

func TestReportArithmetic(t *testing.T) {
	t.Parallel()
	l := newLoad(SendConfig{Base: Base{Prefix: "p-"}, Connections: 2, Groups: 1, InFlight: 1, Batch: 1, Bytes: 1}, nil)
	for i, c := range l.conns {
		for ms := range int64(100) {
			require.NoError(t, c.latency.RecordValue((ms+1)*1000))
		}
		c.measuredPushes = 200
		c.acks.Store(int64(150 + i))
	}
	l.began = time.Unix(100, 0)
	l.ended = l.began.Add(4 * time.Second)
	l.cpu = cpuTimes{own: 2 * time.Millisecond, byName: map[string]time.Duration{"server": 6 * time.Millisecond, "redis": 4 * time.Millisecond}}

	r := l.report()

	require.EqualValues(t, 200, r.Messages)
	require.EqualValues(t, 301, r.AckedTotal)
	require.InDelta(t, 50, r.AckedPerSecond, 1e-9)
	require.InDelta(t, 100, r.DeliveriesPerSecond, 1e-9)
	require.InDelta(t, 50, r.Latency.P50, 1)
	require.InDelta(t, 90, r.Latency.P90, 1)
	require.InDelta(t, 99, r.Latency.P99, 1)
	require.InDelta(t, 100, r.Latency.Max, 1)
	require.InDelta(t, 30, r.CPU.Processes["server"], 1e-9)
	require.InDelta(t, 20, r.CPU.Processes["redis"], 1e-9)
	require.InDelta(t, 50, r.CPU.Total, 1e-9)
	require.InDelta(t, 10, r.CPU.Bench, 1e-9)
	require.Contains(t, textOf(r.text), "50.0 µs a message: redis 20.0, server 30.0 (load generator 10.0)")

	r.Persisted = &Persisted{Rows: 301, AfterMS: 1500}
	require.NoError(t, r.verdict(SendConfig{MinRate: 50, MaxCPU: 50, MaxPersist: 1500 * time.Millisecond}))
	err := r.verdict(SendConfig{MinRate: 51, MaxCPU: 49, MaxPersist: time.Second})
	require.Equal(t, Missed, KindOf(err))
	for _, want := range []string{"acked/s", "µs of CPU", "last row"} {
		require.ErrorContains(t, err, want)
	}
}

func TestReportOfNothingDividesByNothing(t *testing.T) {
	t.Parallel()
	l := newLoad(SendConfig{Connections: 1, Groups: 1, InFlight: 1}, nil)

	r := l.report()

	require.Zero(t, r.AckedPerSecond)
	require.Zero(t, r.CPU.Total)
}

func TestCPUTimeIsReadFromStat(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	write := func(pid int, stat string) {
		require.NoError(t, os.MkdirAll(filepath.Join(proc, strconv.Itoa(pid)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(proc, strconv.Itoa(pid), "stat"), []byte(stat), 0o644))
	}
	write(os.Getpid(), "1 (bench) S 0 1 1 0 -1 4194560 1 2 3 4 1 1 7 8 20 0 1\n")
	write(7, "7 (a ) (b) S 0 1 1 0 -1 4194560 1 2 3 4 100 50 7 8 20 0 1\n")
	m, err := newCPUMeter(proc, map[string]int{"server": 7})
	require.NoError(t, err)
	before, err := m.read()
	require.NoError(t, err)
	write(7, "7 (a ) (b) S 0 1 1 0 -1 4194560 1 2 3 4 130 70 7 8 20 0 1\n")
	after, err := m.read()
	require.NoError(t, err)

	require.Equal(t, 1500*time.Millisecond, before.byName["server"])
	require.Equal(t, 500*time.Millisecond, after.minus(before).byName["server"])

	write(7, "7 (a")
	_, err = m.read()
	require.ErrorContains(t, err, "not a stat file")
}

func TestSlotsKeepTheNumberOfTheirSend(t *testing.T) {
	t.Parallel()
	l := newLoad(SendConfig{Base: Base{Prefix: "p-"}, Connections: 1, Groups: 1, InFlight: 1, Batch: 1, Bytes: 3}, nil)
	c := l.conns[0]
	c.seqs = make([]uint64, 42)

	c.appendSend(0, time.Time{})

	require.JSONEq(t, `{"id":1000000042,"op":"send","group":"p-g0","client_id":"c0-1000000042","body":[{"type":"text","text":"xxx"}]}`, string(c.out))
	require.Equal(t, 0, c.slotOf(42))
	require.Equal(t, -1, c.slotOf(41))
	require.Equal(t, -1, c.slotOf(-1))
}

func TestFlags(t *testing.T) {
	t.Parallel()
	var cli struct {
		Bench Cmd `cmd:""`
	}
	parser, err := kong.New(&cli)
	require.NoError(t, err)
	parse := func(command string, flags ...string) {
		_, err := parser.Parse(append([]string{"bench", command, "--url=http://a,http://b", "--secret=s", "--api-key=k"}, flags...))
		require.NoError(t, err)
	}
	base := Base{URLs: []string{"http://a", "http://b"}, Secret: []byte("s"), APIKey: "k", Timeout: 10 * time.Second}

	parse("send", "--in-flight=8", "--warmup=0s", "--duration=15s", "--pid=server=1,redis=2", "--pid=mysql=3", "--mysql=dsn",
		"--min-rate=15000", "--max-cpu=85", "--json")
	send := SendConfig{
		Base: base, Connections: 200, Groups: 100, InFlight: 8, Batch: 1, Bytes: 128,
		Warmup: -1, Duration: 15 * time.Second, MySQLDSN: "dsn", MinRate: 15000, MaxCPU: 85,
	}
	send.PIDs, send.JSON = map[string]int{"server": 1, "redis": 2, "mysql": 3}, true
	require.Equal(t, send, cli.Bench.Send.config())

	parse("fanout", "--subscribers=50", "--rate=70.5", "--max-cpu=6.5", "--max-p99=20ms", "--messages=200")
	require.Equal(t, FanoutConfig{
		Base: base, Subscribers: 50, InFlight: 16, Rate: 70.5, Bytes: 128, Warmup: 2 * time.Second, Messages: 200,
		MaxCPU: 6.5, MaxP99: 20 * time.Millisecond,
	}, cli.Bench.Fanout.config())

	parse("idle", "--max-kib=10", "--hold=5s")
	require.Equal(t, IdleConfig{
		Base: base, Connections: 10000, GroupSize: 100, Hold: 5 * time.Second, MaxKiB: 10,
	}, cli.Bench.Idle.config())

	parse("catchup", "--op=sync", "--clients=1", "--min-rate=200000", "--max-cpu=3")
	require.Equal(t, CatchupConfig{
		Base: base, Clients: 1, Missed: 1000, Op: "sync", Page: 200, Bytes: 128, Warmup: 2 * time.Second, MinRate: 200000, MaxCPU: 3,
	}, cli.Bench.Catchup.config())
}

func textOf(write func(*textReport)) string {
	var t textReport
	write(&t)
	return t.String()
}

func BenchmarkReceive(b *testing.B) {
	l := newLoad(SendConfig{Base: Base{Prefix: "bench-12345678-"}, Connections: 1, Groups: 1, InFlight: 1, Batch: 1, Bytes: 128}, nil)
	c := l.conns[0]
	push := []byte(`{"event":"message","group":"bench-12345678-g0","seq":1000,"time_ms":1700000000000,"from":"bench-12345678-u1","client_id":"c1-1000000042","body":[{"type":"text","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]}`)
	ack := []byte(`{"id":1000000000,"ok":{"group":"bench-12345678-g0","seq":1000,"time_ms":1700000000000,"duplicate":false,"durable":false,"persisted_seq":0}}`)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.first, c.seqs, c.idle = 0, c.seqs[:0], c.idle[:0]
		c.appendSend(0, now)
		c.out = c.out[:0]
		if c.receive(push, now) != nil || c.receive(ack, now) != nil {
			b.Fatal("not understood")
		}
	}
}

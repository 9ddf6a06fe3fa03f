package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

// benchRecovery seeds and loads groups that exist only for the benchmark.
type benchRecovery struct{ store *Store }

func (r benchRecovery) Renew(context.Context, int, int64) error { return nil }

func (r benchRecovery) Load(ctx context.Context, group string, _ bool) error {
	s := &domain.GroupSnapshot{Group: domain.Group{ID: group, Type: domain.Room, Join: domain.JoinOpen, Version: 1}}
	for _, user := range []string{"u0", "u1"} {
		s.Members = append(s.Members, domain.Membership{User: user, Role: domain.Member})
	}
	return r.store.FillGroup(ctx, s)
}

func (r benchRecovery) Seed(ctx context.Context, partition int, gen int64, groups []string) error {
	seeds := make(map[string]domain.Seed)
	for _, g := range groups {
		seeds[g] = domain.Seed{}
	}
	return r.store.SetSeeds(ctx, partition, gen, seeds)
}

// firstGeneration is that of every partition.
type firstGeneration struct{}

func (firstGeneration) Of(int) int64 { return 1 }

func (firstGeneration) Renew(context.Context, int, int64) error { return nil }

// newBenchAppender is a running appender on an empty Redis.
func newBenchAppender(b *testing.B, window time.Duration) (*Store, *Appender) {
	b.Helper()
	store := newBenchStore(b, window)
	appender := NewAppender(store, benchRecovery{store}, AppendConfig{BacklogLimit: 1 << 30}, zerolog.Nop(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- appender.Run(ctx) }()
	b.Cleanup(func() { cancel(); require.NoError(b, <-done) })
	return store, appender
}

func newBenchStore(b *testing.B, window time.Duration) *Store {
	b.Helper()
	store, err := Open(Config{Addrs: []string{testserver.Redis(b)}, Partitions: 16, HeatWindow: window})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	ctx := context.Background()
	require.NoError(b, store.rdb.FlushAll(ctx).Err())
	store.UseGenerations(firstGeneration{})
	identity, err := store.identity(ctx, store.rdb)
	require.NoError(b, err)
	for p := range 16 {
		set, err := store.SetGeneration(ctx, p, 1, identity)
		require.NoError(b, err)
		require.True(b, set)
	}
	return store
}

// appendMany sends 128-byte texts of so many users into 100 groups, with 200 sends in flight, and waits for their answers.
func appendMany(b *testing.B, appender *Appender, first, n, users int) {
	b.Helper()
	const inFlight = 200
	body := []byte(`[{"type":"text","text":"` + strings.Repeat("x", 128) + `"}]`)
	var wg sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for i := first; i < first+n; i++ {
		slots <- struct{}{}
		wg.Add(1)
		user := "u" + fmt.Sprint(i%users)
		clientID := fmt.Sprint("c", i)
		group := fmt.Sprint("g", i%100)
		header := domain.Header{From: user, ClientID: clientID}
		appender.Append(domain.Append{
			Draft:  domain.Draft{Group: group, From: user, Body: body, ClientID: clientID},
			Header: header.AppendJSON(nil), Hash: domain.ContentHash(body, nil, 0), Dedupe: domain.DedupeID(group, user, clientID),
		}, func(_ domain.Accepted, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
			wg.Done()
		})
	}
	wg.Wait()
}

// BenchmarkAppend sends as workload W1 does, and reports what a message costs Redis.
func BenchmarkAppend(b *testing.B) {
	store, appender := newBenchAppender(b, 5*time.Minute)
	before := redisCPU(b, store)
	b.ReportAllocs()
	b.ResetTimer()
	appendMany(b, appender, 0, b.N, 2)
	b.StopTimer()
	b.ReportMetric((redisCPU(b, store)-before)*1e6/float64(b.N), "redis-µs/op")
}

// BenchmarkRankingInAppend sends in turns with the append script and with one that does not count heat, and reports what each
// costs Redis: where all speak again and again, where each send is a speaker's first, who leaves the window later, and where
// messages are counted, too.
func BenchmarkRankingInAppend(b *testing.B) {
	for name, c := range map[string]struct {
		users    int
		window   time.Duration
		messages bool
	}{"again": {2, 5 * time.Minute, false}, "new": {9973, time.Second, false}, "messages": {2, time.Second, true}} {
		b.Run(name, func(b *testing.B) {
			store, appender := newBenchAppender(b, c.window)
			store.cfg.CountMessages = c.messages
			benchRanked(b, store, appender, c.users)
		})
	}
}

// benchRanked sends with the append script and without what counts in it, by turns.
func benchRanked(b *testing.B, store *Store, appender *Appender, users int) {
	b.Helper()
	ranked := appendScript
	b.Cleanup(func() { appendScript = ranked })
	plain := redis.NewScript(standingSource + withoutRanking(b, appendSource))
	const turns = 10
	n := max(1, b.N/turns)
	cost := make(map[*redis.Script]float64)
	for turn := range 2 * turns {
		appendScript = []*redis.Script{ranked, plain}[turn%2] // nothing is under way
		before := redisCPU(b, store)
		appendMany(b, appender, turn*n, n, users)
		cost[appendScript] += (redisCPU(b, store) - before) * 1e6 / float64(turns*n)
	}
	b.ReportMetric(cost[ranked], "redis-µs/ranked")
	b.ReportMetric(cost[plain], "redis-µs/plain")
	b.ReportMetric(cost[ranked]/cost[plain], "ratio")
}

// withoutRanking takes out of the append script what counts heat and takes expired speakers out.
func withoutRanking(b *testing.B, source string) string {
	b.Helper()
	before, rest, ok := strings.Cut(source, "  if type ~= 'direct' and from ~= 'system' then\n")
	require.True(b, ok)
	_, rest, ok = strings.Cut(rest, "\n  end\n")
	require.True(b, ok)
	middle, rest, ok := strings.Cut(rest, "expire(KEYS[5], KEYS[6])\nif messages then expire(messages, traffic) end\n")
	require.True(b, ok)
	return before + middle + rest
}

// BenchmarkSnapshot takes the ranking of so many hot rooms, of three speakers each, and reads its first page. The first time,
// which is not counted, an instance learns of the rooms' types. It also reports how long others wait for Redis meanwhile, and
// while nothing is done: 95 of 100 no longer than that.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			store := newBenchStore(b, time.Hour)
			knowRooms(b, store, 0, n)
			heatRooms(b, store, n)
			benchSnapshots(b, store, n)
		})
	}
}

// BenchmarkMillionGroups is the ranking of 100,000 hot rooms among a million, and what it takes of Redis' memory.
func BenchmarkMillionGroups(b *testing.B) {
	const groups, hot = 1_000_000, 100_000
	store, appender := newBenchAppender(b, time.Hour)
	empty := redisMemory(b, store)
	for from := 0; from < groups; from += hot { // the arguments of all at once would take more than Redis
		knowRooms(b, store, from, from+hot)
	}
	known := redisMemory(b, store)
	heatRooms(b, store, hot)
	heated := redisMemory(b, store)
	b.Run("snapshot", func(b *testing.B) {
		benchSnapshots(b, store, hot)
		b.ReportMetric((known-empty)/1e6, "groups-MB")
		b.ReportMetric((heated-known)/1e6, "heat-MB")
	})
	b.Run("append", func(b *testing.B) { benchRanked(b, store, appender, 2) })
}

func benchSnapshots(b *testing.B, store *Store, n int) {
	b.Helper()
	ctx := context.Background()
	heatIsWhole(b, store)
	ranking := domain.NewRanking(store, domain.NewHeads(store, noStore{}), domain.RankingConfig{SnapshotTTL: time.Minute})
	var page *domain.HotPage
	next := func() {
		require.NoError(b, store.rdb.Del(ctx, hotKey("room")).Err())
		var err error
		page, err = ranking.Page(ctx, domain.Actor{User: "ann"}, domain.HotQuery{})
		require.NoError(b, err)
		require.Equal(b, n, page.Total)
	}
	begun := time.Now()
	next()
	first := time.Since(begun)
	waits := probe(b, store)
	time.Sleep(500 * time.Millisecond)
	idle := p95(waits())
	waits = probe(b, store)
	before := redisCPU(b, store)
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
	b.ReportMetric((redisCPU(b, store)-before)*1e3/float64(b.N), "redis-ms/op")
	b.ReportMetric(float64(first.Milliseconds()), "first-ms")
	b.ReportMetric(p95(waits()), "wait-p95-µs")
	b.ReportMetric(idle, "idle-wait-p95-µs")
	kept, err := store.rdb.MemoryUsage(ctx, hotSnapshotKey("room", page.ID), 0).Result()
	require.NoError(b, err)
	b.ReportMetric(float64(kept)/1e6, "kept-MB")
}

func p95(waits []time.Duration) (us float64) {
	slices.Sort(waits)
	return float64(waits[len(waits)*95/100].Microseconds())
}

// probe asks Redis something small every millisecond, until waits is called for how long each answer took.
func probe(b *testing.B, store *Store) (waits func() []time.Duration) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan []time.Duration)
	go func() {
		var all []time.Duration
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			begun := time.Now()
			if store.rdb.Ping(ctx).Err() == nil {
				all = append(all, time.Since(begun))
			}
			<-tick.C
		}
		done <- all
	}()
	return func() []time.Duration { cancel(); return <-done }
}

// roomOf has ids and times that look like any, not like a row of numbers, which would compress well.
func roomOf(i int) (id string, ago int64) {
	n := uint64(i+1) * 0x9e3779b97f4a7c15
	return fmt.Sprintf("%016x", n), int64(n>>20) % 300_000
}

// knowRooms makes rooms known to Redis, with their last messages.
func knowRooms(b *testing.B, store *Store, from, to int) {
	b.Helper()
	ctx := context.Background()
	now, err := store.NowMS(ctx)
	require.NoError(b, err)
	seeds := make(map[int]map[string]domain.Seed)
	var fills []scriptCall
	for i := from; i < to; i++ {
		id, ago := roomOf(i)
		p := store.cfg.Partitions.Of(id)
		if seeds[p] == nil {
			seeds[p] = make(map[string]domain.Seed)
		}
		seeds[p][id] = domain.Seed{Start: 1, LastMS: now - ago}
		args := []any{1, 1, string(domain.Room), "", domain.JoinOpen, "The room number " + fmt.Sprint(i), 60_000}
		fills = append(fills, scriptCall{keys: []string{genKey(p), groupKey(p, id)}, args: args})
	}
	_, err = store.runEach(ctx, fillScript, fills)
	require.NoError(b, err)
	for p := range seeds {
		require.NoError(b, store.SetSeeds(ctx, p, 1, seeds[p]))
	}
}

// heatRooms has three speak in each of the first so many rooms.
func heatRooms(b *testing.B, store *Store, n int) {
	b.Helper()
	ctx := context.Background()
	now, err := store.NowMS(ctx)
	require.NoError(b, err)
	speakers := make(map[int][]domain.Speaker)
	for i := range n {
		id, ago := roomOf(i)
		p := store.cfg.Partitions.Of(id)
		for u := range 3 {
			speakers[p] = append(speakers[p], domain.Speaker{Group: id, User: fmt.Sprint("user-", (i*7+u)%n), TimeMS: now - ago})
		}
	}
	for p := range speakers {
		require.NoError(b, store.AddHeat(ctx, domain.LogRange{Partition: p, Gen: 1}, speakers[p]))
	}
}

// redisMemory is what the server's data takes, in bytes.
func redisMemory(b *testing.B, s *Store) (bytes float64) {
	b.Helper()
	info, err := s.rdb.Info(context.Background(), "memory").Result()
	require.NoError(b, err)
	_, rest, ok := strings.Cut(info, "used_memory_dataset:")
	require.True(b, ok)
	_, err = fmt.Sscan(rest, &bytes)
	require.NoError(b, err)
	return bytes
}

// redisCPU is the server's CPU time so far, in seconds.
func redisCPU(b *testing.B, s *Store) (seconds float64) {
	info, err := s.rdb.Info(context.Background(), "cpu").Result()
	require.NoError(b, err)
	for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
		_, rest, ok := strings.Cut(info, name)
		require.True(b, ok)
		var part float64
		_, err := fmt.Sscan(rest, &part)
		require.NoError(b, err)
		seconds += part
	}
	return seconds
}

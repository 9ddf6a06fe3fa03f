package redisrepo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

// benchRecovery seeds and loads groups that exist only for the benchmark.
type benchRecovery struct{ store *Store }

func (r benchRecovery) Renew(context.Context, int, int64) error { return nil }

func (r benchRecovery) Load(ctx context.Context, group string, _ bool) error {
	s := &domain.GroupSnapshot{Group: domain.Group{ID: group, Type: domain.Private, Join: domain.JoinInvite, Version: 1}}
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

// BenchmarkAppend sends 128-byte texts into 100 groups with 200 sends in flight, as workload W1 does, and reports
// what a message costs Redis.
func BenchmarkAppend(b *testing.B) {
	addr := testserver.Redis(b)
	store, err := Open(Config{Addrs: []string{addr}, Partitions: 16, HeatWindow: 300e9})
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
	appender := NewAppender(store, benchRecovery{store}, AppendConfig{BacklogLimit: 1 << 30}, zerolog.Nop(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- appender.Run(ctx) }()
	b.Cleanup(func() { cancel(); require.NoError(b, <-done) })

	const inFlight = 200
	body := []byte(`[{"type":"text","text":"` + strings.Repeat("x", 128) + `"}]`)
	before := redisCPU(b, store)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	slots := make(chan struct{}, inFlight)
	for i := range b.N {
		slots <- struct{}{}
		wg.Add(1)
		user := "u" + fmt.Sprint(i%2)
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
	b.StopTimer()
	b.ReportMetric((redisCPU(b, store)-before)*1e6/float64(b.N), "redis-µs/op")
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

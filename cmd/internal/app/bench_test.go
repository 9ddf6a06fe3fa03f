package app

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/configs"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
)

// BenchmarkStatus is what an instance does every 2 s for the consoles of all, but for the sending.
func BenchmarkStatus(b *testing.B) {
	mini := miniredis.RunT(b)
	cfg := configs.Default()
	cfg.Node.Name, cfg.Redis.Addrs = "a", []string{mini.Addr()}
	cfg.Auth.JWTHMACSecret = configs.Secret(randomHex(32))
	sql, err := mysqlrepo.OpenSQLite(b.Context(), b.TempDir()+"/hearth.db", mysqlConfig(cfg))
	require.NoError(b, err)
	defer func() { require.NoError(b, sql.Close()) }()
	require.NoError(b, sql.Migrate(b.Context()))
	redis, err := redisrepo.Open(redisConfig(cfg, randomHex(20)))
	require.NoError(b, err)
	defer func() { require.NoError(b, redis.Close()) }()
	instance, err := NewInstance(cfg, "v1", redis, sql, nil, zerolog.Nop())
	require.NoError(b, err)
	stop, err := instance.Start(b.Context())
	require.NoError(b, err)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(b, stop(ctx))
	}()
	once, cancel := context.WithCancel(b.Context())
	cancel()
	b.ReportAllocs()
	for b.Loop() {
		_ = instance.status.Run(once) // ends after its first word, which is not sent
	}
}

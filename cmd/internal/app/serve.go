package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"hearth/configs"
	"hearth/domain"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
)

const startTimeout = 30 * time.Second

// Serve runs one instance on real Redis and MySQL until ctx is done and it has left in order.
func Serve(ctx context.Context, cfg configs.Config, version string, log zerolog.Logger) (err error) {
	if cfg.Node.Name == "" {
		cfg.Node.Name = configs.NewNodeName()
	}
	hangups := make(chan os.Signal, 1) // uncaught, the first would end the process at once
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	sql, err := openMySQL(starting, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sql.Close()) }()
	redis, err := redisrepo.Open(redisConfig(cfg, ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, redis.Close()) }()
	files, err := openUploads(starting, cfg.Uploads, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeUploads(files)) }()
	instance, err := NewInstance(cfg, version, redis, sql, files, log)
	if err != nil {
		return err
	}
	router := instance.Public()
	if cfg.Demo.Enabled {
		instance.mountDemo(router)
	}
	public, err := listen(cfg.HTTP.Addr, router, log)
	if err != nil {
		return err
	}
	listeners := []*listener{public}
	if cfg.HTTP.InternalAddr != "" {
		internal, err := listen(cfg.HTTP.InternalAddr, instance.Internal(), log)
		if err != nil {
			return errors.Join(err, public.ln.Close())
		}
		listeners = append(listeners, internal)
	}
	instance.endStreams(listeners[len(listeners)-1])
	stop, err := instance.Start(starting)
	if err != nil {
		return err
	}
	if cfg.Demo.Enabled {
		instance.openDemoRooms(starting)
	}
	for _, l := range listeners {
		l.serve()
	}
	log.Info().Str("instance", cfg.Node.Name).Str("addr", public.addr()).Msg("serving")
	err = untilEnd(ctx, public, hangups, log)
	return errors.Join(err, leave(context.WithoutCancel(ctx), cfg, instance, listeners, stop))
}

// untilEnd waits until ctx is done, or the public listener has failed.
func untilEnd(ctx context.Context, public *listener, hangups <-chan os.Signal, log zerolog.Logger) error {
	for {
		select {
		case err := <-public.failed:
			return err
		case <-ctx.Done():
			return nil
		case <-hangups:
			log.Info().Msg("SIGHUP: a word list is read again, any other setting needs a restart")
		}
	}
}

// leave is the way out of §8 of the design: unready, no new requests, connections, sends, jobs.
func leave(ctx context.Context, cfg configs.Config, i *Instance, listeners []*listener, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Drain.Timeout.D())
	defer cancel()
	i.log.Info().Msg("leaving")
	i.Leave(ctx)
	err := listeners[0].shutdown(ctx)
	err = errors.Join(err, stop(ctx))
	for _, l := range listeners[1:] {
		err = errors.Join(err, l.shutdown(ctx))
	}
	i.log.Info().Msg("left")
	return err
}

func openMySQL(ctx context.Context, cfg configs.Config) (*mysqlrepo.DB, error) {
	sql, err := mysqlrepo.Open(ctx, mysqlConfig(cfg))
	if err != nil {
		return nil, err
	}
	switch cfg.MySQL.Migrate {
	case "auto":
		err = sql.Migrate(ctx)
	case "check":
		err = sql.Check(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("schema: %w", err), sql.Close())
	}
	return sql, nil
}

func mysqlConfig(cfg configs.Config) mysqlrepo.Config {
	return mysqlrepo.Config{
		DSN:        cfg.MySQL.DSN.Reveal(),
		MaxOpen:    cfg.MySQL.MaxOpen,
		MaxIdle:    cfg.MySQL.MaxIdle,
		SeqJump:    cfg.Seq.Jump,
		Partitions: domain.Partitions(cfg.Redis.Partitions),
		Hooks:      cfg.Webhooks.URL != "",
	}
}

// redisConfig names the server; identity is for embedded ones that cannot tell their own.
func redisConfig(cfg configs.Config, identity string) redisrepo.Config {
	return redisrepo.Config{
		Addrs: cfg.Redis.Addrs, Mode: cfg.Redis.Mode, SentinelMaster: cfg.Redis.SentinelMaster,
		Username: cfg.Redis.Username, Password: cfg.Redis.Password.Reveal(), DB: cfg.Redis.DB,
		Partitions: domain.Partitions(cfg.Redis.Partitions), Identity: identity, HeatWindow: cfg.Heat.Window.D(),
		CountMessages: cfg.Heat.Weights.Messages > 0,
	}
}

// Package app puts hearth together.
//
//	           ┌───────────── Instance ─────────────────────────────────────────────┐
//	WebSocket ─┤ transport.Server ─► domain.Sends ─► redisrepo.Appender ─► Redis     │
//	           │        ▲  Hub, feeds ◄─ redisrepo.Subscriber ◄─ pub/sub ─┘ │        │
//	HTTP ──────┤ httpapi ─► domain.{Groups,History,Ranking} ─► redisrepo.Store       │
//	           │                              └────────────► mysqlrepo.DB ◄── jobs ◄─┤ log
//	           └─────────────────────────────────────────────────────────────────────┘
//
// domain.Recovery and domain.Generations stand between the two stores: they bring back into Redis what it lost.
package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
	"gocloud.dev/blob"

	"hearth/configs"
	"hearth/domain"
	"hearth/jobs"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
	"hearth/transport"
	"hearth/transport/auth"
	"hearth/transport/console"
	"hearth/transport/httpapi"
	"hearth/transport/moderation"
	"hearth/transport/webhook"
	"hearth/transport/wire"
)

// Instance is one hearth between its stores and its listeners.
type Instance struct {
	cfg        configs.Config
	log        zerolog.Logger
	registry   *prometheus.Registry
	redis      *redisrepo.Store
	sql        *mysqlrepo.DB
	gens       *domain.Generations
	clock      *redisrepo.Clock
	appender   *redisrepo.Appender
	subscriber *redisrepo.Subscriber
	sends      *domain.Sends
	groups     *domain.Groups
	gate       *webhook.Gate // nil: nobody is asked about messages
	server     *transport.Server
	api        http.Handler
	limit      func(http.Handler) http.Handler // by address
	health     *transport.Health
	leases     *jobs.Leases
	persist    *jobs.Persist
	readMarks  *jobs.ReadMarks
	announce   *jobs.Announce
	presence   *jobs.Presence
	retention  *jobs.Retention
	changes    *jobs.Changes
	dismissed  *jobs.Dismissed
	hooks      *jobs.Hooks     // nil: nobody is told
	receiver   *webhook.Client // of hooks
	watch      *jobs.WatchGenerations
	heartbeat  *jobs.Heartbeat
	journal    *jobs.Journal
	heat       *jobs.Heat
	words      *moderation.Words // nil: there is no list
	status     *jobs.Status
	console    *console.Console // nil: nobody has a key
}

// NewInstance wires an instance; it starts nothing and asks nobody. redis has to be the instance's own, sql may be
// shared, and so may the bucket of uploads, which may be nil.
func NewInstance(
	cfg configs.Config, version string, redis *redisrepo.Store, sql *mysqlrepo.DB, files *blob.Bucket, log zerolog.Logger,
) (*Instance, error) {
	if cfg.Node.Name == "" { // leases and announcements of unnamed instances would be taken for each other's
		return nil, errors.New("an instance needs a name")
	}
	log = log.With().Str("instance", cfg.Node.Name).Logger()
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	partitions := domain.Partitions(cfg.Redis.Partitions)
	life := domain.LifeOf(cfg.Node.Name, randomHex(4)) // what a former life has left in Redis is not this one's

	verifier, err := newVerifier(cfg.Auth)
	if err != nil {
		return nil, err
	}
	writer := jobs.NewWriter(redis, sql, cfg.Persist.BatchRows, log, reg)
	watermarks := &domain.Watermarks{}
	kept := domain.NewJournal(partitions, cfg.Persist.JournalBytes)
	journal := jobs.NewJournal(kept, writer, sql, redis, domain.NewRepairer(sql, redis), watermarks, partitions, life, log, reg)
	var announce *jobs.Announce
	var heat *jobs.Heat
	generations := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "hearth_seq_generations_total", Help: "Generations taken up by this instance: one a partition at its start, then each new one.",
	})
	reg.MustRegister(generations)
	gens := domain.NewGenerations(partitions, redis, sql, journal, writer, func(partition int, gen int64) {
		announce.Again()
		heat.Raised()
		generations.Inc()
		log.Info().Int("partition", partition).Int64("gen", gen).Msg("generation current")
	})
	redis.UseGenerations(gens)
	redis.UseJournal(kept)
	journal.UseGenerations(gens)

	heads := domain.NewHeads(redis, sql)
	recovery := domain.NewRecovery(gens, heads, sql, redis)
	appender := redisrepo.NewAppender(redis, recovery, redisrepo.AppendConfig{
		BacklogLimit: int(cfg.Persist.BacklogLimit),
		BacklogBytes: cfg.Persist.BacklogBytes,
		MessageBytes: cfg.Limits.MessageBytes,
		UserRate:     cfg.Limits.UserRate,
		UserBurst:    cfg.Limits.UserBurst,
		GroupRate:    cfg.Limits.GroupRate,

		StrangerLimit: cfg.Direct.StrangerLimit,
	}, log, reg)
	sessions := domain.NewSessions(redis, redis, redis, sql, domain.SessionPolicy(cfg.Session.Policy))
	sends := domain.NewSends(appender, watermarks, sessions)
	signals := domain.NewSignals(redis, recovery)
	recalls := domain.NewRecalls(redis, sql, recovery)
	history := domain.NewHistory(heads, redis, sql, redis, redis, redis)
	groups := domain.NewGroups(sql, redis, redis, heads, func() string { return uuid.Must(uuid.NewV7()).String() })
	recovery.UseOpener(groups)
	words, err := wordList(cfg.Moderation, log, reg)
	if err != nil {
		return nil, err
	}
	if words != nil {
		sends.UseModerator(words)
		groups.UseModerator(words)
	}
	ranking := domain.NewRanking(redis, heads, domain.RankingConfig{
		SnapshotTTL: cfg.Heat.SnapshotTTL.D(), Weights: domain.HeatWeights(cfg.Heat.Weights), Took: redisrepo.NewSnapshotTimer(reg),
	})

	limits := wire.Limits{MessageBytes: cfg.Limits.MessageBytes, TextBytes: cfg.Limits.TextBytes}
	clock := redisrepo.NewClock(redis, log)
	posted := webhook.NewMetrics(reg)
	gate, err := newGate(cfg.Webhooks, posted, limits, redis, clock.NowMS, log, reg)
	if err != nil {
		return nil, err
	}
	if gate != nil {
		sends.UseBeforeSend(gate)
	}
	server := transport.NewServer(connConfig(cfg, life, limits), transport.Deps{
		Auth: verifier, History: history, Sends: sends, Signals: signals, Recalls: recalls, Sessions: sessions, Groups: groups,
		Ranking: ranking, HeatWindow: cfg.Heat.Window.D(), Notes: redis, Watermarks: watermarks, Journal: kept,
		Clock: clock, Log: log, Registerer: reg, AllowedOrigins: cfg.HTTP.AllowedOrigins,
	})
	subscriber := redisrepo.NewSubscriber(redis, server.Hub(), life, log, reg)
	server.Hub().UseChannels(subscriber)
	api, err := httpapi.New(httpapi.Config{
		Auth: verifier, Groups: groups, History: history, Sends: sends, Signals: signals, Recalls: recalls, Sessions: sessions, Ranking: ranking,
		Uploads:        uploadsConfig(cfg, files),
		AllowedOrigins: cfg.HTTP.AllowedOrigins, Limits: limits, HeatWindow: cfg.Heat.Window.D(), Log: log, Register: reg,
	})
	if err != nil {
		return nil, err
	}
	watch := jobs.NewWatchGenerations(redis, gens, log)
	subscriber.OnDoubt(watch.Kick)
	announce = jobs.NewAnnounce(redis, server.Hub(), sessions, life, log)
	sessions.UseLate(announce.Late)
	leases := jobs.NewLeases(redis, partitions, cfg.Node.Name, log)
	heat = jobs.NewHeat(redis, sql, leases, gens, partitions, jobs.HeatConfig{Window: cfg.Heat.Window.D(), CountMessages: cfg.Heat.Weights.Messages > 0}, log, reg)
	hooks, receiver, err := newHooks(cfg, sql, leases, posted, log, reg)
	if err != nil {
		return nil, err
	}
	health := transport.NewHealth(reg,
		transport.Check{Name: "redis", Test: redis.Ping},
		transport.Check{Name: "memory", Test: redis.CheckRoom, Degrades: true},
		transport.Check{Name: "fanout", Test: subscriber.Check, AtOnce: true},
		transport.Check{Name: "mysql", Test: sql.Ping, Degrades: true},
	)
	status := jobs.NewStatus(redis, reg, health, clock, life, domain.InstanceStatus{
		Name: cfg.Node.Name, Version: version, StartedMS: time.Now().UnixMilli(),
	}, log)
	operators, err := newConsole(cfg, version, console.Config{
		Redis: redis, MySQL: sql, Own: status.Own, Health: health, Clock: clock, Ranking: ranking, Limits: limits, Log: log,
		Inspector: domain.NewInspector(redis, sql, heads, partitions, domain.HeatWeights(cfg.Heat.Weights)), Letters: domain.NewLetters(sql, redis),
		History: history, Sends: sends, Recalls: recalls,
	})
	if err != nil {
		return nil, err
	}
	return &Instance{
		cfg: cfg, log: log, registry: reg, redis: redis, sql: sql, gens: gens, clock: clock, appender: appender,
		subscriber: subscriber, sends: sends, groups: groups, gate: gate, server: server, api: api, leases: leases,
		limit:     transport.AddressLimit(cfg.Limits.AddressRate, cfg.HTTP.TrustedProxies, reg),
		health:    health,
		status:    status,
		console:   operators,
		persist:   jobs.NewPersist(writer, leases, gens, cfg.Persist.Interval.D(), log),
		readMarks: jobs.NewReadMarks(redis, sql, leases, gens, log),
		watch:     watch,
		heartbeat: jobs.NewHeartbeat(sql, gens, life, watch.Kick, log),
		journal:   journal,
		retention: jobs.NewRetention(sql, redis, leases, cfg.Retention.Age.D(), cfg.Retention.BatchRows, log),
		hooks:     hooks,
		receiver:  receiver,
		changes:   jobs.NewChanges(sql, groups, leases, log, reg),
		dismissed: jobs.NewDismissed(redis, sql, leases, log),
		announce:  announce,
		heat:      heat,
		words:     words,
		presence:  jobs.NewPresence(redis, life, sessions.Offline, log),
	}, nil
}

func newVerifier(cfg configs.Auth) (*auth.Verifier, error) {
	keys, err := cfg.Keys()
	if err != nil {
		return nil, err
	}
	sums := make(map[string]string, len(keys))
	for _, k := range keys {
		sums[k.ID] = fmt.Sprintf("%x", k.SHA256)
	}
	return auth.New(auth.Config{
		HMACSecret: []byte(cfg.JWTHMACSecret.Reveal()), APIKeys: sums, AllowQueryToken: cfg.AllowQueryToken,
	})
}

// wordList is nil where none is set.
func wordList(cfg configs.Moderation, log zerolog.Logger, reg prometheus.Registerer) (*moderation.Words, error) {
	if cfg.WordsFile == "" {
		return nil, nil
	}
	return moderation.New(cfg.WordsFile, log, reg)
}

func connConfig(cfg configs.Config, life string, limits wire.Limits) transport.ConnConfig {
	return transport.ConnConfig{
		Instance:     cfg.Node.Name,
		Life:         life,
		FrameBytes:   int64(cfg.Limits.FrameBytes),
		FrameRate:    cfg.Limits.ConnectionRate,
		Connections:  cfg.Limits.Connections,
		Handshakes:   cfg.Limits.Handshakes,
		PingInterval: cfg.WS.PingInterval.D(),
		PongTimeout:  cfg.WS.PongTimeout.D(),
		WriteTimeout: cfg.WS.WriteTimeout.D(),
		QueueFrames:  cfg.WS.QueueFrames,
		QueueBytes:   cfg.WS.QueueBytes,
		AutoCreate:   cfg.Rooms.AutoCreate,
		Limits:       limits,
	}
}

// Public is what the outside sees: API, WebSocket, healthz, readyz; and everything else too where there is no
// internal address.
func (i *Instance) Public() chi.Router {
	r := chi.NewRouter()
	r.Get("/healthz", i.health.Alive)
	r.Get("/readyz", i.health.Ready)
	limited := r.With(i.limit)
	r.Handle("/v1/ws", http.HandlerFunc(getOnly)) // or other methods would be looked for in the API
	limited.Method(http.MethodGet, "/v1/ws", i.server)
	if i.cfg.HTTP.InternalAddr == "" {
		r.Handle("/metrics", promhttp.HandlerFor(i.registry, promhttp.HandlerOpts{}))
		i.mountConsole(r)
	}
	r.NotFound(i.limit(outermost(i.api)).ServeHTTP)
	r.MethodNotAllowed(getOnly)
	limited.Handle("/v1/*", outermost(i.api))
	return r
}

// outermost hides from a chi router that it lies in another: its routes are whole paths, also in metrics and logs.
func outermost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, nil)))
	})
}

// getOnly answers a wrong method on the routes beside the API.
func getOnly(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", http.MethodGet)
	httpapi.WriteMethodNotAllowed(w)
}

// Internal is for operators: metrics, console, pprof, healthz, readyz.
func (i *Instance) Internal() http.Handler {
	r := chi.NewRouter()
	r.Get("/healthz", i.health.Alive)
	r.Get("/readyz", i.health.Ready)
	r.Handle("/metrics", promhttp.HandlerFor(i.registry, promhttp.HandlerOpts{}))
	i.mountConsole(r)
	mountPprof(r)
	return r
}

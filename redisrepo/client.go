package redisrepo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"hearth/domain"
)

// Config says which Redis, and how hearth uses it.
type Config struct {
	Addrs          []string
	Mode           string // standalone, sentinel or cluster
	SentinelMaster string
	Username       string
	Password       string
	DB             int // standalone and sentinel only
	Partitions     domain.Partitions
	// Identity stands in for the server's master_replid where the server has no INFO replication (the embedded
	// one); "" asks the server.
	Identity   string
	HeatWindow time.Duration
	// CountMessages has messages counted for the ranking, and not only who sent them.
	CountMessages bool
}

// Store is hearth's Redis. Its methods may be called concurrently.
type Store struct {
	rdb     redis.UniversalClient
	appends redis.UniversalClient // never repeats a command: a lost reply must not store a message twice
	cfg     Config
	gens    func(partition int) int64
	renew   func(ctx context.Context, partition int, seen int64) error
	journal *domain.Journal    // takes what is shown of messages and marks that MySQL may not have
	reseeds prometheus.Counter // registered by the Appender
}

// What the library has to say of its connections it also returns as errors, which are logged in their places.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Open makes the clients; it connects with the first command. gens tells the generation that a partition is in.
func Open(cfg Config) (*Store, error) {
	options := redis.UniversalOptions{
		Addrs: cfg.Addrs, Username: cfg.Username, Password: cfg.Password, DB: cfg.DB,
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		DialTimeout:              2 * time.Second,
		ReadTimeout:              2 * time.Second,
		WriteTimeout:             2 * time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	switch cfg.Mode {
	case "", "standalone":
		if len(cfg.Addrs) != 1 {
			return nil, fmt.Errorf("redis: standalone mode takes one address, got %d", len(cfg.Addrs))
		}
	case "sentinel":
		options.MasterName = cfg.SentinelMaster
	case "cluster":
		options.IsClusterMode = true
	default:
		return nil, fmt.Errorf("redis: unknown mode %q", cfg.Mode)
	}
	once := options
	once.MaxRetries = -1
	once.PoolSize = 4
	return &Store{
		rdb:     redis.NewUniversalClient(&options),
		appends: redis.NewUniversalClient(&once),
		cfg:     cfg,
		gens:    func(int) int64 { return 0 },
		renew:   func(context.Context, int, int64) error { return errNoGenerations },
		journal: domain.NewJournal(cfg.Partitions, 0),
		reseeds: newReseeds(),
	}, nil
}

// Generations knows the generation of every partition; domain.Generations is it.
type Generations interface {
	Of(partition int) int64
	Renew(ctx context.Context, partition int, seen int64) error
}

var errNoGenerations = errors.New("nobody knows the generations yet")

// UseGenerations tells the store where to learn a partition's generation. To be called before anything that
// reads or writes messages: Generations itself is made of this store.
func (s *Store) UseGenerations(g Generations) { s.gens, s.renew = g.Of, g.Renew }

// UseJournal tells the store where to note what it answers with and MySQL may not have. To be called before anything
// that reads or writes messages; without it nothing is noted.
func (s *Store) UseJournal(j *domain.Journal) { s.journal = j }

// Close ends the connections.
func (s *Store) Close() error {
	return errors.Join(s.rdb.Close(), s.appends.Close())
}

// Ping asks whether the server answers.
func (s *Store) Ping(ctx context.Context) error { return s.rdb.Ping(ctx).Err() }

// CheckRoom fails with overloaded when the server has no memory left: sends are refused then.
func (s *Store) CheckRoom(ctx context.Context) error {
	return orFull(s.rdb.Set(ctx, roomKey(), "", time.Minute).Err())
}

// CheckPolicy fails when the server may evict keys: under any other policy than noeviction it would throw
// messages away. A server that does not tell is believed.
func (s *Store) CheckPolicy(ctx context.Context) error {
	got, err := s.rdb.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil {
		return nil //nolint:nilerr // managed servers often forbid CONFIG
	}
	if policy := got["maxmemory-policy"]; policy != "" && policy != "noeviction" {
		return fmt.Errorf("redis: maxmemory-policy is %s, must be noeviction: anything else loses messages", policy)
	}
	return nil
}

// NowMS is the server's clock in Unix milliseconds.
func (s *Store) NowMS(ctx context.Context) (int64, error) {
	t, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("redis time: %w", err)
	}
	return t.UnixMilli(), nil
}

func (s *Store) of(id string) (partition int, gen int64) {
	p := s.cfg.Partitions.Of(id)
	return p, s.gens(p)
}

// run calls a script that may be repeated; a server that does not know it is given it.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	return script.Run(ctx, s.rdb, keys, args...)
}

// isNoScript reports that the server has forgotten its scripts; it means nothing else.
func isNoScript(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT")
}

// isFull reports that the server refused a write because its memory is used up.
func isFull(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "OOM")
}

// orFull says overloaded where a full Redis has refused the first write: nothing was done.
func orFull(err error) error {
	if isFull(err) {
		return domain.Full(err)
	}
	return err
}

// execIgnoringNil runs a pipeline; that something is not there is no error. Exec alone would tell of the first
// error only, which may be such a one.
func execIgnoringNil(ctx context.Context, pipe redis.Pipeliner) error {
	cmds, err := pipe.Exec(ctx)
	if ignoreNil(err) != nil {
		return err
	}
	var errs []error
	for _, c := range cmds {
		errs = append(errs, ignoreNil(c.Err()))
	}
	return errors.Join(errs...)
}

package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// Observe reads what the partition's server says of its generation and of itself.
func (s *Store) Observe(ctx context.Context, partition int) (domain.Observed, error) {
	observed, err := s.observe(ctx, []int{partition})
	if err != nil {
		return domain.Observed{}, err
	}
	return observed[0], nil
}

// ObserveAll observes every partition, in two round trips.
func (s *Store) ObserveAll(ctx context.Context) ([]domain.Observed, error) {
	partitions := make([]int, s.cfg.Partitions)
	for p := range partitions {
		partitions[p] = p
	}
	return s.observe(ctx, partitions)
}

func (s *Store) observe(ctx context.Context, partitions []int) ([]domain.Observed, error) {
	identities, err := s.identities(ctx, partitions)
	if err != nil {
		return nil, err
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.SliceCmd, len(partitions))
	for i, p := range partitions {
		cmds[i] = pipe.HMGet(ctx, genKey(p), "gen", "server")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read generations of %d partitions: %w", len(partitions), err)
	}
	observed := make([]domain.Observed, len(partitions))
	for i, p := range partitions {
		known := cmds[i].Val()
		observed[i] = domain.Observed{Identity: identities[i], Server: field(known, 1)}
		if gen := field(known, 0); gen != "" {
			if observed[i].Gen, err = strconv.ParseInt(gen, 10, 64); err != nil {
				return nil, fmt.Errorf("generation of partition %d: %w", p, err)
			}
		}
	}
	return observed, nil
}

// identities are those of the partitions' servers: a cluster has several, and each is asked once.
func (s *Store) identities(ctx context.Context, partitions []int) ([]string, error) {
	identities := make([]string, len(partitions))
	asked := make(map[redis.Cmdable]string)
	for i, p := range partitions {
		var node redis.Cmdable = s.rdb
		if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
			master, err := cluster.MasterForKey(ctx, genKey(p))
			if err != nil {
				return nil, fmt.Errorf("server of partition %d: %w", p, err)
			}
			node = master
		}
		if asked[node] == "" {
			var err error
			if asked[node], err = s.identity(ctx, node); err != nil {
				return nil, err
			}
		}
		identities[i] = asked[node]
	}
	return identities, nil
}

func (s *Store) identity(ctx context.Context, node redis.Cmdable) (string, error) {
	if s.cfg.Identity != "" {
		return s.cfg.Identity, nil
	}
	info, err := node.Info(ctx, "replication").Result()
	if err != nil {
		return "", fmt.Errorf("info replication: %w", err)
	}
	if id := replid(info); id != "" {
		return id, nil
	}
	return "", fmt.Errorf("info replication names no master_replid")
}

func replid(info string) string {
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "master_replid:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

// vouch asks, in a pipeline behind its reads, whether what they answer is of a generation: an older copy of its server says
// the same number, and is not to be believed either.
type vouch struct {
	store *Store
	info  *redis.StringCmd // of the one server there is; nil where there are several
}

// generationCheck is the answer about one partition.
type generationCheck struct {
	known    *redis.SliceCmd
	identity func() string
}

func (s *Store) newVouch() *vouch { return &vouch{store: s} }

// tellIdentity is for servers of a cluster, which a command reaches by a key only.
const tellIdentity = "return redis.call('INFO', 'replication')"

func (v *vouch) check(ctx context.Context, pipe redis.Pipeliner, partition int) *generationCheck {
	c := &generationCheck{known: pipe.HMGet(ctx, genKey(partition), "gen", "server")}
	switch {
	case v.store.cfg.Identity != "":
		c.identity = func() string { return v.store.cfg.Identity }
	case v.store.cfg.Mode == "cluster":
		info := pipe.Eval(ctx, tellIdentity, []string{genKey(partition)})
		c.identity = func() string { text, _ := info.Text(); return replid(text) }
	default:
		if v.info == nil {
			v.info = pipe.Info(ctx, "replication")
		}
		info := v.info
		c.identity = func() string { return replid(info.Val()) }
	}
	return c
}

// is reports whether the server is in a generation.
func (c *generationCheck) is(gen int64) bool {
	known := c.known.Val()
	return field(known, 0) == strconv.FormatInt(gen, 10) && field(known, 1) == c.identity()
}

// SetGeneration sets the generation if it is higher and the server is still the one it was raised on.
func (s *Store) SetGeneration(ctx context.Context, partition int, gen int64, identity string) (bool, error) {
	set, err := s.run(ctx, generationScript, []string{genKey(partition)}, gen, identity, s.cfg.Identity,
		persistedChannel(partition)).Text()
	if err != nil {
		return false, fmt.Errorf("set generation of partition %d: %w", partition, err)
	}
	return set == strconv.FormatInt(gen, 10), nil
}

// maxRenewals bounds how often one call starts over because its generation is over.
const maxRenewals = 3

// renewed finds the partition's generation after seen turned out to be over, for a call that is to be tried again.
func (s *Store) renewed(ctx context.Context, partition int, seen int64, try int) error {
	if try > maxRenewals {
		return fmt.Errorf("partition %d: generation %d is over, and the next one, and the one after", partition, seen)
	}
	return s.renew(ctx, partition, seen)
}

// OlderGenerations lists generations below gen whose logs this server may still hold.
func (s *Store) OlderGenerations(ctx context.Context, partition int, gen int64) ([]int64, error) {
	fields, err := s.rdb.HGet(ctx, genKey(partition), "older").Result()
	if err = ignoreNil(err); err != nil {
		return nil, fmt.Errorf("older generations of partition %d: %w", partition, err)
	}
	var older []int64
	for _, field := range strings.Fields(fields) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("older generations of partition %d: %w", partition, err)
		}
		if n < gen {
			older = append(older, n)
		}
	}
	return older, nil
}

// SetAside takes the log of an older generation out of the way, when its messages may no longer be stored: it is kept,
// as late:<gen>:<time>, for somebody to look at.
func (s *Store) SetAside(ctx context.Context, partition int, gen int64) error {
	now, err := s.NowMS(ctx)
	if err != nil {
		return err
	}
	err = s.rdb.Rename(ctx, logKey(partition, gen), lateKey(partition, gen, now)).Err()
	if err != nil && !strings.Contains(err.Error(), "no such key") {
		return fmt.Errorf("set log %d of partition %d aside: %w", gen, partition, err)
	}
	return nil
}

// ForgetGeneration deletes what is left of a drained generation.
func (s *Store) ForgetGeneration(ctx context.Context, partition int, gen int64) error {
	keys := []string{
		genKey(partition), logKey(partition, gen), seqKey(partition, gen), persistedKey(partition, gen),
		holesKey(partition, gen), dirtyKey(partition, gen), directKey(partition, gen),
		floorKey(partition, gen), recallingKey(partition, gen),
	}
	word, err := s.run(ctx, forgetScript, keys, gen).Text()
	if err != nil {
		return fmt.Errorf("forget generation %d of partition %d: %w", gen, partition, err)
	}
	if word != "OK" {
		return fmt.Errorf("forget generation %d of partition %d: its log is not empty", gen, partition)
	}
	return nil
}

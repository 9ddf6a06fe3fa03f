package redisrepo

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"hearth/domain"
)

// Observe reads what the partition's server says of its generation and of itself.
func (s *Store) Observe(ctx context.Context, partition int) (domain.Observed, error) {
	identity, err := s.identity(ctx)
	if err != nil {
		return domain.Observed{}, err
	}
	known, err := s.rdb.HMGet(ctx, genKey(partition), "gen", "server").Result()
	if err != nil {
		return domain.Observed{}, fmt.Errorf("read generation of partition %d: %w", partition, err)
	}
	o := domain.Observed{Identity: identity}
	if gen, ok := known[0].(string); ok {
		if o.Gen, err = strconv.ParseInt(gen, 10, 64); err != nil {
			return domain.Observed{}, fmt.Errorf("generation of partition %d: %w", partition, err)
		}
	}
	o.Server, _ = known[1].(string)
	return o, nil
}

func (s *Store) identity(ctx context.Context) (string, error) {
	if s.cfg.Identity != "" {
		return s.cfg.Identity, nil
	}
	info, err := s.rdb.Info(ctx, "replication").Result()
	if err != nil {
		return "", fmt.Errorf("info replication: %w", err)
	}
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "master_replid:"); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", fmt.Errorf("info replication names no master_replid")
}

// SetGeneration sets the generation if it is higher and the server is still the one it was raised on.
func (s *Store) SetGeneration(ctx context.Context, partition int, gen int64, identity string) (bool, error) {
	set, err := s.run(ctx, generationScript, []string{genKey(partition)}, gen, identity, s.cfg.Identity).Text()
	if err != nil {
		return false, fmt.Errorf("set generation of partition %d: %w", partition, err)
	}
	return set == strconv.FormatInt(gen, 10), nil
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

// ForgetGeneration deletes what is left of a drained generation.
func (s *Store) ForgetGeneration(ctx context.Context, partition int, gen int64) error {
	keys := []string{genKey(partition), logKey(partition, gen), seqKey(partition, gen), persistedKey(partition, gen),
		holesKey(partition, gen), dirtyKey(partition, gen)}
	word, err := s.run(ctx, forgetScript, keys, gen).Text()
	if err != nil {
		return fmt.Errorf("forget generation %d of partition %d: %w", gen, partition, err)
	}
	if word != "OK" {
		return fmt.Errorf("forget generation %d of partition %d: its log is not empty", gen, partition)
	}
	return nil
}

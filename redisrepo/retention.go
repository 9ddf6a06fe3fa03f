package redisrepo

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// notWaiting bounds the expiry of groups that the generation does not know: every seq there can be.
const notWaiting = 1 << 53

// Expiring tells how much of each group may be deleted in MySQL: nothing that a log still brings there. It notes the
// groups first, for whoever has to see to it that Redis follows. It fails when a partition is in another generation.
func (s *Store) Expiring(ctx context.Context, groups []string) ([]domain.Expiry, error) {
	var calls []scriptCall
	byPartition := make(map[int][]string)
	for _, group := range groups {
		p := s.cfg.Partitions.Of(group)
		byPartition[p] = append(byPartition[p], group)
	}
	var asked []domain.LogRange // of each call
	for p, of := range byPartition {
		gen := s.gens(p)
		asked = append(asked, domain.LogRange{Partition: p, Gen: gen})
		keys := []string{genKey(p), seqKey(p, gen), persistedKey(p, gen), expiringKey(p)}
		args := []any{gen}
		for _, group := range of {
			args = append(args, group)
		}
		calls = append(calls, scriptCall{keys, args})
	}
	cmds, err := s.runEach(ctx, expiringScript, calls)
	if err != nil {
		return nil, fmt.Errorf("watermarks of %d groups: %w", len(groups), err)
	}
	list := make([]domain.Expiry, 0, len(groups))
	for i, cmd := range cmds {
		bounds, err := cmd.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("watermarks of partition %d: %w", asked[i].Partition, err)
		}
		of := byPartition[asked[i].Partition]
		if len(bounds) != len(of) || bounds[0] == "STALE" {
			return nil, fmt.Errorf("watermarks of partition %d: generation %d is no longer current", asked[i].Partition, asked[i].Gen)
		}
		for j, group := range of {
			e := domain.Expiry{Group: group, Gen: asked[i].Gen, UpTo: notWaiting}
			if bounds[j] != "" {
				if e.UpTo, err = strconv.ParseInt(bounds[j], 10, 64); err != nil {
					return nil, fmt.Errorf("watermark of %s: %w", group, err)
				}
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// Expired lists the groups that Expiring noted, and not again after that time of Redis.
func (s *Store) Expired(ctx context.Context, untilMS int64) ([]string, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.StringSliceCmd, s.cfg.Partitions)
	for p := range cmds {
		cmds[p] = pipe.ZRangeByScore(ctx, expiringKey(p), &redis.ZRangeBy{Min: "-inf", Max: strconv.FormatInt(untilMS, 10)})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("groups with deleted messages: %w", err)
	}
	var groups []string
	for _, c := range cmds {
		groups = append(groups, c.Val()...)
	}
	return groups, nil
}

// ForgetExpired forgets the groups that Expired lists.
func (s *Store) ForgetExpired(ctx context.Context, untilMS int64) error {
	pipe := s.rdb.Pipeline()
	for p := range int(s.cfg.Partitions) {
		pipe.ZRemRangeByScore(ctx, expiringKey(p), "-inf", strconv.FormatInt(untilMS, 10))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("forget groups with deleted messages: %w", err)
	}
	return nil
}
